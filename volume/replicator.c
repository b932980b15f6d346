/* One HTTP request a peer, all at once, over the loop's pooled client. A fan-out is one block of
 * memory that goes when the last peer has answered; the body is built once and shared by all of
 * its requests.
 *
 * A peer is a server of the same kind, so its answers are judged as the peer's own client does:
 * 204, or a JSON body without an error; but whatever the body says, only a 2xx is success. */
#include "volume/replicator.h"

#include "common/check.h"
#include "common/http_client.h"
#include "common/http_multipart.h"
#include "common/mime.h"
#include "common/os.h"
#include "common/url.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>

#define ANSWER_MAX (1u << 20)
/* Of several failures together; the caller puts something before it. */
#define FAILURES_TEXT_MAX 400u

struct replicator {
    struct http_client *client;
    struct metric_family *errors; /* NULL: they are not counted */
};

struct fanout;

struct fanout_peer {
    struct fanout *fanout;
    char *host; /* "127.0.0.1:8080" */
    char *url;
    int code;
    bool has_stored; /* and had nothing there before */
    struct error err;
};

struct fanout {
    bool is_put;
    struct metric_family *errors; /* the replicator's */
    const struct http_client_tls *tls;
    unsigned timeout_ms;
    struct buffer body;
    struct arena arena; /* headers, hosts, urls */
    struct http_client_header *headers;
    size_t header_count;
    struct slice path;
    size_t size; /* of the data, for messages */
    struct volume_locations **ret_taken; /* NULL: nobody asks */
    replicator_done *done;
    void *ctx;
    size_t pending, count;
    struct fanout_peer peers[];
};

int replicator_create(struct replicator **ret, struct loop *loop, struct error *err)
{
    struct replicator *replicator = calloc(1, sizeof(*replicator));
    if (!replicator)
        return error_set(err, KELP_E_NO_MEMORY, "replicator: out of memory");
    int code = http_client_create(&replicator->client, loop, err);
    if (code != 0) {
        free(replicator);
        return code;
    }
    *ret = replicator;
    return 0;
}

void replicator_destroy(struct replicator *replicator)
{
    if (!replicator)
        return;
    http_client_destroy(replicator->client);
    free(replicator);
}

/* ---- who ---- */

static bool is_peer(const struct replicator_target *target, const struct volume_location *location)
{
    return strcmp(location->url, target->own_url) != 0 &&
           !(target->skip_read_only && location->is_read_only);
}

void replicator_count_errors(struct replicator *replicator, struct metric_family *by_code)
{
    replicator->errors = by_code;
}

size_t replicator_peer_count(const struct replicator_target *target)
{
    size_t count = 0;
    for (size_t i = 0; target->locations && i < target->locations->count; i++)
        count += is_peer(target, &target->locations->items[i]);
    return count;
}

/* ---- answers ---- */

/* All that failed are named; where they are many, each with less of its text. */
static int collect_failures(const struct fanout *fanout, struct error *ret)
{
    const struct fanout_peer *first = NULL;
    size_t failed = 0, used = 0;
    for (size_t i = 0; i < fanout->count; i++)
        failed += fanout->peers[i].code != 0;
    for (size_t i = 0; i < fanout->count; i++) {
        const struct fanout_peer *peer = &fanout->peers[i];
        if (peer->code == 0)
            continue;
        if (!first) {
            first = peer;
            *ret = peer->err;
            used = 0;
        }
        size_t share = failed > 1 ? FAILURES_TEXT_MAX / failed : sizeof(ret->message);
        size_t room = sizeof(ret->message) - used;
        int n = snprintf(ret->message + used, room, "%s%.*s", used > 0 ? "; " : "", (int)share,
                         peer->err.message);
        used += (size_t)n < room ? (size_t)n : room - 1;
    }
    return first ? first->code : 0;
}

