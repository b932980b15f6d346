/* The log is small and repairs are rare, so each line replaces the whole file. See the header. */
#include "volume/storage/format/repair_log.h"

#include "common/buffer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIME_SIZE 21u /* "2026-11-21T10:58:11Z " */
#define LINE_MAX  4096u

/* Appends "<time> <text>\n", the text in one line. */
static void append_line(struct buffer *lines, int64_t now_ns, const char *text)
{
    char stamp[TIME_SIZE + 1];
    time_t now = (time_t)(now_ns / 1000000000);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ ", &utc);
    buffer_append_text(lines, stamp);
    size_t length = strnlen(text, LINE_MAX);
    for (size_t i = 0; i < length; i++)
        buffer_append_char(lines, iscntrl((unsigned char)text[i]) ? ' ' : text[i]);
    buffer_append_char(lines, '\n');
}

/* Where the last line of the text begins. */
static size_t last_line(const char *text, size_t size)
{
    size_t start = size > 0 && text[size - 1] == '\n' ? size - 1 : size;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    return start;
}

static bool is_told_already(const char *old, size_t old_size, const struct buffer *line)
{
    size_t start = last_line(old, old_size);
    return old_size - start == line->length && line->length > TIME_SIZE &&
           memcmp(old + start + TIME_SIZE, line->data + TIME_SIZE, line->length - TIME_SIZE) == 0;
}

/* The first byte of the oldest line that still fits beside `room_for` more. */
static size_t first_kept(const char *old, size_t old_size, size_t room_for)
{
    size_t start = 0;
    while (start < old_size && old_size - start + room_for > REPAIR_LOG_MAX) {
        const char *end = memchr(old + start, '\n', old_size - start);
        start = end ? (size_t)(end - old) + 1 : old_size;
    }
    return start;
}

int repair_log_add(struct os *os, const char *path, const char *text, struct error *err)
{
    struct error reason = {0};
    char *old = NULL;
    size_t old_size = 0;
    int code = os_read_file(os, path, REPAIR_LOG_MAX, &old, &old_size, &reason);
    /* One that is not ours by its size is begun anew. */
    if (code != 0 && code != KELP_E_NOT_FOUND && code != KELP_E_TOO_LARGE)
        return error_set(err, code, "%s", reason.message);
    if (code != 0) {
        old = NULL;
        old_size = 0;
    }
    struct buffer line = BUFFER_INIT, lines = BUFFER_INIT;
    append_line(&line, os_now_ns(os), text);
    code = 0;
    if (!is_told_already(old, old_size, &line)) {
        size_t start = first_kept(old, old_size, line.length);
        if (start < old_size) {
            buffer_append(&lines, old + start, old_size - start);
            if (old[old_size - 1] != '\n')
                buffer_append_char(&lines, '\n');
        }
        buffer_append(&lines, line.data, line.length);
        code = os_replace_file(os, path, lines.data, lines.length, err);
    }
    buffer_fini(&lines);
    buffer_fini(&line);
    free(old);
    return code;
}
