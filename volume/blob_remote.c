/* The servers that have the volume are tried in the order of the master's list from a random
 * start. A proxied answer is passed on as it comes (blob_relay.h). A server that cannot be
 * reached, or that answers 500 and above, is no reason to give up while there is another; once a
 * byte of the answer has gone to the client there is no other, and its connection is cut. A
 * request that was passed on once is not passed on again, or two servers that both lost a volume
 * would send it around for ever. */
#include "volume/blob_remote.h"

#include "common/http_token.h"
#include "common/url.h"
#include "volume/blob_relay.h"

#include <inttypes.h>
#include <stddef.h>

struct remote_read {
    struct blob_call *call;
    uint32_t volume_id;
    struct blob_path path;
    enum volume_read_mode mode;
    /* What to answer when nobody else has it. */
    int nowhere_status;
    const char *nowhere_text; /* NULL: none */
    struct volume_lookup_request lookup;
    const char **peers; /* "host:port", in the order in which they are tried */
    size_t peer_count, next;
    struct blob_relay *relay;
    /* Of the answer that is passed on. */
    int status; /* 0: none yet */
    struct http_client_header *headers;
    size_t header_count;
    bool is_begun;
};

/* ---- nowhere ---- */

static void reply_nowhere(struct remote_read *read)
{
    struct blob_call *call = read->call;
    struct blob_metrics *metrics = call->http->metrics;
    if (read->nowhere_status == 503) {
        blob_call_reply_loading(call, read->nowhere_text);
        return;
    }
    bool is_missing = read->nowhere_status == 404;
    blob_metrics_event(metrics, is_missing ? BLOB_EVENT_GET_NOT_FOUND : BLOB_EVENT_GET_INTERNAL);
    blob_metrics_read_failed(metrics, is_missing);
    if (read->nowhere_text)
        blob_call_reply_text(call, read->nowhere_status, read->nowhere_text);
    else
        blob_call_reply_empty(call, read->nowhere_status);
}

/* ---- redirect ---- */

static void redirect(struct remote_read *read)
{
    struct http_request *request = read->call->request;
    struct buffer *location = blob_call_scratch(read->call);
    buffer_printf(location, "%s%s/", security_client_scheme(read->call->http->config.security),
                  read->peers[0]);
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

/* ---- proxy: the header ---- */

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

static bool on_head(struct blob_relay *relay, const struct http_client_response *head)
{
    struct remote_read *read = relay->ops_ctx;
    struct arena *arena = read->call->request->arena;
    if (head->status >= 500 && read->next < read->peer_count)
        return false;
    read->status = head->status;
    read->headers = arena_alloc(arena, (head->header_count + 1) * sizeof(*read->headers));
    read->header_count = 0;
    for (size_t i = 0; i < head->header_count; i++) {
        const struct http_client_header *header = &head->headers[i];
        if (http_is_token(slice_cstr(header->name)) &&
            !is_one_of(header->name, strlen(header->name), own_headers))
            read->headers[read->header_count++] = (struct http_client_header){
                arena_printf(arena, "%s", header->name), arena_printf(arena, "%s", header->value)};
    }
    if (read->call->kind != BLOB_CALL_HEAD)
        return true;
    relay->wanted_bytes = 0;
    return relay->announced_bytes <= BLOB_RELAY_EXCESS;
}

/* One that came several times goes out as often, but replaces what was set here. */
static void set_headers(struct remote_read *read)
{
    for (size_t i = 0; i < read->header_count; i++) {
        const struct http_client_header *header = &read->headers[i];
        bool is_repeated = false;
        for (size_t j = 0; j < i && !is_repeated; j++)
            is_repeated = strcasecmp(read->headers[j].name, header->name) == 0;
        (is_repeated ? http_response_header : http_response_set_header)(
            read->call->request, header->name, slice_cstr(header->value));
    }
}

static void begin(struct blob_relay *relay, struct slice first)
{
    struct remote_read *read = relay->ops_ctx;
    if (read->is_begun)
        return;
    read->is_begun = true;
    set_headers(read);
    http_response_start(read->call->request, read->status, relay->announced_bytes);
}

/* ---- proxy: the end ---- */

static void proxy(struct remote_read *read);

static void reply_head(struct remote_read *read)
{
    set_headers(read);
    blob_call_reply_head(read->call, read->status, read->relay->announced_bytes);
}

/* Nobody could be reached: the list of who has the volume may be old. */
static void give_up(struct remote_read *read)
{
    struct blob_call *call = read->call;
    blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY_FAILED);
    volume_lookup_forget(call->http->config.lookup, read->volume_id);
    if (read->nowhere_status != 404)
        reply_nowhere(read);
    else
        blob_call_reply_empty(call, 500);
}