static struct volume_locations *collect_taken(const struct fanout *fanout)
{
    size_t count = 0;
    for (size_t i = 0; i < fanout->count; i++)
        count += fanout->peers[i].has_stored;
    struct volume_locations *taken = volume_locations_create(count);
    count = 0;
    for (size_t i = 0; i < fanout->count; i++) {
        if (!fanout->peers[i].has_stored)
            continue;
        taken->items[count].url = must(strdup(fanout->peers[i].host));
        taken->items[count++].public_url = must(strdup(fanout->peers[i].host));
    }
    return taken;
}

static void finish_peer(struct fanout_peer *peer)
{
    struct fanout *fanout = peer->fanout;
    if (--fanout->pending > 0)
        return;
    struct error err;
    int code = collect_failures(fanout, &err);
    if (code != 0 && fanout->ret_taken)
        *fanout->ret_taken = collect_taken(fanout);
    fanout->done(fanout->ctx, code, code ? &err : NULL);
    buffer_fini(&fanout->body);
    arena_fini(&fanout->arena);
    free(fanout);
}

/* The member "error" of a JSON object, copied; "" when there is none. False when it is no JSON. */
static bool read_error_text(const char *body, size_t size, char *text, size_t text_size,
                            const char **ret_reason)
{
    struct json_tokener *tokener = must(json_tokener_new());
    json_object *object = json_tokener_parse_ex(tokener, body, (int)size), *member;
    enum json_tokener_error outcome = json_tokener_get_error(tokener);
    text[0] = 0;
    if (object && json_object_object_get_ex(object, "error", &member) &&
        json_object_is_type(member, json_type_string))
        snprintf(text, text_size, "%s", json_object_get_string(member));
    bool is_json = object != NULL;
    *ret_reason = outcome == json_tokener_continue ? "unexpected end of JSON input"
                                                   : json_tokener_error_desc(outcome);
    json_object_put(object);
    json_tokener_free(tokener);
    return is_json;
}

static int judge_put(struct fanout_peer *peer, const struct http_client_response *response)
{
    char text[ERROR_MESSAGE_MAX];
    const char *reason;
    if (response->status == 204)
        return 0;
    if (!read_error_text(response->body, response->body_size, text, sizeof(text), &reason))
        return error_set(&peer->err, KELP_E_PROTOCOL, "unmarshal %s: %s", peer->url, reason);
    if (text[0])
        return error_set(&peer->err, KELP_E_UNKNOWN, "unmarshalled error %s: %s", peer->url, text);
    if (response->status < 200 || response->status > 299)
        return error_set(&peer->err, KELP_E_UNKNOWN, "%s answered with status %d", peer->url,
                         response->status);
    return 0;
}

static int judge_delete(struct fanout_peer *peer, const struct http_client_response *response)
{
    char text[ERROR_MESSAGE_MAX];
    const char *reason;
    int status = response->status;
    if (status == 200 || status == 202 || status == 204 || status == 404)
        return 0;
    bool is_json =
        read_error_text(response->body, response->body_size, text, sizeof(text), &reason);
    if (is_json && text[0])
        return error_set(&peer->err, KELP_E_UNKNOWN, "%s", text);
    return error_set(&peer->err, KELP_E_UNKNOWN, "%.*s",
                     (int)(response->body_size < 400 ? response->body_size : 400), response->body);
}

static void count_error(const struct fanout *fanout, int status)
{
    char code[12];
    const char *value = code;
    if (!fanout->is_put || !fanout->errors)
        return;
    snprintf(code, sizeof(code), "%d", status);
    metric_add(metric_series(fanout->errors, &value), 1);
}

