/* Vacuum over HTTP, ours alone:
 *
 *   GET  /kelp/vacuum/jobs                              running, queued, history, failures
 *   GET  /kelp/vacuum/plan?garbageThreshold=            what a sweep would do now, and why
 *   POST /kelp/vacuum/start?volumeId=&collection=&garbageThreshold=   answers when queued
 *   POST /kelp/vacuum/cancel?job=, /kelp/vacuum/pause?job=, /kelp/vacuum/resume?job=
 *   POST /kelp/vacuum/enable, /kelp/vacuum/disable      automatic vacuum, as the rpcs do */
#include "common/check.h"
#include "master/http_reply.h"
#include "master/http_routes.h"

struct vacuum_view {
    struct master_http_work base;
    double threshold;
    uint32_t volume_id;
    char *collection;
};

static void run_jobs(struct master_http_work *work)
{
    vacuum_runner_print_jobs(work->services->vacuum, &work->json);
}

void master_http_vacuum_jobs(struct http_request *request, struct services *s)
{
    struct master_http_work *work = master_http_work_create(request, s, sizeof(*work));
    work->run = run_jobs;
    master_http_work_submit(work);
}

/* False when the request was answered. */
static bool read_threshold(struct http_request *request, double fallback, double *ret)
{
    const char *text = master_http_text(request, "garbageThreshold");
    char *end = (char *)text;
    *ret = *text ? strtod(text, &end) : fallback;
    if (!*end && *ret >= 0 && *ret <= 1)
        return true;
    master_http_fail(request, 400, "garbageThreshold %s is not a number from 0 to 1", text);
    return false;
}

static void run_plan(struct master_http_work *base)
{
    struct vacuum_view *view = (struct vacuum_view *)base;
    vacuum_runner_print_plan(base->services->vacuum, view->threshold, &base->json);
}

void master_http_vacuum_plan(struct http_request *request, struct services *s)
{
    double threshold;
    if (!read_threshold(request, s->garbage_threshold, &threshold))
        return;
    struct vacuum_view *view = master_http_work_create(request, s, sizeof(*view));
    view->threshold = threshold;
    view->base.run = run_plan;
    master_http_work_submit(&view->base);
}

/* Queues and shows the jobs; it does not wait for their end. */
static void run_start(struct master_http_work *base)
{
    struct vacuum_view *view = (struct vacuum_view *)base;
    const struct vacuum_request request = {.threshold = view->threshold,
                                           .volume_id = view->volume_id,
                                           .collection = view->collection};
    vacuum_runner_request(base->services->vacuum, &request);
    vacuum_runner_print_jobs(base->services->vacuum, &base->json);
}

static void answer_start(struct master_http_work *base)
{
    struct vacuum_view *view = (struct vacuum_view *)base;
    master_http_send_json(base->request, base->status, &base->body);
    free(view->collection);
}

void master_http_vacuum_start(struct http_request *request, struct services *s)
{
    double threshold;
    uint64_t volume_id = 0;
    struct slice text = master_http_param(request, "volumeId");
    struct error err;
    if (!read_threshold(request, s->garbage_threshold, &threshold))
        return;
    if (text.len > 0 &&
        master_http_parse_uint(text, "ParseUint", UINT32_MAX, &volume_id, &err)) {
        master_http_fail(request, 400, "volumeId: %s", err.message);
        return;
    }
    struct vacuum_view *view = master_http_work_create(request, s, sizeof(*view));
    view->threshold = threshold;
    view->volume_id = (uint32_t)volume_id;
    view->collection = must(strdup(master_http_text(request, "collection")));
    view->base.run = run_start;
    view->base.answer = answer_start;
    master_http_work_submit(&view->base);
}

/* False when the request was answered. */
static bool read_job(struct http_request *request, uint64_t *ret)
{
    struct error err;
    if (!master_http_parse_uint(master_http_param(request, "job"), "ParseUint", UINT64_MAX, ret, &err))
        return true;
    master_http_fail(request, 400, "job: %s", err.message);
    return false;
}

static void answer_job(struct http_request *request, uint64_t job, bool is_found)
{
    if (is_found)
        http_respond_empty(request, 202);
    else
        master_http_fail(request, 404, "no vacuum job %llu waits or runs; see /kelp/vacuum/jobs",
                         (unsigned long long)job);
}

void master_http_vacuum_cancel(struct http_request *request, struct services *s)
{
    uint64_t job;
    if (read_job(request, &job))
        answer_job(request, job, vacuum_runner_cancel(s->vacuum, job));
}

void master_http_vacuum_pause(struct http_request *request, struct services *s)
{
    uint64_t job;
    if (read_job(request, &job))
        answer_job(request, job, vacuum_runner_pause(s->vacuum, job, true));
}

void master_http_vacuum_resume(struct http_request *request, struct services *s)
{
    uint64_t job;
    if (read_job(request, &job))
        answer_job(request, job, vacuum_runner_pause(s->vacuum, job, false));
}

void master_http_vacuum_enable(struct http_request *request, struct services *s)
{
    vacuum_runner_set_enabled(s->vacuum, false, true);
    http_respond_empty(request, 204);
}

void master_http_vacuum_disable(struct http_request *request, struct services *s)
{
    vacuum_runner_set_enabled(s->vacuum, false, false);
    http_respond_empty(request, 204);
}