static void on_relayed(struct blob_relay *relay, int code, const struct error *err)
{
    struct remote_read *read = relay->ops_ctx;
    struct blob_call *call = read->call;
    if (relay->is_client_gone || (code != 0 && read->is_begun)) {
        if (!relay->is_client_gone)
            blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY_FAILED);
        blob_call_close(call, read->is_begun ? read->status : 499);
        http_response_abort(call->request);
    } else if (read->status != 0 && call->kind == BLOB_CALL_HEAD) {
        reply_head(read);
    } else if (code != 0 && read->next < read->peer_count) {
        proxy(read);
    } else if (code != 0) {
        give_up(read);
    } else {
        begin(relay, (struct slice){0});
        blob_call_close(call, read->status);
        http_response_end(call->request);
    }
}

static const struct blob_relay_ops proxy_ops = {
    .on_head = on_head, .begin = begin, .done = on_relayed};

/* ---- proxy: the request ---- */

/* The first of a name is the one that counts, so ours comes before what the client says: without
 * it the next server would ask this one again. */
static const char *proxy_url(struct remote_read *read, const char *peer)
{
    struct http_request *request = read->call->request;
    return arena_printf(request->arena, "%s%s%.*s?proxied=true%s%.*s",
                        security_client_scheme(read->call->http->config.security), peer,
                        (int)request->raw_path.len, request->raw_path.ptr,
                        request->query.len ? "&" : "", (int)request->query.len,
                        request->query.ptr);
}

/* To the next server that may have it; there is one. */
static void proxy(struct remote_read *read)
{
    struct blob_call *call = read->call;
    struct http_request *request = call->request;
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
    /* GET also for HEAD, as the peer does: the server there then finds the same length. */
    struct http_client_request fetch = {
        .method = "GET",
        .url = proxy_url(read, read->peers[read->next++]),
        .tls = security_client_tls(call->http->config.security),
        .headers = headers,
        .header_count = count,
        .response_timeout_ms = call->http->config.peer_timeout_ms,
    };
    read->status = 0;
    read->relay = arena_calloc(request->arena, sizeof(*read->relay));
    *read->relay = (struct blob_relay){.call = call,
                                       .ops = &proxy_ops,
                                       .ops_ctx = read,
                                       .wanted_bytes = BLOB_RELAY_ALL};
    blob_relay_start(read->relay, &fetch);
}

/* ---- where ---- */

/* All that are not this server. */
static void choose_peers(struct remote_read *read, const struct volume_locations *locations)
{
    struct blob_call *call = read->call;
    struct arena *arena = call->request->arena;
    if (locations->count == 0)
        return;
    read->peers = arena_alloc(arena, locations->count * sizeof(*read->peers));
    size_t start = blob_lane_random(call->lane) % locations->count;
    for (size_t i = 0; i < locations->count; i++) {
        const char *url = locations->items[(start + i) % locations->count].url;
        if (strcmp(url, call->http->config.own_url) != 0)
            read->peers[read->peer_count++] = arena_printf(arena, "%s", url);
    }
}

static void on_found(struct volume_lookup_request *lookup)
{
    struct remote_read *read =
        (struct remote_read *)((char *)lookup - offsetof(struct remote_read, lookup));
    struct blob_call *call = read->call;
    bool is_only_here = lookup->code == 0 && lookup->locations->count > 0;
    if (lookup->code == 0)
        choose_peers(read, lookup->locations);
    volume_locations_unref(lookup->locations);
    if (read->peer_count == 0) {
        if (is_only_here)
            blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY_NOWHERE);
        reply_nowhere(read);
    } else if (read->mode == VOLUME_READ_PROXY) {
        blob_metrics_event(call->http->metrics, BLOB_EVENT_PROXY);
        proxy(read);
    } else {
        redirect(read);
    }
}

static bool may_ask(const struct blob_call *call, enum volume_read_mode mode)
{
    return mode != VOLUME_READ_LOCAL && call->http->config.lookup &&
           !blob_call_query_is(call, "proxied", "true");
}

static void start(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                  enum volume_read_mode mode, int nowhere_status, const char *nowhere_text)
{
    struct http_request *request = call->request;
    struct remote_read *read = arena_calloc(request->arena, sizeof(*read));
    read->call = call;
    read->volume_id = volume_id;
    read->path = *path;
    read->mode = mode;
    read->nowhere_status = nowhere_status;
    if (nowhere_text && *nowhere_text)
        read->nowhere_text = arena_printf(request->arena, "%s", nowhere_text);
    if (!may_ask(call, mode)) {
        reply_nowhere(read);
        return;
    }
    read->lookup.loop = request->loop;
    read->lookup.volume_id = volume_id;
    read->lookup.done = on_found;
    volume_lookup_find(call->http->config.lookup, &read->lookup);
}

void blob_remote_read(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                      enum volume_read_mode mode, const struct error *loading)
{
    start(call, volume_id, path, mode, loading ? 503 : 404, loading ? loading->message : NULL);
}

bool blob_remote_may_replace(const struct blob_call *call, unsigned copies)
{
    return copies > 1 && may_ask(call, call->http->config.read_mode);
}

void blob_remote_replace(struct blob_call *call, uint32_t volume_id, const struct blob_path *path,
                         const char *reason)
{
    blob_call_reset_headers(call);
    start(call, volume_id, path, call->http->config.read_mode, 500, reason);
}