static void on_answer(void *ctx, int code, const struct http_client_response *response,
                      const struct error *err)
{
    struct fanout_peer *peer = ctx;
    const struct fanout *fanout = peer->fanout;
    if (code == 0)
        peer->code = fanout->is_put ? judge_put(peer, response) : judge_delete(peer, response);
    else if (fanout->is_put)
        peer->code = error_set(&peer->err, code, "upload %.*s %zu bytes to %s: %s",
                               (int)fanout->path.len, fanout->path.ptr, fanout->size, peer->url,
                               err->message);
    else
        peer->code = error_set(&peer->err, code, "%s", err->message);
    peer->has_stored = peer->code == 0 && response->status == 201 &&
                       !http_client_response_header(response, REPLICATOR_OVERWRITTEN);
    if (peer->code != 0) {
        error_prefix(&peer->err, "[%s]", peer->host);
        count_error(fanout, response ? response->status : 0);
    }
    finish_peer(peer);
}

/* ---- building ---- */

static struct fanout *make_fanout(const struct replicator_target *target, bool is_put,
                                  const char *query, replicator_done *done, void *ctx)
{
    size_t count = replicator_peer_count(target);
    struct fanout *fanout = must(calloc(1, sizeof(*fanout) + count * sizeof(fanout->peers[0])));
    arena_init(&fanout->arena);
    fanout->is_put = is_put;
    fanout->tls = target->tls;
    fanout->timeout_ms = target->timeout_ms;
    fanout->count = fanout->pending = count;
    fanout->path = arena_slice(&fanout->arena, slice_from(target->path, 1));
    fanout->done = done;
    fanout->ctx = ctx;
    struct fanout_peer *peer = fanout->peers;
    for (size_t i = 0; target->locations && i < target->locations->count; i++) {
        const struct volume_location *location = &target->locations->items[i];
        if (!is_peer(target, location))
            continue;
        peer->fanout = fanout;
        peer->host = arena_printf(&fanout->arena, "%s", location->url);
        peer->url = arena_printf(&fanout->arena, "%s://%s%.*s?%s", target->tls ? "https" : "http",
                                 location->url, (int)target->path.len, target->path.ptr, query);
        peer++;
    }
    return fanout;
}

static void add_header(struct fanout *fanout, const char *name, const char *value)
{
    fanout->headers[fanout->header_count++] = (struct http_client_header){name, value};
}

/* The stored pairs go as they came: with their prefix. */
static void add_pairs(struct fanout *fanout, json_object *pairs)
{
    json_object_object_foreach(pairs, name, value)
    {
        add_header(fanout, arena_printf(&fanout->arena, "Seaweed-%s", name),
                   arena_printf(&fanout->arena, "%s", json_object_get_string(value)));
    }
}

static void add_headers(struct fanout *fanout, const struct replicator_target *target,
                        struct slice pairs, const char *boundary)
{
    json_object *object = NULL;
    if (pairs.len > 0) {
        struct json_tokener *tokener = must(json_tokener_new());
        object = json_tokener_parse_ex(tokener, pairs.ptr, (int)pairs.len);
        json_tokener_free(tokener);
        if (object && !json_object_is_type(object, json_type_object)) {
            json_object_put(object);
            object = NULL;
        }
    }
    size_t most = 3 + (object ? (size_t)json_object_object_length(object) : 0);
    fanout->headers = arena_alloc(&fanout->arena, most * sizeof(*fanout->headers));
    if (boundary)
        add_header(fanout, "Content-Type",
                   arena_printf(&fanout->arena, "multipart/form-data; boundary=%s", boundary));
    if (target->request_id.len > 0)
        add_header(fanout, "x-amz-request-id",
                   arena_strndup(&fanout->arena, target->request_id.ptr, target->request_id.len));
    if (target->authorization.len > 0)
        add_header(fanout, "Authorization",
                   arena_printf(&fanout->arena, "Bearer %.*s", (int)target->authorization.len,
                                target->authorization.ptr));
    if (object)
        add_pairs(fanout, object);
    json_object_put(object);
}

