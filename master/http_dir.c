/* /dir/assign, /dir/lookup, and the redirect of /{fileId}. Source: spec/master-http.md 2, 3, 10. */
#include "common/check.h"
#include "common/html.h"
#include "master/http_option.h"
#include "master/http_reply.h"
#include "master/http_routes.h"
#include "master/volume_lookup_text.h"

#include <stdatomic.h>

#define LOCATIONS_MAX 1024u

/* ---- Assign ---------------------------------------------------------------------------------- */

struct assign_work {
    struct master_http_work base;
    atomic_bool is_aborted;
    int64_t retry_after_ns; /* negative: none */
    char fid[FILE_ID_TEXT_SIZE];
};

static int http_status_of(enum assign_status status)
{
    switch (status) {
    case ASSIGN_OK:
        return 200;
    case ASSIGN_WARMING_UP:
    case ASSIGN_GROWING:
    case ASSIGN_STOPPING:
        return 503;
    case ASSIGN_NO_DATA_CENTER:
        return 400;
    case ASSIGN_NO_VOLUME:
    case ASSIGN_NO_CAPACITY:
        break;
    }
    return 406;
}

static bool is_aborted(void *ctx)
{
    struct assign_work *work = ctx;
    return atomic_load(&work->is_aborted);
}

static void on_assigned(void *ctx, const struct assign_result *result)
{
    struct assign_work *work = ctx;
    work->base.status = http_status_of(result->status);
    work->retry_after_ns = work->base.status == 503 ? result->retry_after_ns : -1;
    if (result->status != ASSIGN_OK) {
        master_http_work_fail(&work->base, work->base.status, "%s", result->message);
    } else {
        struct json_writer *w = &work->base.json;
        memcpy(work->fid, result->fid, sizeof(work->fid));
        json_writer_begin_object(w);
        json_writer_member_text(w, "fid", result->fid);
        if (result->location_count > 0) {
            json_writer_member_text(w, "url", result->locations[0].url);
            json_writer_member_text(w, "publicUrl", result->locations[0].public_url);
        }
        json_writer_member_uint(w, "count", result->count);
        json_writer_end_object(w);
    }
    master_http_work_done(&work->base);
}

/* Tokens travel in a header, never in the body. */
static void add_token(struct http_request *request, struct services *s, enum security_key key,
                      struct slice fid)
{
    char header[FILE_TOKEN_MAX + 8] = "Bearer ";
    if (*security_make_token(s->security, key, fid, header + 7))
        http_response_set_header(request, "Authorization", slice_cstr(header));
}

static void answer_assign(struct master_http_work *base)
{
    struct assign_work *work = (struct assign_work *)base;
    base->request->user = NULL;
    if (base->status == 200)
        add_token(base->request, base->services, SECURITY_WRITE, slice_cstr(work->fid));
    if (work->retry_after_ns >= 0)
        master_http_retry_after(base->request, work->retry_after_ns);
    master_http_send_json(base->request, base->status, &base->body);
}

static uint64_t number_or(struct slice text, uint64_t most, uint64_t fallback)
{
    uint64_t value;
    return master_http_parse_uint(text, "ParseUint", most, &value, NULL) ? fallback : value;
}

static int64_t warm_up_left_ns(struct services *s)
{
    cluster_lock(s->cluster);
    int64_t left_ns = topology_warm_up_left_ns(s->cluster->topology);
    cluster_unlock(s->cluster);
    return left_ns;
}

void master_http_assign(struct http_request *request, struct services *s)
{
    struct assign_query query = {.is_http = true};
    struct error err;
    if (master_http_read_option(request, s, &query.option, &err)) {
        master_http_fail(request, 406, "%s", err.message);
        return;
    }
    query.count = number_or(master_http_param(request, "count"), UINT64_MAX, 1);
    if (query.count == 0)
        query.count = 1;
    query.bytes_per_file = number_or(master_http_param(request, "dataSize"), UINT64_MAX, 0);
    query.writable_volume_count =
        (uint32_t)number_or(master_http_param(request, "writableVolumeCount"), UINT32_MAX, 0);
    struct assign_work *work = master_http_work_create(request, s, sizeof(*work));
    work->base.answer = answer_assign;
    request->user = &work->is_aborted;
    assigner_assign(s->assigner, &query, on_assigned, is_aborted, work);
}

/* ---- Lookup ---------------------------------------------------------------------------------- */

static void write_location(struct json_writer *w, const struct topology_location *location)
{
    struct data_node_info info;
    data_node_info(location->node, &info);
    const struct volume_record *record = location->record;
    json_writer_begin_object(w);
    if (*info.url)
        json_writer_member_text(w, "url", info.url);
    if (*info.public_url)
        json_writer_member_text(w, "publicUrl", info.public_url);
    if (*info.data_center)
        json_writer_member_text(w, "dataCenter", info.data_center);
    if (info.grpc_port)
        json_writer_member_uint(w, "grpcPort", info.grpc_port);
    if (record && record->remote_storage_name && *record->remote_storage_name)
        json_writer_member_bool(w, "dataInRemote", true);
    if (record && record->read_only)
        json_writer_member_bool(w, "readOnly", true);
    if (record && record->read_only_can_delete)
        json_writer_member_bool(w, "readOnlyCanDelete", true);
    json_writer_end_object(w);
}

