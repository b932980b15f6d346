/* The latest warnings and errors of this process, for people who look at a page instead of a
 * log.
 *
 * Bounded: LOG_RECENT_MAX of them. One that says the same as the one before only counts. Any
 * thread. */
#pragma once

#include "common/log_level.h"

#include <stddef.h>
#include <stdint.h>

#define LOG_RECENT_MAX  50u
#define LOG_RECENT_TEXT 320u /* what is longer is cut */

struct log_recent {
    int64_t at_second;  /* unix time, the latest of its kind */
    enum log_level level;
    uint64_t count;
    char text[LOG_RECENT_TEXT]; /* event and what belongs to it */
};

/* Called by log_write for warnings and errors. `text` need not be terminated. */
void log_recent_add(enum log_level level, int64_t at_second, const char *text, size_t length);
/* The latest first; how many. */
size_t log_recent_list(struct log_recent ret[LOG_RECENT_MAX]);
