/* /submit: an upload by way of the master. Parse, assign, pass on to the volume server, answer. On
 * a worker thread, which waits for both. Source: spec/master-http.md 8. */
#include "common/check.h"
#include "common/http_client.h"
#include "common/http_multipart.h"
#include "common/url.h"
#include "master/http_reply.h"
#include "master/http_routes.h"

#include <json-c/json.h>
#include <time.h>

#define SUBMIT_ASSIGN_S    30
#define SUBMIT_PAUSE_NS    500000000
#define SUBMIT_UPLOAD_MS   60000u
#define SEAWEED_PREFIX     "Seaweed-"
#define PAIR_HEADERS_MAX   64u

struct submit_work {
    struct master_http_work base;
    /* In the request's arena or body, which stay as long as this works. */
    struct http_multipart_part part;
    struct assign_query query;       /* texts in the arena */
    const char *ts;
    struct http_client_header headers[PAIR_HEADERS_MAX + 2];
    size_t header_count;
    char fid[FILE_ID_TEXT_SIZE];
    char url[300], public_url[300];
};

/* ---- Assign, waited for ---------------------------------------------------------------------- */

struct waited_assign {
    struct submit_work *work;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    bool is_answered;
    enum assign_status status;
    char message[ERROR_MESSAGE_MAX];
};

static void on_assigned(void *ctx, const struct assign_result *result)
{
    struct waited_assign *wait = ctx;
    struct submit_work *work = wait->work;
    pthread_mutex_lock(&wait->lock);
    wait->status = result->status;
    if (result->status != ASSIGN_OK) {
        snprintf(wait->message, sizeof(wait->message), "%s", result->message);
    } else {
        memcpy(work->fid, result->fid, sizeof(work->fid));
        snprintf(work->url, sizeof(work->url), "%s", result->locations[0].url);
        snprintf(work->public_url, sizeof(work->public_url), "%s",
                 result->locations[0].public_url);
    }
    wait->is_answered = true;
    pthread_cond_signal(&wait->answered);
    pthread_mutex_unlock(&wait->lock);
}

static enum assign_status assign_once(struct submit_work *work, char message[ERROR_MESSAGE_MAX])
{
    struct waited_assign wait = {.work = work};
    pthread_mutex_init(&wait.lock, NULL);
    pthread_cond_init(&wait.answered, NULL);
    assigner_assign(work->base.services->assigner, &work->query, on_assigned, NULL, &wait);
    pthread_mutex_lock(&wait.lock);
    while (!wait.is_answered)
        pthread_cond_wait(&wait.answered, &wait.lock);
    pthread_mutex_unlock(&wait.lock);
    pthread_cond_destroy(&wait.answered);
    pthread_mutex_destroy(&wait.lock);
    memcpy(message, wait.message, ERROR_MESSAGE_MAX);
    return wait.status;
}

/* Growth in progress is waited for, as the peer's own client does. */
static bool assign(struct submit_work *work)
{
    struct cluster *cluster = work->base.services->cluster;
    int64_t deadline_ns = cluster_now_ns(cluster) + INT64_C(1000000000) * SUBMIT_ASSIGN_S;
    char message[ERROR_MESSAGE_MAX];
    for (;;) {
        enum assign_status status = assign_once(work, message);
        if (status == ASSIGN_OK)
            return true;
        bool may_change = status == ASSIGN_GROWING || status == ASSIGN_NO_CAPACITY ||
                          status == ASSIGN_WARMING_UP;
        if (!may_change) {
            master_http_work_fail(&work->base, 500, "rpc error: code = %s desc = %s",
                                  status == ASSIGN_STOPPING ? "Unavailable" : "Unknown", message);
            return false;
        }
        if (cluster_now_ns(cluster) >= deadline_ns) {
            master_http_work_fail(&work->base, 500, "context deadline exceeded");
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = SUBMIT_PAUSE_NS}, NULL);
    }
}

