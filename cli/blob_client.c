/* Assign, look up, send, fetch. Any thread, one client a thread. */
#include "cli/blob_client.h"

#include "common/buffer.h"
#include "common/check.h"
#include "common/file_id.h"
#include "common/http_multipart.h"
#include "common/os.h"
#include "common/replica_placement.h"
#include "common/ttl.h"
#include "proto/master.pb-c.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <unistd.h>

#define ASSIGN_TIMEOUT_MS 10000
#define CONNECT_ATTEMPTS  10
#define GROWTH_ATTEMPTS   50
#define FETCH_LIMIT       (8ull << 30)
#define ERROR_BODY_SHOWN  200

static void use_master(struct blob_client *client, size_t index)
{
    client->current = index % client->master_count;
    client->master = client->masters[client->current].grpc;
    client->master_http = client->masters[client->current].http;
}

static int read_masters(struct blob_client *client, const char *text, struct error *err)
{
    struct slice item, rest = slice_cstr(text);
    while (slice_take_item(&rest, &item)) {
        struct address address;
        int code = address_parse(item, &address, err);
        if (code == 0 && client->master_count == BLOB_MASTERS_MAX)
            code = error_set(err, KELP_E_INVALID, "more than %d masters", BLOB_MASTERS_MAX);
        if (code != 0)
            return error_prefix(err, "-master");
        struct blob_master *master = &client->masters[client->master_count++];
        address_format_grpc(&address, master->grpc);
        address_format_http(&address, master->http);
    }
    if (client->master_count == 0)
        return error_set(err, KELP_E_INVALID, "-master: name one, as localhost:9333");
    use_master(client, 0);
    return 0;
}

int blob_client_init(struct blob_client *client, struct rpc_client *rpc, const char *master,
                     struct error *err)
{
    memset(client, 0, sizeof(*client));
    client->rpc = rpc;
    int code = read_masters(client, master, err);
    if (code == 0)
        code = process_security_open(&client->security, "", err);
    return code == 0 ? http_client_create(&client->http, NULL, err) : code;
}

void blob_client_fini(struct blob_client *client)
{
    http_client_destroy(client->http);
    process_security_close(&client->security);
    memset(client, 0, sizeof(*client));
}

/* Asks one master after the other until one answers, and stays with that. */
static int call_master(struct blob_client *client, const char *method,
                       const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                       ProtobufCMessage **ret, enum rpc_status *ret_status, struct error *err)
{
    struct error why;
    for (size_t i = 0;; i++) {
        int code = rpc_client_call(client->rpc, client->master, method, request, response,
                                   ASSIGN_TIMEOUT_MS, ret, ret_status, &why);
        if (code == 0)
            return 0;
        /* A follower says so; who leads is in the list, as a rule. */
        bool is_elsewhere = *ret_status == RPC_UNAVAILABLE || strstr(why.message, "current leader");
        if (!is_elsewhere || i + 1 >= client->master_count)
            break;
        use_master(client, client->current + 1);
    }
    if (*ret_status == RPC_UNAVAILABLE)
        return error_set(err, KELP_E_UNAVAILABLE,
                         "no master answers at %s; see that it runs, or name another with "
                         "-master=host:port (gRPC to %s: %.200s)",
                         client->master_http, client->master, why.message);
    return error_set(err, why.code, "%s", why.message);
}

static char *wire_text(const char *text)
{
    return text ? (char *)(uintptr_t)text : (char *)(uintptr_t) "";
}

static int read_assignment(const MasterPb__AssignResponse *response, struct blob_target *ret,
                           struct error *err)
{
    if (*response->error)
        return error_set(err, KELP_E_UNAVAILABLE, "%s", response->error);
    if (!response->location || !*response->fid)
        return error_set(err, KELP_E_PROTOCOL, "the master assigned nothing");
    snprintf(ret->fid, sizeof(ret->fid), "%s", response->fid);
    snprintf(ret->url, sizeof(ret->url), "%s", response->location->url);
    snprintf(ret->public_url, sizeof(ret->public_url), "%s", response->location->public_url);
    /* One that is too long is not cut: the server will ask, and the master gives it again. */
    bool fits = strlen(response->auth) < sizeof(ret->token);
    snprintf(ret->token, sizeof(ret->token), "%s", fits ? response->auth : "");
    return 0;
}