/* Up to LOCATIONS_MAX places of a volume. The lock is held. */
static size_t find_locations(struct services *s, uint32_t id, const char *collection,
                             struct topology_location found[LOCATIONS_MAX])
{
    bool is_ec;
    size_t count =
        topology_lookup(s->cluster->topology, id, collection, found, LOCATIONS_MAX, &is_ec);
    return count < LOCATIONS_MAX ? count : LOCATIONS_MAX;
}

/* Writes the locations of a volume; how many there are. Takes the lock. */
static size_t write_locations(struct services *s, uint32_t id, const char *collection,
                              struct json_writer *w)
{
    struct topology_location found[LOCATIONS_MAX];
    cluster_lock(s->cluster);
    size_t count = find_locations(s, id, collection, found);
    if (count > 0) {
        json_writer_key(w, "locations");
        json_writer_begin_array(w);
        for (size_t i = 0; i < count; i++)
            write_location(w, &found[i]);
        json_writer_end_array(w);
    }
    cluster_unlock(s->cluster);
    return count;
}

void master_http_lookup(struct http_request *request, struct services *s)
{
    struct slice text = master_http_param(request, "volumeId");
    struct slice file_id = master_http_param(request, "fileId");
    if (slice_find(file_id, ',') > 0)
        text = file_id;
    text = volume_lookup_id_text(text);
    int64_t warm_up_ns = warm_up_left_ns(s);
    struct buffer body = BUFFER_INIT, message = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &body, master_http_is_pretty(request));
    json_writer_begin_object(&w);
    if (text.len > 0)
        json_writer_member_string(&w, "volumeOrFileId", text);
    uint32_t id;
    int status = 200;
    if (!volume_lookup_parse(text, &id)) {
        status = 404;
        buffer_printf(&message, "unknown volume id %.*s", (int)text.len, text.ptr);
    } else if (write_locations(s, id, master_http_text(request, "collection"), &w) == 0) {
        status = warm_up_ns > 0 ? 503 : 404;
        if (warm_up_ns > 0)
            buffer_append_text(&message, "service warming up, please retry");
        else
            buffer_printf(&message, "volume id %.*s not found", (int)text.len, text.ptr);
    }
    if (message.length > 0)
        json_writer_member_string(&w, "error", buffer_slice(&message));
    json_writer_end_object(&w);
    if (status == 503)
        master_http_retry_after(request, warm_up_ns);
    if (status == 200 && file_id.len > 0)
        add_token(request, s,
                  slice_equals(master_http_param(request, "read"), SLICE("yes")) ? SECURITY_READ
                                                                                 : SECURITY_WRITE,
                  file_id);
    master_http_send_json(request, status, &body);
    buffer_fini(&message);
}

/* ---- Redirect -------------------------------------------------------------------------------- */

/* The public URL of a location chosen at random; false when there is none. */
static bool choose_location(struct services *s, uint32_t id, const char *collection,
                            struct buffer *ret)
{
    struct topology_location found[LOCATIONS_MAX];
    cluster_lock(s->cluster);
    size_t count = find_locations(s, id, collection, found);
    if (count > 0) {
        struct data_node_info info;
        data_node_info(found[os_random(s->cluster->os) % count].node, &info);
        const char *scheme_end = strstr(info.public_url, "://");
        buffer_append_text(ret, security_client_scheme(s->security));
        buffer_append_text(ret, scheme_end ? scheme_end + 3 : info.public_url);
    }
    cluster_unlock(s->cluster);
    return count > 0;
}

void master_http_redirect(struct http_request *request, struct services *s)
{
    struct slice text = slice_from(request->path, 1);
    ptrdiff_t comma = slice_find_last(text, ',');
    if (comma > 0)
        text = slice_until(text, (size_t)comma);
    uint32_t id;
    struct buffer url = BUFFER_INIT;
    const char *collection = master_http_text(request, "collection");
    if (!volume_lookup_parse(text, &id)) {
        master_http_fail(request, 404, "volume id %.*s not found: unknown volume id %.*s",
                         (int)text.len, text.ptr, (int)text.len, text.ptr);
        return;
    }
    if (!choose_location(s, id, collection, &url)) {
        master_http_fail(request, 404, "volume id %.*s not found: volume id %.*s not found",
                         (int)text.len, text.ptr, (int)text.len, text.ptr);
        return;
    }
    buffer_append_slice(&url, request->raw_path);
    if (request->query.len > 0) {
        buffer_append_char(&url, '?');
        buffer_append_slice(&url, request->query);
    }
    http_response_set_header(request, "Location", buffer_slice(&url));
    if (request->method != HTTP_METHOD_GET && request->method != HTTP_METHOD_HEAD) {
        http_respond_empty(request, 308);
    } else {
        struct buffer body = BUFFER_INIT;
        buffer_append_text(&body, "<a href=\"");
        html_append_escaped(&body, buffer_slice(&url));
        buffer_append_text(&body, "\">Permanent Redirect</a>.\n\n");
        master_http_send_text(request, 308, "text/html; charset=utf-8", &body);
    }
    buffer_fini(&url);
}