/* ---- Passing on ------------------------------------------------------------------------------ */

static void write_answer(struct submit_work *work, const struct http_client_response *response)
{
    struct json_object *reply = json_tokener_parse(response->body);
    struct json_object *field = NULL;
    const char *etag = "";
    if (reply && json_object_object_get_ex(reply, "eTag", &field))
        etag = json_object_get_string(field);
    uint64_t size = work->part.data.len;
    if (reply && work->part.is_gzip && json_object_object_get_ex(reply, "size", &field))
        size = json_object_get_uint64(field);
    char file_url[400];
    snprintf(file_url, sizeof(file_url), "%s/%s", work->public_url, work->fid);
    struct json_writer *w = &work->base.json;
    json_writer_begin_object(w);
    json_writer_member_text(w, "eTag", etag);
    json_writer_member_text(w, "fid", work->fid);
    json_writer_member_string(w, "fileName", work->part.filename);
    json_writer_member_text(w, "fileUrl", file_url);
    json_writer_member_uint(w, "size", size);
    json_writer_end_object(w);
    work->base.status = 201;
    json_object_put(reply);
}

static bool is_given_up(void *ctx) { return services_is_out_of_time(ctx); }

static void pass_on(struct submit_work *work, struct http_client *client)
{
    struct security *security = work->base.services->security;
    char boundary[40], type[80], url[400], token[FILE_TOKEN_MAX + 8] = "Bearer ";
    snprintf(boundary, sizeof(boundary), "kelp%016llx%016llx",
             (unsigned long long)os_random(work->base.services->cluster->os),
             (unsigned long long)os_random(work->base.services->cluster->os));
    snprintf(type, sizeof(type), "multipart/form-data; boundary=%s", boundary);
    snprintf(url, sizeof(url), *work->ts ? "%s%s/%s?ts=%s" : "%s%s/%s",
             security_client_scheme(security), work->url, work->fid, work->ts);
    struct buffer body = BUFFER_INIT;
    http_multipart_begin(&body, boundary, &work->part);
    buffer_append_slice(&body, work->part.data);
    http_multipart_end(&body, boundary);
    work->headers[work->header_count] =
        (struct http_client_header){.name = "Content-Type", .value = type};
    bool has_token = *security_make_token(security, SECURITY_WRITE, slice_cstr(work->fid), token + 7);
    work->headers[work->header_count + 1] =
        (struct http_client_header){.name = "Authorization", .value = token};
    const struct http_client_request request = {
        .method = "POST",
        .url = url,
        .tls = security_client_tls(security),
        .headers = work->headers,
        .header_count = work->header_count + (has_token ? 2 : 1),
        .body = buffer_slice(&body),
        .response_timeout_ms = SUBMIT_UPLOAD_MS,
        .is_given_up = is_given_up,
        .ctx = work->base.services,
    };
    struct http_client_response response;
    struct error err;
    if (http_client_fetch(client, &request, &response, &err)) {
        master_http_work_fail(&work->base, 500, "%s", err.message);
    } else {
        if (response.status / 100 == 2)
            write_answer(work, &response);
        else
            master_http_work_fail(&work->base, 500, "upload %s: %d %s", work->fid, response.status,
                                  response.body ? response.body : "");
        http_client_response_fini(&response);
    }
    buffer_fini(&body);
}

static void run_submit(struct master_http_work *base)
{
    struct submit_work *work = (struct submit_work *)base;
    if (!assign(work))
        return;
    struct http_client *client;
    struct error err;
    if (http_client_create(&client, NULL, &err)) {
        master_http_work_fail(base, 500, "%s", err.message);
        return;
    }
    pass_on(work, client);
    http_client_destroy(client);
}

/* ---- Reading the request; loop thread -------------------------------------------------------- */

