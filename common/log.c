/* One write(2) a line, so that lines of several threads never mix. Any thread. */
#include "common/log.h"

#include "common/log_recent.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static atomic_int least_level = LOG_INFO;

void log_set_level(enum log_level least) { atomic_store(&least_level, (int)least); }

void log_write(enum log_level level, const char *event, const char *fmt, ...)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;

    char line[2048];
    const size_t room = sizeof(line) - 1; /* the last byte is kept for the newline */
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t length = strftime(line, room, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + length, room - length, ".%03ldZ %s ", now.tv_nsec / 1000000,
                     names[level]);
    length += (size_t)n;
    const size_t event_at = length;
    n = snprintf(line + length, room - length, "%s", event);
    length += (size_t)n < room - length ? (size_t)n : room - length - 1;
    if (fmt[0] != '\0' && length + 2 < room) {
        line[length++] = ' ';
        va_list args;
        va_start(args, fmt);
        n = vsnprintf(line + length, room - length, fmt, args);
        va_end(args);
        if (n > 0)
            length += (size_t)n < room - length ? (size_t)n : room - length - 1;
    }
    for (size_t i = 0; i < length; i++)
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    if (level >= LOG_WARNING)
        log_recent_add(level, now.tv_sec, line + event_at, length - event_at);
    line[length++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, length);
    (void)ignored;
}
