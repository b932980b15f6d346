/* Jobs move from `queued` to `running` to `history`. Requests that have lost their last job are put
 * on `finished`, and their callbacks run after the lock was dropped. */
#include "master/vacuum_runner_state.h"

#include "common/check.h"
#include "common/log.h"

#include <time.h>
#include <utlist.h>

/* ---- Sweeps: counting and telling ------------------------------------------------------------ */

static void leave_sweep(struct vacuum_runner *r, struct sweep *sweep)
{
    CHECK(sweep->pending > 0);
    if (--sweep->pending == 0)
        LL_PREPEND(r->finished, sweep);
}

static void set_next_sweep(struct vacuum_runner *r)
{
    uint64_t jitter = r->config.jitter_seconds;
    uint64_t pause_s = r->config.interval_seconds;
    if (jitter > 0)
        pause_s += os_random(r->config.cluster->os) % jitter;
    r->next_sweep_ns = cluster_now_ns(r->config.cluster) + (int64_t)pause_s * 1000000000;
}

/* Drops the lock; tells the requests that are complete. */
static void unlock_and_tell(struct vacuum_runner *r)
{
    struct sweep *list = r->finished, *sweep, *next;
    r->finished = NULL;
    LL_FOREACH(list, sweep) {
        if (sweep == r->timer_sweep) {
            r->timer_sweep = NULL;
            set_next_sweep(r);
        }
        r->open_requests--;
    }
    pthread_mutex_unlock(&r->lock);
    LL_FOREACH_SAFE(list, sweep, next) {
        if (sweep->done)
            sweep->done(sweep->ctx, &sweep->summary);
        free(sweep);
    }
}

static void count_result(struct vacuum_summary *summary, const struct vacuum_task *job)
{
    summary->done += job->result == VACUUM_RESULT_DONE;
    summary->skipped += job->result == VACUUM_RESULT_SKIPPED;
    summary->failed += job->result == VACUUM_RESULT_FAILED;
    summary->cancelled += job->result == VACUUM_RESULT_CANCELLED;
    summary->reclaimed_bytes += job->reclaimed_bytes;
}

static void leave_sweeps(struct vacuum_runner *r, struct ticket *ticket,
                         const struct vacuum_task *job)
{
    struct job_sweep *link, *next;
    LL_FOREACH_SAFE(ticket->sweeps, link, next) {
        count_result(&link->sweep->summary, job);
        leave_sweep(r, link->sweep);
        free(link);
    }
    ticket->sweeps = NULL;
}

/* ---- Failures -------------------------------------------------------------------------------- */

static void remember_result(struct vacuum_runner *r, const struct vacuum_task *job)
{
    struct failure *failure;
    HASH_FIND(hh, r->failures, &job->volume_id, sizeof(job->volume_id), failure);
    if (job->result == VACUUM_RESULT_DONE && failure) {
        HASH_DEL(r->failures, failure);
        free(failure);
    }
    if (job->result != VACUUM_RESULT_FAILED)
        return;
    if (!failure) {
        if (HASH_COUNT(r->failures) >= VACUUM_FAILURES_MAX)
            return; /* tried again a little too early: no harm */
        failure = must(calloc(1, sizeof(*failure)));
        failure->volume_id = job->volume_id;
        HASH_ADD(hh, r->failures, volume_id, sizeof(failure->volume_id), failure);
    }
    failure->count++;
    if (job->is_halting && failure->count < VACUUM_ATTENTION_FAILURES)
        failure->count = VACUUM_ATTENTION_FAILURES;
    failure->last_ns = job->ended_ns;
    memcpy(failure->message, job->message, sizeof(failure->message));
}

/* ---- The end of a job ------------------------------------------------------------------------ */

static void trim_history(struct vacuum_runner *r)
{
    while (r->history_count > VACUUM_HISTORY_MAX) {
        struct vacuum_task *oldest = r->history;
        DL_DELETE(r->history, oldest);
        r->history_count--;
        vacuum_task_destroy(oldest);
    }
}