static void send_all(struct replicator *replicator, struct fanout *fanout, const char *method)
{
    if (fanout->count == 0) {
        fanout->pending = 1;
        finish_peer(&(struct fanout_peer){.fanout = fanout});
        return;
    }
    /* The last answer frees the fan-out, but never before this returns. */
    for (size_t i = 0; i < fanout->count; i++) {
        struct http_client_request request = {
            .method = method,
            .url = fanout->peers[i].url,
            .tls = fanout->tls,
            .headers = fanout->headers,
            .header_count = fanout->header_count,
            .body = buffer_slice(&fanout->body),
            .response_timeout_ms = fanout->timeout_ms,
            .response_limit_bytes = ANSWER_MAX,
        };
        http_client_send(replicator->client, &request, on_answer, &fanout->peers[i]);
    }
}

/* ---- put ---- */

static void format_query(const struct needle *needle, bool is_durable, char *text, size_t size)
{
    char ttl[8];
    ttl_format(needle->ttl, ttl);
    snprintf(text, size, "%s%sts=%" PRIu64 "&ttl=%s&type=replicate",
             needle->flags & NEEDLE_IS_CHUNK_MANIFEST ? "cm=true&" : "",
             is_durable ? "fsync=true&" : "", needle->last_modified, ttl);
}

static int build_body(struct fanout *fanout, const struct needle *needle, struct slice content_md5,
                      const char *boundary)
{
    struct http_multipart_part part = {
        .filename = needle->name,
        .content_type = needle->mime.len > 0 ? needle->mime : mime_by_name(needle->name),
        .content_md5 = content_md5,
    };
    if (needle->flags & NEEDLE_IS_GZIP)
        part.content_encoding = SLICE("gzip");
    http_multipart_begin(&fanout->body, boundary, &part);
    if (buffer_reserve(&fanout->body, needle->data.len + 256) != 0)
        return KELP_E_NO_MEMORY;
    buffer_append_slice(&fanout->body, needle->data);
    http_multipart_end(&fanout->body, boundary);
    return 0;
}

void replicator_put(struct replicator *replicator, const struct replicator_target *target,
                    const struct needle *needle, struct slice content_md5, bool is_durable,
                    struct volume_locations **ret_taken, replicator_done *done, void *ctx)
{
    char query[96], boundary[48];
    format_query(needle, is_durable, query, sizeof(query));
    snprintf(boundary, sizeof(boundary), "%016" PRIx64 "%016" PRIx64, os_random(os_real()),
             os_random(os_real()));
    struct fanout *fanout = make_fanout(target, true, query, done, ctx);
    fanout->errors = replicator->errors;
    fanout->ret_taken = ret_taken;
    fanout->size = needle->data.len;
    add_headers(fanout, target, needle->pairs, boundary);
    if (fanout->count > 0 && build_body(fanout, needle, content_md5, boundary) != 0) {
        for (size_t i = 0; i < fanout->count; i++)
            fanout->peers[i].code = error_set(&fanout->peers[i].err, KELP_E_NO_MEMORY,
                                              "out of memory for the replicas' copy");
        fanout->pending = 1;
        finish_peer(&fanout->peers[0]);
        return;
    }
    send_all(replicator, fanout, "POST");
}

/* ---- delete ---- */

void replicator_delete(struct replicator *replicator, const struct replicator_target *target,
                       replicator_done *done, void *ctx)
{
    struct fanout *fanout = make_fanout(
        target, false, target->is_chunk ? "cm=false&type=replicate" : "type=replicate", done, ctx);
    /* The released peer does not let a client's token that allows deletes travel in the clear. (For
     * chunks it is one of our own, good for that chunk and a few seconds.) */
    if (target->authorization.len > 0 && !target->is_chunk && !target->tls && fanout->count > 0) {
        for (size_t i = 0; i < fanout->count; i++) {
            struct fanout_peer *peer = &fanout->peers[i];
            peer->code = error_set(&peer->err, KELP_E_DENIED,
                                   "[%s]: refusing to forward delete authorization to %s without "
                                   "HTTPS",
                                   peer->host, peer->host);
        }
        fanout->pending = 1;
        finish_peer(&fanout->peers[0]);
        return;
    }
    add_headers(fanout, target, (struct slice){0}, NULL);
    send_all(replicator, fanout, "DELETE");
}
