/* Blocks of 8 KiB, larger ones on demand; reset keeps the first so that a keep-alive connection
 * allocates nothing for an ordinary request. */
#include "common/arena.h"

#include "common/check.h"

#include <stdarg.h>
#include <stdlib.h>

#define BLOCK_SIZE 8192u

struct arena_block {
    struct arena_block *older;
    size_t size;
    _Alignas(16) char data[];
};

void arena_init(struct arena *a) { *a = (struct arena){0}; }

void arena_reset(struct arena *a)
{
    while (a->blocks && a->blocks->older) {
        struct arena_block *block = a->blocks;
        a->blocks = block->older;
        free(block);
    }
    if (a->blocks) {
        a->next = a->blocks->data;
        a->end = a->next + a->blocks->size;
    }
}

void arena_fini(struct arena *a)
{
    arena_reset(a);
    free(a->blocks);
    arena_init(a);
}

void *arena_alloc(struct arena *a, size_t size)
{
    CHECK(size < SIZE_MAX / 2);
    size = (size + 15) & ~(size_t)15;
    if (size > (size_t)(a->end - a->next)) {
        size_t room = BLOCK_SIZE - sizeof(struct arena_block);
        if (room < size)
            room = size;
        struct arena_block *block = must(malloc(sizeof(*block) + room));
        block->older = a->blocks;
        block->size = room;
        a->blocks = block;
        a->next = block->data;
        a->end = block->data + room;
    }
    void *result = a->next;
    a->next += size;
    return result;
}

void *arena_calloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

char *arena_strndup(struct arena *a, const char *text, size_t length)
{
    char *copy = arena_alloc(a, length + 1);
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

struct slice arena_slice(struct arena *a, struct slice s)
{
    return (struct slice){arena_strndup(a, s.ptr, s.len), s.len};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK(n >= 0);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}