int blob_client_assign(struct blob_client *client, const struct blob_place *place, unsigned count,
                       uint64_t expected_bytes, struct blob_target *ret, struct error *err)
{
    MasterPb__AssignRequest request = MASTER_PB__ASSIGN_REQUEST__INIT;
    request.count = count;
    request.collection = wire_text(place->collection);
    request.replication = wire_text(place->replication);
    request.ttl = wire_text(place->ttl);
    request.data_center = wire_text(place->data_center);
    request.disk_type = wire_text(place->disk_type);
    request.expected_data_size = expected_bytes;
    enum rpc_status status = RPC_OK;
    int code = 0;
    for (int attempt = 0; attempt < GROWTH_ATTEMPTS; attempt++) {
        ProtobufCMessage *answer;
        code = call_master(client, "/master_pb.Seaweed/Assign", &request.base,
                           &master_pb__assign_response__descriptor, &answer, &status, err);
        if (code == 0) {
            code = read_assignment((const void *)answer, ret, err);
            protobuf_c_message_free_unpacked(answer, NULL);
            return code;
        }
        /* Growth takes its time, and so may a leader's warm-up; everything else is final. */
        if (status != RPC_RESOURCE_EXHAUSTED &&
            (status != RPC_UNAVAILABLE || attempt >= CONNECT_ATTEMPTS))
            break;
        usleep(200000);
    }
    if (status == RPC_RESOURCE_EXHAUSTED)
        error_prefix(err, "no volume to write to came up; are there servers enough for the "
                          "replication, with free slots (see volume.list in kelp shell)");
    return error_prefix(err, "assign from %s", client->master_http);
}

int blob_place_check(const struct blob_place *place, struct error *err)
{
    struct replica_placement replication;
    const char *ttl = place->ttl ? place->ttl : "";
    int code = 0;
    if (place->collection && strchr(place->collection, '/'))
        return error_set(err, KELP_E_INVALID,
                         "-collection: %s begins the names of files, so it can have no /",
                         place->collection);
    if (place->replication && *place->replication)
        code = replica_placement_parse(slice_cstr(place->replication), &replication, err);
    if (code != 0)
        return error_prefix(err, "-replication: want three digits, as 000, 001 or 010");
    /* The master takes a unit that it does not know for no time to live at all. */
    size_t digits = strspn(ttl, "0123456789");
    bool has_unit = ttl[digits] && strchr("mhdwMy", ttl[digits]) && !ttl[digits + 1];
    struct ttl ignored;
    if (*ttl && (ttl_parse(slice_cstr(ttl), &ignored, NULL) != 0 || digits == 0 ||
                 (ttl[digits] && !has_unit)))
        return error_set(
            err, KELP_E_INVALID,
            "-ttl: \"%s\" is no time to live; write 1 to 255 and m, h, d, w, M or y, as 3h", ttl);
    return 0;
}

