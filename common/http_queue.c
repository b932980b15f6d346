/* A slow reader holds one answer, or one piece of a streamed one; but there may be very many
 * slow readers. So the bytes that wait are counted, all together, and when they are too many
 * those go first that have kept the server waiting longest.
 *
 * Whether a client reads at all is asked of the kernel: its buffer holds megabytes, of which
 * libuv hears only when a good part has gone. A reader of a few kilobytes a second would seem to
 * be dead. One of a byte now and then is. */
#include "common/http_queue.h"

#include "common/http_lane.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* Bytes that the client's side has not acknowledged. */
static uint64_t unsent(struct http_connection *c)
{
    int fd, in_kernel = 0;
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) != 0 || ioctl(fd, SIOCOUTQ, &in_kernel) != 0)
        in_kernel = 0;
    return uv_stream_get_write_queue_size((uv_stream_t *)&c->tcp) + (uint64_t)in_kernel;
}

static void close_slowest(struct http_lane *lane)
{
    for (struct http_connection *c = lane->waits[HTTP_WAIT_CLIENT].first; c; c = c->wait_next) {
        if (!c->exchange || !c->exchange->is_write_queued)
            continue; /* it sends a body */
        HTTP_COUNT(lane, timeouts, 1);
        lane->on_broken(c);
        return;
    }
}

void http_queue_enter(struct http_exchange *x)
{
    struct http_shared *shared = x->lane->shared;
    http_lane_wait(x->connection, HTTP_WAIT_CLIENT);
    x->connection->unsent_seen = unsent(x->connection);
    if (x->queued_bytes > 0) /* another part of the same output */
        return;
    x->queued_bytes = x->output_bytes;
    uint64_t before =
        atomic_fetch_add_explicit(&shared->queued_bytes, x->queued_bytes, memory_order_relaxed);
    if (shared->queued_limit_bytes && before + x->queued_bytes > shared->queued_limit_bytes)
        close_slowest(x->lane);
}

void http_queue_leave(struct http_exchange *x)
{
    if (x->queued_bytes == 0)
        return;
    atomic_fetch_sub_explicit(&x->lane->shared->queued_bytes, x->queued_bytes,
                              memory_order_relaxed);
    x->queued_bytes = 0;
}

bool http_queue_has_moved(struct http_connection *c)
{
    if (!c->exchange || !c->exchange->is_write_queued)
        return false;
    uint64_t left = unsent(c), least = c->lane->shared->idle_timeout_ms * HTTP_SLOW_RATE / 1000;
    bool has_moved = left + least < c->unsent_seen;
    c->unsent_seen = left;
    return has_moved;
}