static void on_ended(void *ctx, struct vacuum_task *job)
{
    struct vacuum_runner *r = ctx;
    struct ticket *ticket = job->host_data;
    if (ticket->is_running) {
        vacuum_claim_give_back(&ticket->claim);
        DL_DELETE(r->running, job);
        r->running_count--;
    } else {
        DL_DELETE(r->queued, job);
        r->queued_count--;
    }
    DL_APPEND(r->history, job);
    r->history_count++;
    remember_result(r, job);
    master_metrics_count_vacuum(r->config.cluster->metrics, vacuum_result_text(job->result));
    metric_add(r->config.cluster->metrics->vacuum_reclaimed_bytes, (double)job->reclaimed_bytes);
    if (job->result == VACUUM_RESULT_DONE)
        log_info("volume vacuumed", "job=%llu volume=%u reclaimed=%llu",
                 (unsigned long long)job->id, job->volume_id,
                 (unsigned long long)job->reclaimed_bytes);
    else if (job->result == VACUUM_RESULT_FAILED)
        log_warning("vacuum failed", "job=%llu volume=%u error=\"%s\"", (unsigned long long)job->id,
                    job->volume_id, job->message);
    leave_sweeps(r, ticket, job);
    vacuum_claim_fini(&r->limits, &ticket->claim);
    HASH_DEL(r->by_volume, ticket);
    free(ticket);
    job->host_data = NULL;
    pthread_cond_broadcast(&r->changed);
}

/* ---- Starting jobs --------------------------------------------------------------------------- */

static void start_jobs(struct vacuum_runner *r)
{
    int64_t now_ns = cluster_now_ns(r->config.cluster);
    bool is_automatic_off = r->is_off_by_operator || r->is_off_by_plugin;
    struct vacuum_task *job, *next;
    DL_FOREACH_SAFE(r->queued, job, next) {
        struct ticket *ticket = job->host_data;
        if (!job->is_explicit && is_automatic_off) {
            vacuum_task_cancel(job, "automatic vacuum was disabled");
            continue;
        }
        if (job->is_paused || !vacuum_claim_take(&ticket->claim))
            continue;
        DL_DELETE(r->queued, job);
        r->queued_count--;
        DL_APPEND(r->running, job);
        r->running_count++;
        ticket->is_running = true;
        vacuum_task_start(job, now_ns);
    }
    /* A job that ended at once may have freed what those before it wait for. They get it with the
     * next event or tick. */
    trim_history(r);
}

static void on_idle(void *ctx)
{
    struct vacuum_runner *r = ctx;
    pthread_mutex_lock(&r->lock);
    start_jobs(r);
    unlock_and_tell(r);
}

/* ---- Requests and the timer ------------------------------------------------------------------ */

static void run_request(struct vacuum_runner *r, const struct vacuum_request *request,
                        bool is_explicit)
{
    struct sweep *sweep = must(calloc(1, sizeof(*sweep)));
    sweep->done = request->done;
    sweep->ctx = request->ctx;
    sweep->pending = 1;
    r->open_requests++;
    if (r->is_stopping || r->open_requests > VACUUM_REQUESTS_MAX) {
        sweep->summary.is_refused = true;
    } else {
        if (!is_explicit) {
            r->timer_sweep = sweep;
            vacuum_queue_add_empty_copies(r, sweep);
        }
        vacuum_queue_add(r, sweep, is_explicit, request);
        start_jobs(r);
    }
    leave_sweep(r, sweep);
}

void vacuum_runner_request(struct vacuum_runner *r, const struct vacuum_request *request)
{
    pthread_mutex_lock(&r->lock);
    run_request(r, request, true);
    unlock_and_tell(r);
}

static void run_timer(struct vacuum_runner *r, int64_t now_ns)
{
    if (r->is_stopping || r->timer_sweep || now_ns < r->next_sweep_ns)
        return;
    if (r->is_off_by_plugin && r->config.is_admin_server_here &&
        !r->config.is_admin_server_here(r->config.ctx))
        r->is_off_by_plugin = false;
    if (r->is_off_by_operator || r->is_off_by_plugin) {
        set_next_sweep(r);
        return;
    }
    struct vacuum_request request = {.threshold = r->config.threshold};
    run_request(r, &request, false);
}

void vacuum_runner_tick(struct vacuum_runner *r)
{
    pthread_mutex_lock(&r->lock);
    int64_t now_ns = cluster_now_ns(r->config.cluster);
    struct vacuum_task *job, *next;
    DL_FOREACH_SAFE(r->running, job, next)
        vacuum_task_tick(job, now_ns);
    run_timer(r, now_ns);
    start_jobs(r);
    unlock_and_tell(r);
}

void vacuum_runner_set_enabled(struct vacuum_runner *r, bool by_plugin, bool is_enabled)
{
    pthread_mutex_lock(&r->lock);
    *(by_plugin ? &r->is_off_by_plugin : &r->is_off_by_operator) = !is_enabled;
    start_jobs(r); /* drops what the timer had queued */
    unlock_and_tell(r);
}