static int read_upload(struct http_request *request, struct submit_work *work, struct error *err)
{
    struct slice type = http_request_header(request, "Content-Type");
    struct slice multipart = SLICE("multipart/");
    if (type.len == 0)
        return error_set(err, KELP_E_INVALID, "request Content-Type isn't multipart/form-data");
    if (type.len >= multipart.len &&
        slice_equals_nocase(slice_until(type, multipart.len), multipart))
        return http_multipart_parse(request->arena, type, request->body, &work->part, err);
    work->part = (struct http_multipart_part){
        .data = request->body,
        .filename = SLICE("submit"),
        .content_type = type,
        .content_md5 = http_request_header(request, "Content-MD5"),
        .content_encoding = http_request_header(request, "Content-Encoding"),
    };
    work->part.is_gzip = slice_equals(work->part.content_encoding, SLICE("gzip"));
    return 0;
}

static void keep_pairs(struct http_request *request, struct submit_work *work)
{
    struct slice prefix = SLICE(SEAWEED_PREFIX);
    for (size_t i = 0; i < request->header_count && work->header_count < PAIR_HEADERS_MAX; i++) {
        const struct http_header *header = &request->headers[i];
        if (header->name.len <= prefix.len ||
            !slice_equals_nocase(slice_until(header->name, prefix.len), prefix))
            continue;
        work->headers[work->header_count++] = (struct http_client_header){
            .name = arena_strndup(request->arena, header->name.ptr, header->name.len),
            .value = arena_strndup(request->arena, header->value.ptr, header->value.len)};
    }
}

static const char *query_text(struct http_request *request, const char *name)
{
    struct slice value = http_request_query(request, name);
    return value.ptr ? arena_strndup(request->arena, value.ptr, value.len) : "";
}

static int read_query(struct http_request *request, struct services *s, struct submit_work *work,
                      struct error *err)
{
    struct slice count = slice_cstr(query_text(request, "count"));
    uint64_t n = 1;
    if (count.len > 0 && master_http_parse_uint(count, "ParseUint", UINT32_MAX, &n, err))
        return KELP_E_INVALID;
    work->query = (struct assign_query){
        .count = n ? n : 1,
        .bytes_per_file = work->part.data.len,
        .option = {.collection = query_text(request, "collection"),
                   .disk_type = query_text(request, "disk"),
                   .data_center = query_text(request, "dataCenter"),
                   .rack = query_text(request, "rack"),
                   .data_node = "",
                   .preallocate_bytes = services_preallocate_bytes(s)},
    };
    work->ts = query_text(request, "ts");
    for (const char *p = work->ts; *p; p++)
        if (*p < '0' || *p > '9')
            return error_set(err, KELP_E_INVALID, "ts is not a number of seconds");
    return 0;
}

void master_http_submit(struct http_request *request, struct services *s)
{
    if (request->method != HTTP_METHOD_POST) {
        master_http_fail(request, 405, "Only submit via POST!");
        return;
    }
    struct submit_work *work = master_http_work_create(request, s, sizeof(*work));
    work->base.run = run_submit;
    work->base.is_patient = true;
    struct error err;
    uint64_t limit = (uint64_t)s->file_size_limit_mb << 20;
    int code = read_upload(request, work, &err);
    if (!code)
        code = read_query(request, s, work, &err);
    if (!code && work->part.data.len > limit)
        code = error_set(&err, KELP_E_TOO_LARGE, "file over the limited %llu bytes",
                         (unsigned long long)limit);
    if (code) {
        master_http_work_fail(&work->base, 400, "%s", err.message);
        master_http_work_done(&work->base);
        return;
    }
    keep_pairs(request, work);
    if (services_parse_option(s, slice_cstr(query_text(request, "replication")),
                              slice_cstr(query_text(request, "ttl")), &work->query.option, &err)) {
        master_http_work_fail(&work->base, 500, "rpc error: code = Unknown desc = %s", err.message);
        master_http_work_done(&work->base);
        return;
    }
    master_http_work_submit(&work->base);
}
