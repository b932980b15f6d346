/* What the runner knows, as JSON. Any thread. */
#include "master/vacuum_runner_state.h"

#include "master/vacuum_snapshot.h"

static double seconds(int64_t ns) { return (double)(ns / 1000000) / 1000; }

static void print_progress(const struct vacuum_call_progress *progress, struct json_writer *w)
{
    if (progress->processed_bytes > 0)
        json_writer_member_int(w, "processedBytes", progress->processed_bytes);
    if (!progress->is_full)
        return;
    json_writer_key(w, "progress");
    json_writer_begin_object(w);
    json_writer_member_text(w, "phase", progress->phase);
    json_writer_member_int(w, "bytesDone", progress->processed_bytes);
    json_writer_member_uint(w, "bytesTotal", progress->bytes_total);
    json_writer_member_uint(w, "bytesPerSecond", progress->bytes_per_second);
    json_writer_member_double(w, "secondsLeft", (double)progress->left_ms / 1000);
    json_writer_member_uint(w, "recordsDone", progress->records_done);
    json_writer_member_uint(w, "recordsTotal", progress->records_total);
    json_writer_member_uint(w, "bytesCopied", progress->bytes_copied);
    json_writer_member_uint(w, "bytesReclaimed", progress->bytes_reclaimed);
    json_writer_member_uint(w, "damaged", progress->damaged);
    json_writer_member_double(w, "longestPauseMs", (double)progress->longest_pause_us / 1000);
    json_writer_end_object(w);
}

static void print_replica(const struct vacuum_task_replica *replica, struct json_writer *w)
{
    json_writer_begin_object(w);
    json_writer_member_text(w, "server", replica->url);
    if (replica->garbage_ratio >= 0)
        json_writer_member_double(w, "garbageRatio", replica->garbage_ratio);
    json_writer_member_uint(w, "sizeBefore", replica->size_before);
    print_progress(&replica->progress, w);
    if (replica->result == VACUUM_RESULT_DONE)
        json_writer_member_uint(w, "sizeAfter", replica->size_after);
    if (replica->result != VACUUM_RESULT_PENDING)
        json_writer_member_text(w, "result", vacuum_result_text(replica->result));
    json_writer_end_object(w);
}

static void print_job(const struct vacuum_task *job, int64_t now_ns, struct json_writer *w)
{
    json_writer_begin_object(w);
    json_writer_member_uint(w, "id", job->id);
    json_writer_member_uint(w, "volumeId", job->volume_id);
    json_writer_member_text(w, "collection", job->collection);
    json_writer_member_text(w, "state", vacuum_state_text(job->state));
    json_writer_member_bool(w, "byHand", job->is_explicit);
    json_writer_member_double(w, "threshold", job->threshold);
    json_writer_member_int(w, "createdAtSecond", job->created_ns / 1000000000);
    if (job->started_ns) {
        int64_t end_ns = job->ended_ns ? job->ended_ns : now_ns;
        json_writer_member_int(w, "startedAtSecond", job->started_ns / 1000000000);
        json_writer_member_double(w, "durationSeconds", seconds(end_ns - job->started_ns));
    }
    if (job->state == VACUUM_ENDED) {
        json_writer_member_text(w, "result", vacuum_result_text(job->result));
        json_writer_member_uint(w, "reclaimedBytes", job->reclaimed_bytes);
    }
    if (job->is_paused)
        json_writer_member_bool(w, "paused", true);
    if (job->message[0])
        json_writer_member_text(w, "message", job->message);
    if (job->note[0])
        json_writer_member_text(w, "note", job->note);
    json_writer_key(w, "replicas");
    json_writer_begin_array(w);
    for (size_t i = 0; i < job->replica_count; i++)
        print_replica(&job->replicas[i], w);
    json_writer_end_array(w);
    json_writer_end_object(w);
}

static void print_list(const char *name, const struct vacuum_task *list, int64_t now_ns,
                       struct json_writer *w)
{
    json_writer_key(w, name);
    json_writer_begin_array(w);
    for (const struct vacuum_task *job = list; job; job = job->next)
        print_job(job, now_ns, w);
    json_writer_end_array(w);
}

