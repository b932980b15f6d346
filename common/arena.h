/* An arena: many small allocations that die together. One per request; one thread at a time. */
#pragma once

#include "common/bytes.h"

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first; the oldest is kept by arena_reset */
    char *next, *end;
};

void arena_init(struct arena *a);
void arena_fini(struct arena *a);
void arena_reset(struct arena *a); /* frees all but one block */

/* 16-byte aligned. Aborts when memory is gone: bound what a client can ask for. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_calloc(struct arena *a, size_t size);
char *arena_strndup(struct arena *a, const char *text, size_t length); /* terminated */
struct slice arena_slice(struct arena *a, struct slice s);              /* a copy, terminated */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
