/* The list of locations is shuffled by taking a random start. Proxying fetches the whole answer
 * before it passes it on, so it is bounded: a blob that is larger is redirected instead. A
 * request that was proxied once is not proxied again, or two servers that both lost a volume
 * would send it around for ever. */
#include "volume/blob_remote.h"

#include "common/url.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>

struct remote_read {
    struct blob_call *call;
    struct blob_path path;
    enum volume_read_mode mode;
    const char *loading; /* what to answer when nobody else has it; NULL: not found */
    struct volume_lookup_request lookup;
    struct slice peer; /* "host:port", in the arena */
};

/* ---- redirect ---- */

static void redirect(struct remote_read *read)
{
    struct http_request *request = read->call->request;
    struct buffer *location = blob_call_scratch(read->call);
    buffer_printf(location, "%s%.*s/", security_client_scheme(read->call->http->config.security),
                  (int)read->peer.len, read->peer.ptr);
    url_encode_path(location, read->path.vid);
    buffer_append_char(location, ',');
    url_encode_path(location, read->path.fid);
    buffer_append_char(location, '?');
    struct slice collection = http_request_query(request, "collection");
    if (collection.len > 0) {
        buffer_append_text(location, "collection=");
        url_encode_query(location, collection);
        buffer_append_char(location, '&');
    }
    buffer_append_text(location, "proxied=true");
    blob_metrics_event(read->call->http->metrics, BLOB_EVENT_REDIRECT);
    blob_call_reply_redirect(read->call, 301, arena_slice(request->arena, buffer_slice(location)));
}

/* ---- proxy ---- */

static bool is_one_of(const char *name, size_t length, const char *const *names)
{
    for (; *names; names++)
        if (strlen(*names) == length && strncasecmp(name, *names, length) == 0)
            return true;
    return false;
}

/* What belongs to one connection, and what the other side makes itself. */
static const char *const connection_headers[] = {
    "Connection", "Content-Length", "Host", "Keep-Alive", "Proxy-Connection", "TE", "Trailer",
    "Transfer-Encoding", "Upgrade", "Expect", NULL,
};
static const char *const own_headers[] = {
    "Connection", "Content-Length", "Date", "Keep-Alive", "Server", "Trailer", "Transfer-Encoding",
    NULL,
};

static void release_body(void *body) { free(body); }

static void on_fetched(void *ctx, int code, const struct http_client_response *response,
                       const struct error *err)
{
    struct remote_read *read = ctx;
    struct blob_call *call = read->call;
    if (code == KELP_E_TOO_LARGE) {
        redirect(read);
        return;
    }
    char *body = NULL;
    if (code == 0 && response->body_size > 0) {
        body = malloc(response->body_size);
        if (body)
            memcpy(body, response->body, response->body_size);
        else
            code = KELP_E_NO_MEMORY;
    }
    if (code != 0) {
        blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY_FAILED);
        blob_call_reply_empty(call, 500);
        return;
    }
    for (size_t i = 0; i < response->header_count; i++) {
        const struct http_client_header *header = &response->headers[i];
        if (!is_one_of(header->name, strlen(header->name), own_headers))
            http_response_set_header(call->request, header->name, slice_cstr(header->value));
    }
    blob_call_reply(call, response->status, slice_of(body ? body : "", response->body_size),
                    body ? release_body : NULL, body);
}

static const char *proxy_url(struct remote_read *read)
{
    struct http_request *request = read->call->request;
    return arena_printf(request->arena, "%s%.*s%.*s?%.*s%sproxied=true",
                        security_client_scheme(read->call->http->config.security),
                        (int)read->peer.len, read->peer.ptr, (int)request->raw_path.len, request->raw_path.ptr,
                        (int)request->query.len, request->query.ptr, request->query.len ? "&" : "");
}

static void proxy(struct remote_read *read)
{
    struct blob_call *call = read->call;
    struct http_request *request = call->request;
    blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY);
    struct http_client_header *headers =
        arena_alloc(request->arena, (request->header_count + 1) * sizeof(*headers));
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice name = request->headers[i].name, value = request->headers[i].value;
        if (is_one_of(name.ptr, name.len, connection_headers))
            continue;
        headers[count].name = arena_strndup(request->arena, name.ptr, name.len);
        headers[count].value = arena_strndup(request->arena, value.ptr, value.len);
        count++;
    }
    struct http_client *client = blob_lane_http_client(call->lane, NULL);
    if (!client) {
        blob_call_reply_empty(call, 500);
        return;
    }
    /* GET also for HEAD, as the peer does: the server there then finds the same length. */
    struct http_client_request fetch = {
        .method = "GET",
        .url = proxy_url(read),
        .tls = security_client_tls(call->http->config.security),
        .headers = headers,
        .header_count = count,
        .response_limit_bytes = call->http->body_limit_bytes,
    };
    http_client_send(client, &fetch, on_fetched, read);
}

/* ---- where ---- */

/* A location that is not this server, or an empty slice. */
static struct slice choose_peer(struct blob_call *call, const struct volume_locations *locations)
{
    size_t start = locations->count ? blob_lane_random(call->lane) % locations->count : 0;
    for (size_t i = 0; i < locations->count; i++) {
        const char *url = locations->items[(start + i) % locations->count].url;
        if (strcmp(url, call->http->config.own_url) != 0)
            return arena_slice(call->request->arena, slice_cstr(url));
    }
    return (struct slice){0};
}

static void reply_nowhere(struct blob_call *call, const char *loading)
{
    if (loading) {
        blob_call_reply_loading(call, loading);
        return;
    }
    blob_metrics_event(call->http->metrics, BLOB_EVENT_GET_NOT_FOUND);
    blob_metrics_read_failed(call->http->metrics, true);
    blob_call_reply_empty(call, 404);
}

static void on_found(struct volume_lookup_request *lookup)
{
    struct remote_read *read =
        (struct remote_read *)((char *)lookup - offsetof(struct remote_read, lookup));
    struct blob_call *call = read->call;
    bool is_only_here = lookup->code == 0 && lookup->locations->count > 0;
    if (lookup->code == 0)
        read->peer = choose_peer(call, lookup->locations);
    volume_locations_unref(lookup->locations);
    if (read->peer.len == 0) {
        if (is_only_here)
            blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY_NOWHERE);
        reply_nowhere(call, read->loading);
    } else if (read->mode == VOLUME_READ_PROXY) {
        proxy(read);
    } else {
        redirect(read);
    }
}

void blob_remote_read(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                      enum volume_read_mode mode, const struct error *loading)
{
    struct volume_http *http = call->http;
    const char *text = loading ? arena_printf(call->request->arena, "%s", loading->message) : NULL;
    if (mode == VOLUME_READ_LOCAL || !http->config.lookup ||
        blob_call_query_is(call, "proxied", "true")) {
        reply_nowhere(call, text);
        return;
    }
    struct remote_read *read = arena_calloc(call->request->arena, sizeof(*read));
    read->call = call;
    read->loading = text;
    read->path = *path;
    read->mode = mode;
    read->lookup.loop = call->request->loop;
    read->lookup.volume_id = volume_id;
    read->lookup.done = on_found;
    volume_lookup_find(http->config.lookup, &read->lookup);
}
