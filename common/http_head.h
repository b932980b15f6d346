/* The header of a response, written as text from the first line on: what is added goes right to
 * where it is sent from. The status line, which is known last, has its room in front.
 *
 *     |<-- HTTP_HEAD_FRONT -->|
 *     |         HTTP/1.1 200 OK\r\nServer: ...\r\nEtag: ...\r\n ... \r\n\r\n|   room to grow    |
 *               ^ start                                                   ^ end
 *
 * One thread at a time; the memory is the arena's. */
#pragma once

#include "common/arena.h"

struct http_head {
    char *text; /* NULL: nothing was added yet */
    uint32_t length, capacity;
    uint64_t seen; /* a bit for each name that was added, shared with others: spares most searches */
};

/* Adds a line. That the name is a token (http_is_token) is for the caller to know; a line break in
 * the value must not become a header, so it becomes a blank. Both are copied. */
void http_head_add(struct http_head *head, struct arena *arena, struct slice name,
                   struct slice value);
/* Takes all lines of that name away. */
void http_head_remove(struct http_head *head, struct slice name);
void http_head_clear(struct http_head *head);
/* Room for `size` more bytes of text that is known to be well; length grows by what is used of it. */
char *http_head_room(struct http_head *head, struct arena *arena, size_t size);
/* Puts the status line in front: the whole text, as it is sent. The head is used up. */
struct slice http_head_finish(struct http_head *head, int status);

/* Writes at `at`; where the text goes on. */
static inline char *http_head_put(char *at, const void *text, size_t size)
{
    memcpy(at, text, size);
    return at + size;
}
char *http_head_put_uint(char *at, uint64_t value);
