/* The common goods of a loop's connections. An exchange is borrowed for the time of one request, so
 * the memory of arenas follows the number of requests in flight, not of connections. */
#include "common/http_lane.h"

#include "common/check.h"
#include "common/http_body.h"
#include "common/http_date.h"

#include <stdlib.h>
#include <time.h>

#define FREE_EXCHANGES_MAX 128u
#define DATE_CHECK_MS 100u

void http_lane_init(struct http_lane *lane, struct http_shared *shared, struct loop *loop)
{
    lane->shared = shared;
    lane->loop = loop;
    lane->waits[HTTP_WAIT_IDLE].timeout_ms = shared->idle_timeout_ms;
    lane->waits[HTTP_WAIT_HEAD].timeout_ms = shared->header_timeout_ms;
    lane->waits[HTTP_WAIT_CLIENT].timeout_ms = shared->idle_timeout_ms;
    lane->waits[HTTP_WAIT_LINGER].timeout_ms = shared->linger_timeout_ms;
}

void http_lane_fini(struct http_lane *lane)
{
    buffer_fini(&lane->sealed);
    while (lane->free_exchanges) {
        struct http_exchange *exchange = lane->free_exchanges;
        lane->free_exchanges = exchange->next_free;
        arena_fini(&exchange->arena);
        free(exchange);
    }
}

void http_lane_hold(struct http_lane *lane) { lane->live_count++; }

void http_lane_drop(struct http_lane *lane)
{
    CHECK(lane->live_count > 0);
    bool is_empty = --lane->live_count == 0;
    if (lane->is_stopping)
        lane->on_drop(lane, is_empty);
}

struct http_exchange *http_lane_borrow(struct http_lane *lane)
{
    struct http_exchange *exchange = lane->free_exchanges;
    if (exchange) {
        lane->free_exchanges = exchange->next_free;
        lane->free_count--;
    } else {
        exchange = must(calloc(1, sizeof(*exchange)));
        arena_init(&exchange->arena);
        exchange->lane = lane;
    }
    exchange->request.loop = lane->loop;
    exchange->request.arena = &exchange->arena;
    exchange->request.method = HTTP_METHOD_OTHER;
    exchange->body_limit = lane->shared->body_limit_bytes;
    http_lane_hold(lane);
    return exchange;
}

void http_lane_return(struct http_exchange *exchange)
{
    struct http_lane *lane = exchange->lane;
    http_body_free(exchange);
    if (lane->free_count >= FREE_EXCHANGES_MAX) {
        arena_fini(&exchange->arena);
        free(exchange);
    } else {
        struct arena arena = exchange->arena;
        arena_reset(&arena);
        memset(exchange, 0, sizeof(*exchange));
        exchange->arena = arena;
        exchange->lane = lane;
        exchange->next_free = lane->free_exchanges;
        lane->free_exchanges = exchange;
        lane->free_count++;
    }
    http_lane_drop(lane);
}

static void unlink_wait(struct http_connection *connection)
{
    struct http_wait_list *list = &connection->lane->waits[connection->wait];
    if (connection->wait_prev)
        connection->wait_prev->wait_next = connection->wait_next;
    else
        list->first = connection->wait_next;
    if (connection->wait_next)
        connection->wait_next->wait_prev = connection->wait_prev;
    else
        list->last = connection->wait_prev;
}

void http_lane_wait(struct http_connection *connection, enum http_wait wait)
{
    struct http_lane *lane = connection->lane;
    connection->wait_since_ms = loop_now_ms(lane->loop);
    if (connection->wait == wait && (wait == HTTP_WAIT_COUNT || !connection->wait_next))
        return; /* the last of that list already */
    if (connection->wait != HTTP_WAIT_COUNT)
        unlink_wait(connection);
    connection->wait = (uint8_t)wait;
    if (wait == HTTP_WAIT_COUNT)
        return;
    struct http_wait_list *list = &lane->waits[wait];
    connection->wait_next = NULL;
    connection->wait_prev = list->last;
    if (list->last)
        list->last->wait_next = connection;
    else
        list->first = connection;
    list->last = connection;
}

const char *http_lane_date(struct http_lane *lane)
{
    uint64_t now_ms = loop_now_ms(lane->loop);
    if (lane->date[0] && now_ms - lane->date_checked_ms < DATE_CHECK_MS)
        return lane->date;
    lane->date_checked_ms = now_ms;
    int64_t second = time(NULL);
    if (second != lane->date_second || !lane->date[0]) {
        lane->date_second = second;
        http_date_format(second, lane->date);
    }
    return lane->date;
}
