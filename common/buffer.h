/* A growing byte buffer, for text and messages that are built piece by piece. One thread at a time.
 *
 * Growth aborts when memory is gone, so never fill it with what a client sizes without a bound; use
 * buffer_reserve, which fails, for those. */
#pragma once

#include "common/bytes.h"
#include "common/check.h"

#include <stdarg.h>
#include <stdio.h>

struct buffer {
    char *data; /* owned; NULL when empty */
    size_t length;
    size_t capacity;
};

#define BUFFER_INIT {NULL, 0, 0}

void buffer_fini(struct buffer *b); /* takes a zeroed buffer too */
static inline void buffer_clear(struct buffer *b) { b->length = 0; }
static inline struct slice buffer_slice(const struct buffer *b)
{
    return (struct slice){b->data, b->length};
}

/* Room for `extra` more bytes; KELP_E_NO_MEMORY when there is none. */
int buffer_reserve(struct buffer *b, size_t extra);
static inline void buffer_append(struct buffer *b, const void *data, size_t length)
{
    if (length == 0)
        return;
    if (length > b->capacity - b->length)
        CHECK(buffer_reserve(b, length) == 0);
    memcpy(b->data + b->length, data, length);
    b->length += length;
}
static inline void buffer_append_slice(struct buffer *b, struct slice s)
{
    buffer_append(b, s.ptr, s.len);
}
static inline void buffer_append_char(struct buffer *b, char c) { buffer_append(b, &c, 1); }
static inline void buffer_append_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text));
}
void buffer_printf(struct buffer *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buffer_vprintf(struct buffer *b, const char *fmt, va_list args);

/* The content as a terminated string; valid until the next change. */
const char *buffer_cstr(struct buffer *b);
