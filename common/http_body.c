/* Bodies are collected whole, since a write has to be complete before it touches a volume. A body
 * of announced length gets its exact block at once (pages that are not filled cost nothing yet),
 * and the account refuses the one that would be too much before it has been sent. */
#include "common/http_body.h"

#include <stdlib.h>

#define FIRST_BLOCK 4096u

static bool take_account(struct http_shared *shared, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add(&shared->buffered_bytes, bytes);
    if (!shared->buffered_limit_bytes || before + bytes <= shared->buffered_limit_bytes)
        return true;
    atomic_fetch_sub(&shared->buffered_bytes, bytes);
    return false;
}

int http_body_reserve(struct http_exchange *exchange, uint64_t total)
{
    if (total > exchange->body_limit)
        return KELP_E_TOO_LARGE;
    if (total <= exchange->body_capacity)
        return 0;
    struct http_shared *shared = exchange->lane->shared;
    uint64_t extra = total - exchange->body_capacity;
    if (!take_account(shared, extra))
        return KELP_E_LIMIT;
    /* One byte more, so that text handlers may rely on a terminator's place. */
    char *body = total < SIZE_MAX ? realloc(exchange->body, (size_t)total + 1) : NULL;
    if (!body) {
        atomic_fetch_sub(&shared->buffered_bytes, extra);
        return KELP_E_NO_MEMORY;
    }
    exchange->body = body;
    exchange->body_capacity = total;
    return 0;
}

int http_body_append(struct http_exchange *exchange, const char *data, size_t size)
{
    uint64_t total = exchange->body_length + size;
    if (total > exchange->body_capacity) {
        uint64_t goal = exchange->body_capacity * 2;
        if (goal < FIRST_BLOCK)
            goal = FIRST_BLOCK;
        if (goal < total)
            goal = total;
        if (goal > exchange->body_limit && total <= exchange->body_limit)
            goal = exchange->body_limit;
        int code = http_body_reserve(exchange, goal);
        if (code < 0)
            return code;
    }
    char *place = exchange->body + exchange->body_length;
    if (place != data)
        memcpy(place, data, size);
    exchange->body_length = total;
    return 0;
}

uv_buf_t http_body_room(struct http_exchange *exchange)
{
    uint64_t left = exchange->body_capacity - exchange->body_length;
    return uv_buf_init(exchange->body + exchange->body_length,
                       left > (1u << 30) ? 1u << 30 : (unsigned)left);
}

void http_body_free(struct http_exchange *exchange)
{
    if (exchange->body_capacity)
        atomic_fetch_sub(&exchange->lane->shared->buffered_bytes, exchange->body_capacity);
    free(exchange->body);
    exchange->body = NULL;
    exchange->body_length = exchange->body_capacity = 0;
}
