/* Bodies are collected whole, since a write has to be complete before it touches a volume. A body
 * of announced length gets its exact block at once, whose pages cost nothing until they are filled.
 *
 * The account is of bytes that came, taken in steps: what a client announces and then never
 * sends takes nothing from the others. One that announces more than is left is refused before it
 * has been sent all the same. */
#include "common/http_body.h"

#include <stdlib.h>

#define FIRST_BLOCK 4096u
#define ACCOUNT_STEP (256u << 10)
#define ROOM_MIN (64u << 10)

static bool take_account(struct http_shared *shared, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add(&shared->buffered_bytes, bytes);
    if (!shared->buffered_limit_bytes || before + bytes <= shared->buffered_limit_bytes)
        return true;
    atomic_fetch_sub(&shared->buffered_bytes, bytes);
    return false;
}

static bool has_room_for(struct http_shared *shared, uint64_t bytes)
{
    uint64_t limit = shared->buffered_limit_bytes;
    uint64_t taken = atomic_load_explicit(&shared->buffered_bytes, memory_order_relaxed);
    return !limit || (taken < limit && bytes <= limit - taken);
}

/* So that `total` bytes may be in the block; more are taken at once, to come here seldom. */
static bool account_for(struct http_exchange *exchange, uint64_t total)
{
    if (total <= exchange->body_accounted)
        return true;
    uint64_t goal = exchange->body_accounted + ACCOUNT_STEP;
    if (goal > exchange->body_capacity)
        goal = exchange->body_capacity;
    if (goal < total)
        goal = total;
    if (!take_account(exchange->lane->shared, goal - exchange->body_accounted))
        return false;
    exchange->body_accounted = goal;
    return true;
}

int http_body_reserve(struct http_exchange *exchange, uint64_t total)
{
    if (total > exchange->body_limit)
        return KELP_E_TOO_LARGE;
    if (total <= exchange->body_capacity)
        return 0;
    if (!has_room_for(exchange->lane->shared, total - exchange->body_accounted))
        return KELP_E_LIMIT;
    /* One byte more, so that text handlers may rely on a terminator's place. */
    char *body = total < SIZE_MAX ? realloc(exchange->body, (size_t)total + 1) : NULL;
    if (!body)
        return KELP_E_NO_MEMORY;
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
    if (!account_for(exchange, total))
        return KELP_E_LIMIT;
    char *place = exchange->body + exchange->body_length;
    if (place != data)
        memcpy(place, data, size);
    exchange->body_length = total;
    return 0;
}

bool http_body_room(struct http_exchange *exchange, uv_buf_t *ret)
{
    uint64_t left = exchange->body_capacity - exchange->body_length;
    uint64_t wanted = left < ROOM_MIN ? left : ROOM_MIN;
    if (left == 0 || !account_for(exchange, exchange->body_length + wanted))
        return false;
    uint64_t room = exchange->body_accounted - exchange->body_length;
    *ret = uv_buf_init(exchange->body + exchange->body_length, (unsigned)room);
    return true;
}

void http_body_free(struct http_exchange *exchange)
{
    if (exchange->body_accounted)
        atomic_fetch_sub(&exchange->lane->shared->buffered_bytes, exchange->body_accounted);
    free(exchange->body);
    exchange->body = NULL;
    exchange->body_length = exchange->body_capacity = exchange->body_accounted = 0;
}
