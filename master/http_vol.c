/* /vol/grow and /vol/vacuum: both answer when the work is done, and hold no thread until then.
 * Source: spec/master-http.md 5, 6. */
#include "master/http_option.h"
#include "master/http_reply.h"
#include "master/http_routes.h"
#include "master/http_status.h"
#include "master/volume_growth.h"

#include <math.h>
#include <stdlib.h>

static void on_grown(void *ctx, const struct grow_result *result)
{
    struct master_http_work *work = ctx;
    if (result->code) {
        master_http_work_fail(work, 406, "%s", result->err.message);
    } else {
        json_writer_begin_object(&work->json);
        json_writer_member_uint(&work->json, "count", result->locations);
        json_writer_end_object(&work->json);
    }
    master_http_work_done(work);
}

/* The tests that come before the growth, in the peer's order. */
static int check_growth(struct services *s, const struct volume_option *option, uint32_t count,
                        struct error *err)
{
    const struct topology *t = s->cluster->topology;
    cluster_lock(s->cluster);
    int code = volume_growth_check_slots(t, option, count, err);
    if (!code && *option->data_center && !topology_has_data_center(t, option->data_center) &&
        !topology_has_any_data_center(t))
        code = error_set(err, KELP_E_NOT_FOUND, "data center %s not found in topology",
                         option->data_center);
    cluster_unlock(s->cluster);
    return code;
}

void master_http_grow(struct http_request *request, struct services *s)
{
    struct grow_request grow = {.reason = "http volume grow", .done = on_grown};
    struct slice text = master_http_param(request, "count");
    uint64_t count = 0;
    struct error err;
    int code = master_http_read_option(request, s, &grow.option, &err);
    if (!code && master_http_parse_uint(text, "ParseUint", UINT32_MAX, &count, NULL))
        code = error_set(&err, KELP_E_INVALID, "can not parse parameter count %.*s",
                         (int)(text.len < 200 ? text.len : 200), text.ptr);
    if (!code)
        code = check_growth(s, &grow.option, (uint32_t)count, &err);
    if (code) {
        master_http_fail(request, 406, "%s", err.message);
        return;
    }
    struct master_http_work *work = master_http_work_create(request, s, sizeof(*work));
    grow.count = (uint32_t)count;
    grow.ctx = work;
    if (grower_submit(s->grower, &grow, &err)) {
        master_http_work_fail(work, 503, "%s", err.message);
        master_http_work_done(work);
    }
}

/* ---- Vacuum ---------------------------------------------------------------------------------- */

struct vacuum_work {
    struct master_http_work base;
    double threshold;
};

static void on_vacuumed(void *ctx, const struct vacuum_summary *summary)
{
    struct vacuum_work *work = ctx;
    if (summary->is_refused)
        master_http_work_fail(&work->base, 503, "the vacuum was refused; try again later");
    else
        master_http_write_dir_status(work->base.services, &work->base.json);
    master_http_work_done(&work->base);
}

/* Planning walks all volumes, so a worker does it; it does not wait for the jobs. */
static void run_vacuum(struct worker_task *task)
{
    struct vacuum_work *work = (struct vacuum_work *)task;
    const struct vacuum_request vacuum = {
        .threshold = work->threshold, .done = on_vacuumed, .ctx = work};
    vacuum_runner_request(work->base.services->vacuum, &vacuum);
}

void master_http_vacuum(struct http_request *request, struct services *s)
{
    const char *text = master_http_text(request, "garbageThreshold");
    double threshold = s->garbage_threshold;
    if (*text) {
        char *end;
        threshold = (double)strtof(text, &end);
        if (*end || isnan(threshold)) {
            master_http_fail(request, 406, "garbageThreshold %s is not a valid float number", text);
            return;
        }
    }
    struct vacuum_work *work = master_http_work_create(request, s, sizeof(*work));
    work->threshold = threshold;
    work->base.task.run = run_vacuum;
    master_http_work_submit(&work->base);
}