int blob_client_locate(struct blob_client *client, const char *fid, struct blob_replicas *ret,
                       struct error *err)
{
    struct file_id id;
    int code = file_id_parse(slice_cstr(fid), &id, err);
    if (code != 0)
        return error_prefix(err, "%.40s", fid);
    char volume[16], *ids[] = {volume};
    snprintf(volume, sizeof(volume), "%u", id.volume_id);
    MasterPb__LookupVolumeRequest request = MASTER_PB__LOOKUP_VOLUME_REQUEST__INIT;
    request.n_volume_or_file_ids = 1;
    request.volume_or_file_ids = ids;
    ProtobufCMessage *answer;
    enum rpc_status status;
    code = call_master(client, "/master_pb.Seaweed/LookupVolume", &request.base,
                       &master_pb__lookup_volume_response__descriptor, &answer, &status, err);
    if (code != 0)
        return error_prefix(err, "look volume %s up at %s", volume, client->master_http);
    const MasterPb__LookupVolumeResponse *response = (const void *)answer;
    ret->count = 0;
    for (size_t i = 0; i < response->n_volume_id_locations; i++) {
        const MasterPb__LookupVolumeResponse__VolumeIdLocation *found =
            response->volume_id_locations[i];
        for (size_t j = 0; j < found->n_locations && ret->count < BLOB_REPLICAS_MAX; j++)
            snprintf(ret->urls[ret->count++], ADDRESS_TEXT_SIZE, "%s", found->locations[j]->url);
    }
    protobuf_c_message_free_unpacked(answer, NULL);
    return ret->count ? 0 : error_set(err, KELP_E_NOT_FOUND, "no server has volume %s", volume);
}

/* The server's own words, where it gave some. */
static int refused(const char *what, const char *url, const char *fid,
                   const struct http_client_response *response, struct error *err)
{
    struct json_object *document = response->body ? json_tokener_parse(response->body) : NULL;
    struct json_object *text = NULL;
    if (document && json_object_is_type(document, json_type_object))
        json_object_object_get_ex(document, "error", &text);
    int code = response->status == 404   ? KELP_E_NOT_FOUND
               : response->status == 416 ? KELP_E_INVALID
                                         : KELP_E_UNKNOWN;
    if (code == KELP_E_NOT_FOUND && !text && !*(response->body ? response->body : ""))
        error_set(err, code,
                  "%s http://%s/%s: no such blob: it is deleted or has expired, or the file id "
                  "is not whole",
                  what, url, fid);
    else if (text)
        error_set(err, code, "%s http://%s/%s: status %d: %s", what, url, fid, response->status,
                  json_object_get_string(text));
    else
        error_set(err, code, "%s http://%s/%s: status %d %.*s", what, url, fid, response->status,
                  ERROR_BODY_SHOWN, response->body ? response->body : "");
    json_object_put(document);
    return code;
}

#define BEARER      "Bearer "
#define BEARER_SIZE (FILE_TOKEN_MAX + sizeof(BEARER))

/* A token for the blob from the master, as the value of a header; false when it gives none. A token
 * for "3,01637037d6" is good for "3,01637037d6_1", too. */
static bool ask_for_token(struct blob_client *client, const char *fid, bool is_read,
                          char header[BEARER_SIZE])
{
    char url[ADDRESS_TEXT_SIZE + 128];
    struct http_client_response response;
    const struct security *security = client->security.security;
    struct http_client_request request = {
        .method = "GET", .url = url, .tls = security_client_tls(security)};
    snprintf(url, sizeof(url), "%s%s/dir/lookup?fileId=%.*s%s", security_client_scheme(security),
             client->master_http, (int)strcspn(fid, "_"), fid, is_read ? "&read=yes" : "");
    if (http_client_fetch(client->http, &request, &response, NULL) != 0)
        return false;
    const char *value = http_client_response_header(&response, "Authorization");
    bool is_given = value && strlen(value) < BEARER_SIZE;
    if (is_given)
        strcpy(header, value);
    http_client_response_fini(&response);
    return is_given;
}

/* The first header of `request` is left free for the token. */
static int ask_server(struct blob_client *client, const char *fid, const char *token,
                      struct http_client_request *request, struct http_client_response *ret,
                      struct error *err)
{
    char header[BEARER_SIZE] = BEARER;
    struct http_client_header *headers = (struct http_client_header *)(uintptr_t)request->headers;
    struct http_client_request bare = *request;
    bool is_read = strcmp(request->method, "GET") == 0;
    bool has_token = *token != '\0' && strlen(token) < FILE_TOKEN_MAX;
    if (has_token)
        strcpy(header + strlen(BEARER), token);
    else if (is_read && client->wants_read_tokens)
        has_token = ask_for_token(client, fid, true, header);
    headers[0] = (struct http_client_header){"Authorization", header};
    bare.headers++;
    bare.header_count--;
    int code = http_client_fetch(client->http, has_token ? request : &bare, ret, err);
    if (code != 0 || ret->status != 401 || !ask_for_token(client, fid, is_read, header))
        return code;
    client->wants_read_tokens |= is_read;
    http_client_response_fini(ret);
    return http_client_fetch(client->http, request, ret, err);
}

