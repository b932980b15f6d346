/* Looking things up in a request, when somebody asks. */
#include "common/http_server_internal.h"
#include "common/url.h"

struct slice http_request_field(const struct http_request *request, struct slice name)
{
    for (size_t i = 0; i < request->header_count; i++)
        if (slice_equals_nocase(request->headers[i].name, name))
            return request->headers[i].value;
    return (struct slice){NULL, 0};
}

struct slice http_request_query(const struct http_request *request, const char *name)
{
    if (request->query.len == 0)
        return (struct slice){NULL, 0};
    return url_query_get(request->arena, request->query, name);
}

void http_request_limit_body(struct http_request *request, uint64_t limit_bytes, int status,
                             struct slice content_type, struct slice body)
{
    struct http_exchange *x = http_exchange_of(request);
    x->body_limit = limit_bytes;
    x->body_limit_status = status;
    x->body_limit_type = arena_slice(&x->arena, content_type);
    x->body_limit_text = arena_slice(&x->arena, body);
}

void http_request_drop_body(struct http_request *request)
{
    struct http_exchange *x = http_exchange_of(request);
    if (x->connection)
        x->connection->drain_left = HTTP_DRAIN_LARGE_LIMIT;
}

bool http_request_has_connection(const struct http_request *request)
{
    return http_exchange_of(request)->connection != NULL;
}

void http_request_peer_ip(const struct http_request *request, char text[INET6_ADDRSTRLEN])
{
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&request->peer;
    text[0] = '\0';
    if (request->peer.ss_family == AF_INET)
        uv_ip4_name((const struct sockaddr_in *)&request->peer, text, INET6_ADDRSTRLEN);
    else if (request->peer.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
        uv_inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, text, INET6_ADDRSTRLEN);
    else if (request->peer.ss_family == AF_INET6)
        uv_ip6_name(in6, text, INET6_ADDRSTRLEN);
}
