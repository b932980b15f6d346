/* Logging: one event a line on standard error, `time level event key=value ...`.
 *
 * Only the edges call this (see error.h): servers, the shell, long-running jobs. Any thread; a line is
 * written with one write(2), so lines never mix. Values with blanks or quotes are for the caller to
 * quote with %s inside "". */
#pragma once

#include "common/log_level.h"

void log_set_level(enum log_level least);

/* `event` is a short fixed phrase ("volume loaded"), the rest `key=value` pairs. */
void log_write(enum log_level level, const char *event, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#define log_debug(event, ...) log_write(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) log_write(LOG_INFO, event, __VA_ARGS__)
#define log_warning(event, ...) log_write(LOG_WARNING, event, __VA_ARGS__)
#define log_error(event, ...) log_write(LOG_ERROR, event, __VA_ARGS__)
