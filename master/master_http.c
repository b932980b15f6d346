/* Routing: exact paths from a table, one path segment is a file id, anything else is not found. */
#include "master/master_http.h"

#include "common/url.h"
#include "master/http_reply.h"
#include "master/http_routes.h"

#include <stdatomic.h>

#define METHOD_ANY      0u
#define METHOD(m)       (1u << HTTP_METHOD_##m)
#define METHOD_READ     (METHOD(GET) | METHOD(HEAD))
#define BODY_MAX        (UINT64_C(1) << 20) /* of everything but /submit */
#define SUBMIT_OVERHEAD (UINT64_C(1) << 20) /* multipart around the file */

struct route {
    const char *path;
    void (*handle)(struct http_request *request, struct services *s);
    unsigned methods;
    bool is_guarded;     /* by the white list */
    bool has_request_id;
    bool is_data;        /* gone with -disableHttp */
    bool falls_through;  /* a wrong method makes it a file id */
};

static const struct route routes[] = {
    {"/healthz", master_http_healthz, METHOD_READ, false, true, false, true},
    {"/readyz", master_http_healthz, METHOD_READ, false, true, false, true},
    {"/", master_http_page, METHOD_ANY, false, true, false, false},
    {"/ui/index.html", master_http_page, METHOD_ANY, false, true, false, false},
    {"/dir/assign", master_http_assign, METHOD_ANY, true, true, true, false},
    {"/dir/lookup", master_http_lookup, METHOD_ANY, true, true, true, false},
    {"/dir/status", master_http_dir_status, METHOD_ANY, true, true, true, false},
    {"/col/delete", master_http_collection_delete, METHOD_ANY, true, true, true, false},
    {"/collection/info", master_http_collection_info, METHOD_ANY, true, true, true, false},
    {"/vol/grow", master_http_grow, METHOD_ANY, true, true, true, false},
    {"/vol/status", master_http_vol_status, METHOD_ANY, true, true, true, false},
    {"/vol/vacuum", master_http_vacuum, METHOD_ANY, true, true, true, false},
    {"/submit", master_http_submit, METHOD_ANY, true, true, true, false},
    {"/cluster/status", master_http_cluster_status, METHOD_READ, false, false, false, false},
    {"/cluster/healthz", master_http_healthz, METHOD_READ, false, false, false, false},
    {"/kelp/metrics", master_http_metrics, METHOD_READ, true, false, false, false},
    {"/kelp/vacuum/jobs", master_http_vacuum_jobs, METHOD_READ, true, false, false, false},
    {"/kelp/vacuum/plan", master_http_vacuum_plan, METHOD_READ, true, false, false, false},
    {"/kelp/vacuum/start", master_http_vacuum_start, METHOD(POST), true, false, false, false},
    {"/kelp/vacuum/cancel", master_http_vacuum_cancel, METHOD(POST), true, false, false, false},
    {"/kelp/vacuum/pause", master_http_vacuum_pause, METHOD(POST), true, false, false, false},
    {"/kelp/vacuum/resume", master_http_vacuum_resume, METHOD(POST), true, false, false, false},
    {"/kelp/vacuum/enable", master_http_vacuum_enable, METHOD(POST), true, false, false, false},
    {"/kelp/vacuum/disable", master_http_vacuum_disable, METHOD(POST), true, false, false, false},
};

static const struct route *find_route(const struct http_request *request, const struct services *s)
{
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *route = &routes[i];
        if (!slice_equals(request->path, slice_cstr(route->path)))
            continue;
        return route->is_data && s->is_http_disabled ? NULL : route;
    }
    return NULL;
}

static bool allows(const struct route *route, const struct http_request *request)
{
    return route->methods == METHOD_ANY || (route->methods & (1u << request->method));
}

static void not_found(struct http_request *request)
{
    http_response_set_header(request, "Content-Type", SLICE("text/plain; charset=utf-8"));
    http_response_set_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    http_respond(request, 404, SLICE("404 page not found\n"), NULL, NULL);
}

