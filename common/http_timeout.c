/* Time-outs. Each kind of waiting has one list per lane, in the order of since when, so a sweep
 * looks only at those that are due, however many connections are idle. */
#include "common/http_timeout.h"

#include "common/http_closing.h"
#include "common/http_lane.h"
#include "common/http_queue.h"
#include "common/http_tls.h"

#include <stdio.h>

static void format_end(const struct sockaddr_storage *address, char *text, size_t size)
{
    char ip[INET6_ADDRSTRLEN] = "?";
    if (address->ss_family == AF_INET6) {
        uv_ip6_name((const struct sockaddr_in6 *)address, ip, sizeof(ip));
        snprintf(text, size, "[%s]:%u", ip,
                 ntohs(((const struct sockaddr_in6 *)address)->sin6_port));
    } else {
        uv_ip4_name((const struct sockaddr_in *)address, ip, sizeof(ip));
        snprintf(text, size, "%s:%u", ip, ntohs(((const struct sockaddr_in *)address)->sin_port));
    }
}

/* The words that the peer has for it. */
static void refuse_stalled_body(struct http_connection *c)
{
    struct sockaddr_storage local = {0}, remote = {0};
    int size = sizeof(local);
    char here[64], there[64], text[160];
    uv_tcp_getsockname(&c->tcp, (struct sockaddr *)&local, &size);
    memcpy(&remote, &c->peer, sizeof(c->peer));
    format_end(&local, here, sizeof(here));
    format_end(&remote, there, sizeof(there));
    snprintf(text, sizeof(text), "read tcp %s->%s: i/o timeout", here, there);
    http_closing_refuse(c, 400, text);
}

static void on_timeout(struct http_connection *c)
{
    struct http_lane *lane = c->lane;
    if (c->wait == HTTP_WAIT_CLIENT && http_queue_has_moved(c)) { /* slow, but it reads */
        http_lane_wait(c, HTTP_WAIT_CLIENT);
        return;
    }
    HTTP_COUNT(lane, timeouts, 1);
    if (c->tls && !http_tls_is_established(c))
        http_closing_now(c); /* there is no way to say anything */
    else if (c->wait == HTTP_WAIT_HEAD)
        http_closing_refuse(c, 400, "timed out while reading the request header");
    else if (c->wait == HTTP_WAIT_CLIENT && c->state == HTTP_CONNECTION_BODY)
        refuse_stalled_body(c);
    else
        http_closing_now(c);
}

void http_timeout_sweep(struct http_lane *lane)
{
    uint64_t now_ms = loop_now_ms(lane->loop);
    loop_doing("closing connections whose time is over");
    for (int i = 0; i < HTTP_WAIT_COUNT; i++) {
        const struct http_wait_list *list = &lane->waits[i];
        while (list->timeout_ms && list->first &&
               now_ms - list->first->wait_since_ms >= list->timeout_ms)
            on_timeout(list->first); /* moves it to another list or to the end of this one */
    }
    loop_lap();
}