static int exchange(struct blob_client *client, const char *url, const char *fid, const char *token,
                    const char *query, const struct http_client_request *what,
                    struct http_client_response *ret, struct error *err)
{
    char whole[ADDRESS_TEXT_SIZE + 256];
    struct http_client_request request = *what;
    snprintf(whole, sizeof(whole), "%s%s/%s%s", security_client_scheme(client->security.security),
             url, fid, query);
    request.tls = security_client_tls(client->security.security);
    request.url = whole;
    request.response_limit_bytes = FETCH_LIMIT;
    int code = ask_server(client, fid, token, &request, ret, err);
    if (code != 0)
        return error_prefix(err, "%s %s", request.method, whole);
    if (ret->status < 200 || ret->status > 299) {
        code = refused(request.method, url, fid, ret, err);
        http_client_response_fini(ret);
    }
    return code;
}

int blob_client_send(struct blob_client *client, const char *url, const char *fid,
                     const char *token, const char *query, const char *file_name, const char *mime,
                     struct slice data, struct error *err)
{
    char boundary[64], type[128];
    struct buffer form = BUFFER_INIT;
    snprintf(boundary, sizeof(boundary), "kelp-%016llx%016llx",
             (unsigned long long)os_random(os_real()), (unsigned long long)os_random(os_real()));
    snprintf(type, sizeof(type), "multipart/form-data; boundary=%s", boundary);
    struct http_multipart_part part = {.filename = slice_cstr(file_name),
                                       .content_type = slice_cstr(mime ? mime : "")};
    struct http_client_header headers[2] = {[1] = {"Content-Type", type}};
    struct http_client_response response;
    if (buffer_reserve(&form, data.len + 1024) != 0)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for %zu bytes of %s", data.len,
                         file_name);
    http_multipart_begin(&form, boundary, &part);
    buffer_append_slice(&form, data);
    http_multipart_end(&form, boundary);
    struct http_client_request request = {
        .method = "POST", .headers = headers, .header_count = 2, .body = buffer_slice(&form)};
    int code = exchange(client, url, fid, token, query, &request, &response, err);
    if (code == 0)
        http_client_response_fini(&response);
    buffer_fini(&form);
    return code;
}

int blob_client_put(struct blob_client *client, const char *url, const char *fid, const char *token,
                    const char *query, struct slice data, struct error *err)
{
    struct http_client_header headers[2] = {[1] = {"Content-Type", "application/octet-stream"}};
    struct http_client_request request = {
        .method = "PUT", .headers = headers, .header_count = 2, .body = data};
    struct http_client_response response;
    int code = exchange(client, url, fid, token, query, &request, &response, err);
    if (code == 0)
        http_client_response_fini(&response);
    return code;
}

int blob_client_fetch(struct blob_client *client, const char *url, const char *fid,
                      const char *range, struct http_client_response *ret, struct error *err)
{
    struct http_client_header headers[2] = {[1] = {"Range", range}};
    struct http_client_request request = {
        .method = "GET", .headers = headers, .header_count = range ? 2 : 1};
    return exchange(client, url, fid, "", "", &request, ret, err);
}

int blob_client_delete(struct blob_client *client, const char *url, const char *fid,
                       const char *token, struct error *err)
{
    struct http_client_header header;
    struct http_client_request request = {
        .method = "DELETE", .headers = &header, .header_count = 1};
    struct http_client_response response;
    int code = exchange(client, url, fid, token, "", &request, &response, err);
    if (code == 0)
        http_client_response_fini(&response);
    return code;
}