static void add_request_id(struct http_request *request, struct services *s)
{
    const char *id = arena_printf(request->arena, "%llX%08X",
                                  (unsigned long long)cluster_now_ns(s->cluster),
                                  (uint32_t)os_random(s->cluster->os));
    http_response_set_header(request, "X-Amz-Request-Id", slice_cstr(id));
}

static bool is_admitted(struct http_request *request, const struct services *s)
{
    if (!security_has_white_list(s->security))
        return true;
    char ip[INET6_ADDRSTRLEN];
    http_request_peer_ip(request, ip);
    return security_admits(s->security, ip);
}

static bool has_one_segment(struct slice path)
{
    return path.len > 1 && path.ptr[0] == '/' && slice_find(slice_from(path, 1), '/') < 0;
}

static void handle_file_id(struct http_request *request, struct services *s)
{
    if (s->is_http_disabled || !has_one_segment(request->path) ||
        slice_equals(request->path, SLICE("/favicon.ico"))) {
        not_found(request);
        return;
    }
    add_request_id(request, s);
    master_http_redirect(request, s);
}

/* True when the client was sent to the clean form of its path. */
static bool redirect_unclean(struct http_request *request)
{
    struct slice clean;
    if (!url_clean_path(request->arena, request->path, &clean))
        return false;
    struct buffer location = BUFFER_INIT;
    url_encode_path(&location, clean);
    if (request->query.len > 0) {
        buffer_append_char(&location, '?');
        buffer_append_slice(&location, request->query);
    }
    http_response_set_header(request, "Location", buffer_slice(&location));
    buffer_fini(&location);
    http_respond_empty(request, 301);
    return true;
}

static void on_request(struct http_request *request, void *ctx)
{
    struct services *s = ctx;
    if (redirect_unclean(request))
        return;
    const struct route *route = find_route(request, s);
    bool is_allowed = route && allows(route, request);
    if (!route || (!is_allowed && route->falls_through)) {
        handle_file_id(request, s);
    } else if (!is_allowed) {
        http_respond_empty(request, 405);
    } else if (route->is_guarded && !is_admitted(request, s)) {
        http_respond_empty(request, 401);
    } else {
        if (route->has_request_id)
            add_request_id(request, s);
        route->handle(request, s);
    }
}

/* A stranger is told before his body is taken in. */
static bool refuse_body(struct http_request *request, const struct services *s)
{
    const struct route *route = request->has_body ? find_route(request, s) : NULL;
    if (!route || !route->is_guarded || !allows(route, request) || is_admitted(request, s))
        return false;
    http_request_drop_body(request);
    http_respond_empty(request, 401);
    return true;
}

static void on_headers(struct http_request *request, void *ctx)
{
    const struct services *s = ctx;
    if (refuse_body(request, s))
        return;
    uint64_t limit = BODY_MAX;
    if (slice_equals(request->path, SLICE("/submit")))
        limit = ((uint64_t)s->file_size_limit_mb << 20) + SUBMIT_OVERHEAD;
    const char *text = arena_printf(request->arena,
                                    "{\"error\":\"file over the limited %llu bytes\"}",
                                    (unsigned long long)s->file_size_limit_mb << 20);
    http_request_limit_body(request, limit, 400, SLICE("application/json"), slice_cstr(text));
}

/* Only assigns are worth giving up when their client goes; they set `user` to their own flag. */
static void on_aborted(struct http_request *request, void *ctx)
{
    (void)ctx;
    if (request->user)
        atomic_store((atomic_bool *)request->user, true);
}

void master_http_handler(struct services *services, struct http_handler *ret)
{
    *ret = (struct http_handler){.on_headers = on_headers,
                                 .on_request = on_request,
                                 .on_aborted = on_aborted,
                                 .ctx = services};
}

static void on_metrics_request(struct http_request *request, void *ctx)
{
    if (slice_equals(request->path, SLICE("/metrics")))
        master_http_metrics(request, ctx);
    else
        not_found(request);
}

void master_http_metrics_handler(struct services *services, struct http_handler *ret)
{
    *ret = (struct http_handler){.on_request = on_metrics_request, .ctx = services};
}
