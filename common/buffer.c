/* A growing byte buffer; doubles, so that appending n bytes costs O(n). One thread at a time. */
#include "common/buffer.h"

#include "common/check.h"
#include "common/error.h"

#include <stdio.h>
#include <stdlib.h>

void buffer_fini(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer)BUFFER_INIT;
}

int buffer_reserve(struct buffer *b, size_t extra)
{
    if (extra <= b->capacity - b->length)
        return 0;
    if (extra > SIZE_MAX / 2 - b->length)
        return KELP_E_NO_MEMORY;
    size_t capacity = b->capacity ? b->capacity : 128;
    while (capacity < b->length + extra)
        capacity *= 2;
    char *data = realloc(b->data, capacity);
    if (!data)
        return KELP_E_NO_MEMORY;
    b->data = data;
    b->capacity = capacity;
    return 0;
}

void buffer_vprintf(struct buffer *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    CHECK(n >= 0 && buffer_reserve(b, (size_t)n + 1) == 0);
    vsnprintf(b->data + b->length, (size_t)n + 1, fmt, again);
    va_end(again);
    b->length += (size_t)n;
}

void buffer_printf(struct buffer *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buffer_vprintf(b, fmt, args);
    va_end(args);
}

const char *buffer_cstr(struct buffer *b)
{
    CHECK(buffer_reserve(b, 1) == 0);
    b->data[b->length] = '\0';
    return b->data;
}