bool vacuum_runner_is_enabled(struct vacuum_runner *r)
{
    struct vacuum_runner_stats stats;
    vacuum_runner_stats(r, &stats);
    return stats.is_enabled;
}

/* One that runs or waits; NULL: there is none, or it has ended. */
static struct vacuum_task *find_job(struct vacuum_runner *r, uint64_t job_id)
{
    struct vacuum_task *job;
    DL_FOREACH(r->running, job)
        if (job->id == job_id)
            return job;
    DL_FOREACH(r->queued, job)
        if (job->id == job_id)
            return job;
    return NULL;
}

bool vacuum_runner_cancel(struct vacuum_runner *r, uint64_t job_id)
{
    pthread_mutex_lock(&r->lock);
    struct vacuum_task *job = find_job(r, job_id);
    if (job)
        vacuum_task_cancel(job, "cancelled by hand");
    start_jobs(r);
    unlock_and_tell(r);
    return job != NULL;
}

bool vacuum_runner_pause(struct vacuum_runner *r, uint64_t job_id, bool is_paused)
{
    pthread_mutex_lock(&r->lock);
    struct vacuum_task *job = find_job(r, job_id);
    if (job)
        vacuum_task_pause(job, is_paused);
    start_jobs(r);
    unlock_and_tell(r);
    return job != NULL;
}

static void on_pause_refused(void *ctx, uint64_t job_id, const char *why)
{
    struct vacuum_runner *r = ctx;
    pthread_mutex_lock(&r->lock);
    struct vacuum_task *job = find_job(r, job_id);
    if (job) {
        job->is_paused = false;
        snprintf(job->note, sizeof(job->note), "%s", why);
    }
    pthread_mutex_unlock(&r->lock);
}

void vacuum_runner_stats(struct vacuum_runner *r, struct vacuum_runner_stats *ret)
{
    pthread_mutex_lock(&r->lock);
    *ret = (struct vacuum_runner_stats){
        .running = (uint32_t)r->running_count,
        .queued = (uint32_t)r->queued_count,
        .is_enabled = !r->is_off_by_operator && !r->is_off_by_plugin,
    };
    pthread_mutex_unlock(&r->lock);
}

/* ---- Life ------------------------------------------------------------------------------------ */

struct vacuum_runner *vacuum_runner_create(const struct vacuum_runner_config *config)
{
    struct vacuum_runner *r = must(calloc(1, sizeof(*r)));
    r->config = *config;
    if (r->config.per_server == 0)
        r->config.per_server = 1;
    r->job_config = (struct vacuum_task_config){
        .cluster = config->cluster,
        .ops = config->ops,
        .lock = &r->lock,
        .is_preallocating = config->is_preallocating,
        .volume_size_limit_mb = config->volume_size_limit_mb,
        .on_ended = on_ended,
        .on_pause_refused = on_pause_refused,
        .on_idle = on_idle,
        .ctx = r,
    };
    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->changed, &attr);
    pthread_condattr_destroy(&attr);
    set_next_sweep(r);
    return r;
}

void vacuum_runner_stop(struct vacuum_runner *r, unsigned grace_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += grace_ms / 1000;
    until.tv_nsec += (long)(grace_ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    struct vacuum_task *job, *next;
    pthread_mutex_lock(&r->lock);
    r->is_stopping = true;
    DL_FOREACH_SAFE(r->queued, job, next)
        vacuum_task_cancel(job, "the master stops");
    DL_FOREACH_SAFE(r->running, job, next)
        vacuum_task_cancel(job, "the master stops");
    while (r->running && pthread_cond_timedwait(&r->changed, &r->lock, &until) == 0)
        ;
    DL_FOREACH(r->running, job) {
        job->is_abandoned = true;
        leave_sweeps(r, job->host_data, job);
    }
    unlock_and_tell(r);
}

void vacuum_runner_destroy(struct vacuum_runner *r)
{
    if (!r)
        return;
    CHECK(!r->queued && !r->running && !r->finished);
    struct vacuum_task *job, *next;
    DL_FOREACH_SAFE(r->history, job, next) {
        DL_DELETE(r->history, job);
        vacuum_task_destroy(job);
    }
    struct failure *failure, *next_failure;
    HASH_ITER(hh, r->failures, failure, next_failure) {
        HASH_DEL(r->failures, failure);
        free(failure);
    }
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r);
}