static void print_failures(const struct vacuum_runner *r, struct json_writer *w)
{
    json_writer_key(w, "failures");
    json_writer_begin_array(w);
    const struct failure *failure;
    for (failure = r->failures; failure; failure = failure->hh.next) {
        json_writer_begin_object(w);
        json_writer_member_uint(w, "volumeId", failure->volume_id);
        json_writer_member_uint(w, "inARow", failure->count);
        json_writer_member_bool(w, "needsAttention", failure->count >= VACUUM_ATTENTION_FAILURES);
        json_writer_member_int(w, "lastAtSecond", failure->last_ns / 1000000000);
        json_writer_member_int(
            w, "retryAtSecond",
            (failure->last_ns + vacuum_back_off_ns(failure->count)) / 1000000000);
        json_writer_member_text(w, "message", failure->message);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

void vacuum_runner_print_jobs(struct vacuum_runner *r, struct json_writer *w)
{
    int64_t now_ns = cluster_now_ns(r->config.cluster);
    pthread_mutex_lock(&r->lock);
    json_writer_begin_object(w);
    json_writer_member_bool(w, "enabled", !r->is_off_by_operator && !r->is_off_by_plugin);
    int64_t left_ns = r->timer_sweep ? 0 : r->next_sweep_ns - now_ns;
    json_writer_member_bool(w, "sweeping", r->timer_sweep != NULL);
    json_writer_member_double(w, "nextSweepSeconds", left_ns > 0 ? seconds(left_ns) : 0);
    print_list("running", r->running, now_ns, w);
    print_list("queued", r->queued, now_ns, w);
    print_list("history", r->history, now_ns, w);
    print_failures(r, w);
    json_writer_end_object(w);
    pthread_mutex_unlock(&r->lock);
}

static void print_plan(const struct vacuum_snapshot *s, const struct vacuum_plan *plan,
                       struct json_writer *w)
{
    json_writer_begin_object(w);
    json_writer_key(w, "jobs");
    json_writer_begin_array(w);
    for (size_t i = 0; i < plan->job_count; i++) {
        json_writer_begin_object(w);
        json_writer_member_uint(w, "volumeId", s->volumes[plan->jobs[i].volume].id);
        json_writer_member_double(w, "score", plan->jobs[i].score);
        json_writer_member_uint(w, "copyBytes", plan->jobs[i].copy_bytes);
        json_writer_member_uint(w, "reclaimBytes", plan->jobs[i].reclaim_bytes);
        if (!plan->jobs[i].starts_now)
            json_writer_member_text(w, "waitsFor", vacuum_reason_text(plan->jobs[i].waits_for));
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_key(w, "leftOut");
    json_writer_begin_array(w);
    for (size_t i = 0; i < plan->left_out_count; i++) {
        const struct vacuum_left_out *out = &plan->left_out[i];
        json_writer_begin_object(w);
        json_writer_member_uint(w, "volumeId", s->volumes[out->volume].id);
        json_writer_member_text(w, "reason", vacuum_reason_text(out->reason));
        if (out->reason == VACUUM_LEFT_OUT_NO_SPACE)
            json_writer_member_uint(w, "missingBytes", out->missing_bytes);
        if (out->reason == VACUUM_LEFT_OUT_BACK_OFF)
            json_writer_member_int(w, "retryAtSecond", out->retry_at_ns / 1000000000);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
    json_writer_end_object(w);
}

void vacuum_runner_print_plan(struct vacuum_runner *r, double threshold, struct json_writer *w)
{
    struct vacuum_snapshot snapshot;
    struct vacuum_nodes nodes;
    struct vacuum_limits limits;
    struct vacuum_plan plan;
    vacuum_limits_default(&limits);
    limits.now_ns = cluster_now_ns(r->config.cluster);
    limits.per_server = r->config.per_server;
    limits.threshold = threshold;
    pthread_mutex_lock(&r->lock);
    cluster_lock(r->config.cluster);
    vacuum_snapshot_take(r->config.cluster->topology, NULL, 0, vacuum_queue_annotate, r, &snapshot,
                         &nodes);
    cluster_unlock(r->config.cluster);
    pthread_mutex_unlock(&r->lock);
    vacuum_plan_make(&snapshot, &limits, &plan);
    print_plan(&snapshot, &plan, w);
    vacuum_plan_fini(&plan);
    cluster_lock(r->config.cluster);
    vacuum_snapshot_fini(&snapshot, &nodes);
    cluster_unlock(r->config.cluster);
}
