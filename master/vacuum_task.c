/* What is asked of the volume servers, and what their answers lead to. Answers are matched to the
 * state they were asked for by counting: a state is left when nothing is outstanding. */
#include "master/vacuum_task.h"

#include "common/check.h"
#include "common/log.h"
#include "master/vacuum_pause.h"

#include <string.h>

#define DRAIN_NS            INT64_C(1000000000)
#define DRAINED_BYTES       (UINT64_C(2) << 20)
#define MINUTE_MS           60000u
#define SERVER_GONE_STATUS  RPC_UNAVAILABLE
#define REPLICAS_MAX        32u

/* ---- Calls ----------------------------------------------------------------------------------- */

static void on_answer(struct vacuum_call *call, const struct vacuum_reply *reply);
static void on_progress(struct vacuum_call *call, const struct vacuum_call_progress *progress);

static unsigned size_minutes(const struct vacuum_task *job)
{
    return job->config->volume_size_limit_mb / 1000 + 1;
}

static void call_replica(struct vacuum_task *job, size_t index, enum vacuum_call_kind kind)
{
    struct vacuum_task_replica *replica = &job->replicas[index];
    replica->call = (struct vacuum_call){
        .kind = kind,
        .address = replica->address,
        .volume_id = job->volume_id,
        .progress = on_progress,
        .done = on_answer,
        .job = job,
        .only_empty = replica->only_empty,
        .only_garbage = replica->only_garbage,
    };
    /* A compaction is ended when it stands still, vacuum_task_tick; the peer waits for the last
     * three for ever, and with them all who wait for the sweep. */
    if (kind == VACUUM_CALL_CHECK)
        replica->call.timeout_ms = size_minutes(job) * MINUTE_MS;
    else if (kind != VACUUM_CALL_COMPACT)
        replica->call.timeout_ms = 3 * size_minutes(job) * MINUTE_MS;
    if (kind == VACUUM_CALL_COMPACT && job->config->is_preallocating)
        replica->call.preallocate_bytes = (int64_t)job->config->volume_size_limit_mb << 20;
    job->outstanding++;
    job->config->ops->start(job->config->ops->ctx, &replica->call);
}

static void tell_pause(const struct vacuum_task *job)
{
    const struct vacuum_pause_target target = {
        .ops = job->config->ops,
        .job_id = job->id,
        .address = job->replicas[job->current].address,
        .volume_id = job->volume_id,
        .refused = job->config->on_pause_refused,
        .ctx = job->config->ctx,
    };
    vacuum_pause_call(&target, job->is_paused);
}

static void on_progress(struct vacuum_call *call, const struct vacuum_call_progress *progress)
{
    struct vacuum_task *job = call->job;
    pthread_mutex_lock(job->config->lock);
    struct vacuum_task_replica *replica = &job->replicas[job->current];
    replica->progress = *progress;
    if (progress->is_full) /* the last heartbeat may be older than what was written */
        replica->size_before = progress->bytes_total;
    job->last_progress_ns = cluster_now_ns(job->config->cluster);
    /* A pause may have come before the server had begun, or crossed a resume on the way. */
    if (progress->is_full && job->state == VACUUM_COMPACTING &&
        strcmp(progress->phase, job->is_paused ? "copying" : "paused") == 0)
        tell_pause(job);
    pthread_mutex_unlock(job->config->lock);
}

/* ---- Checking -------------------------------------------------------------------------------- */

/* The replicas as they are now; false when the volume has none, or too few of them. */
static bool collect_replicas(struct vacuum_task *job)
{
    struct cluster *cluster = job->config->cluster;
    struct topology_location found[REPLICAS_MAX];
    bool is_ec, is_complete = true;
    cluster_lock(cluster);
    size_t count = topology_lookup(cluster->topology, job->volume_id, NULL, found, REPLICAS_MAX,
                                   &is_ec);
    if (count > REPLICAS_MAX)
        count = REPLICAS_MAX;
    for (size_t i = 0; i < count && !is_ec; i++) {
        struct data_node_info info;
        data_node_info(found[i].node, &info);
        char address[320];
        cluster_node_grpc_address(found[i].node, address, sizeof(address));
        struct vacuum_task_replica *replica = vacuum_task_add_replica(job, info.url, address);
        if (!found[i].record)
            continue;
        replica->size_before = found[i].record->size;
        unsigned copies = replica_placement_copies(
            replica_placement_from_byte((uint8_t)found[i].record->replica_placement));
        is_complete = is_complete && count >= copies;
    }
    cluster_unlock(cluster);
    if (job->replica_count == 0)
        vacuum_task_say(job, "the volume is gone");
    else if (!is_complete)
        vacuum_task_say(job,
                        "fewer replicas than its placement asks for; run volume.fix.replication");
    return job->replica_count > 0 && is_complete;
}

static void start_checking(struct vacuum_task *job)
{
    if (!collect_replicas(job)) {
        vacuum_task_end(job, VACUUM_RESULT_SKIPPED);
        return;
    }
    vacuum_task_move(job, VACUUM_CHECKING);
    for (size_t i = 0; i < job->replica_count; i++)
        call_replica(job, i, VACUUM_CALL_CHECK);
}

static void start_draining(struct vacuum_task *job);

static void finish_checking(struct vacuum_task *job)
{
    size_t qualified = 0, failed = 0;
    double highest = 0;
    for (size_t i = 0; i < job->replica_count; i++) {
        struct vacuum_task_replica *replica = &job->replicas[i];
        failed += replica->result == VACUUM_RESULT_FAILED;
        replica->qualifies = replica->garbage_ratio >= job->threshold;
        qualified += replica->qualifies;
        if (replica->garbage_ratio > highest)
            highest = replica->garbage_ratio;
    }
    /* A replica that cannot even be asked may be about to die; leave the volume as it is. */
    if (failed > 0) {
        vacuum_task_end(job, VACUUM_RESULT_FAILED);
    } else if (job->is_cancelling) {
        vacuum_task_end(job, VACUUM_RESULT_CANCELLED);
    } else if (qualified == 0) {
        vacuum_task_say(job, "garbage %.1f%% is below the threshold", highest * 100);
        vacuum_task_end(job, VACUUM_RESULT_SKIPPED);
    } else {
        start_draining(job);
    }
}

/* ---- Draining -------------------------------------------------------------------------------- */

static void compact_next(struct vacuum_task *job, size_t from);

/* Keys that were handed out for this volume may still be on their way; new ones are stopped, and a
 * moment is given to those. The peer waits up to 30 s here; what comes later is replayed at the
 * commit anyway, so a long wait would only delay the space that the user waits for. */
static void try_drained(struct vacuum_task *job, int64_t now_ns)
{
    struct cluster *cluster = job->config->cluster;
    cluster_lock(cluster);
    uint64_t pending = topology_pending_bytes(cluster->topology, job->volume_id);
    cluster_unlock(cluster);
    if (job->is_cancelling)
        vacuum_task_end(job, VACUUM_RESULT_CANCELLED);
    else if (pending <= DRAINED_BYTES || now_ns >= job->drain_until_ns)
        compact_next(job, 0);
}

static void start_draining(struct vacuum_task *job)
{
    struct cluster *cluster = job->config->cluster;
    cluster_lock(cluster);
    job->is_held = topology_begin_vacuum(cluster->topology, job->volume_id);
    cluster_unlock(cluster);
    if (!job->is_held) {
        vacuum_task_say(job, "the volume is gone");
        vacuum_task_end(job, VACUUM_RESULT_SKIPPED);
        return;
    }
    vacuum_task_move(job, VACUUM_DRAINING);
    int64_t now_ns = cluster_now_ns(cluster);
    job->drain_until_ns = now_ns + DRAIN_NS;
    try_drained(job, now_ns);
}

/* ---- Compacting, committing, cleaning up ----------------------------------------------------- */

static void finish(struct vacuum_task *job)
{
    if (job->outcome.failed > 0)
        vacuum_task_end(job, VACUUM_RESULT_FAILED);
    else if (job->is_cancelling)
        vacuum_task_end(job, VACUUM_RESULT_CANCELLED);
    else
        vacuum_task_end(job, VACUUM_RESULT_DONE);
}

static void compact_next(struct vacuum_task *job, size_t from)
{
    size_t i = from;
    while (i < job->replica_count && !job->replicas[i].qualifies)
        i++;
    if (i == job->replica_count || job->is_cancelling) {
        finish(job);
        return;
    }
    job->current = i;
    if (job->is_paused) {
        vacuum_task_move(job, VACUUM_PAUSED);
        return;
    }
    vacuum_task_move(job, VACUUM_COMPACTING);
    job->last_progress_ns = cluster_now_ns(job->config->cluster);
    call_replica(job, i, VACUUM_CALL_COMPACT);
}

/* Kinds of failure that the next try will meet again. */
static bool is_halting(enum rpc_status status, const char *message)
{
    return status == RPC_DATA_LOSS || strcasestr(message, "corrupt") != NULL;
}

static void fail_replica(struct vacuum_task *job, struct vacuum_task_replica *replica,
                         const char *what, const struct vacuum_reply *reply)
{
    const char *message = reply->message ? reply->message : "";
    replica->result = VACUUM_RESULT_FAILED;
    job->is_halting |= is_halting(reply->status, message);
    vacuum_task_say(job, "%s on %s: rpc error: code = %s desc = %s", what, replica->url,
                    rpc_status_name(reply->status), message);
}

static void finish_compacting(struct vacuum_task *job, const struct vacuum_reply *reply)
{
    struct vacuum_task_replica *replica = &job->replicas[job->current];
    if (reply->status == RPC_OK && !job->is_cancelling) {
        vacuum_task_move(job, VACUUM_COMMITTING);
        call_replica(job, job->current, VACUUM_CALL_COMMIT);
        return;
    }
    if (reply->status == RPC_OK || job->is_cancelling) {
        replica->result = VACUUM_RESULT_CANCELLED;
    } else {
        fail_replica(job, replica, "compact", reply);
        job->outcome.failed++;
    }
    /* The volume has lost a copy: what is left of it is not touched. */
    if (reply->status == SERVER_GONE_STATUS)
        job->is_cancelling = true;
    vacuum_task_move(job, VACUUM_CLEANING);
    if (job->is_abandoned)
        finish(job);
    else
        call_replica(job, job->current, VACUUM_CALL_CLEANUP);
}

static void finish_committing(struct vacuum_task *job, const struct vacuum_reply *reply)
{
    struct vacuum_task_replica *replica = &job->replicas[job->current];
    if (reply->status == RPC_OK) {
        replica->result = VACUUM_RESULT_DONE;
        replica->size_after = reply->volume_size;
        if (replica->size_before > reply->volume_size)
            job->reclaimed_bytes += replica->size_before - reply->volume_size;
        job->outcome.committed++;
        job->outcome.is_read_only |= reply->is_read_only;
        if (reply->volume_size > job->outcome.largest)
            job->outcome.largest = reply->volume_size;
    } else {
        /* Whether it was decided is the server's to know: nothing is repeated, nothing cleaned
         * up. */
        fail_replica(job, replica, "commit", reply);
        job->outcome.failed++;
        if (reply->status == SERVER_GONE_STATUS)
            job->is_cancelling = true;
    }
    compact_next(job, job->current + 1);
}

static void finish_cleaning(struct vacuum_task *job, const struct vacuum_reply *reply)
{
    struct vacuum_task_replica *replica = &job->replicas[job->current];
    if (reply->status != RPC_OK)
        log_warning("vacuum leftovers stay until the server restarts",
                    "volume=%u server=%s error=\"%s\"", job->volume_id, replica->url,
                    reply->message ? reply->message : "");
    compact_next(job, job->current + 1);
}

/* ---- Deleting empty copies ------------------------------------------------------------------- */

static void delete_next(struct vacuum_task *job)
{
    if (job->current == job->replica_count || job->is_cancelling)
        finish(job);
    else
        call_replica(job, job->current, VACUUM_CALL_DELETE);
}

static void finish_deleting(struct vacuum_task *job, const struct vacuum_reply *reply)
{
    struct cluster *cluster = job->config->cluster;
    struct vacuum_task_replica *replica = &job->replicas[job->current];
    if (reply->status == RPC_OK) {
        struct location_update update;
        location_update_init(&update);
        cluster_lock(cluster);
        struct data_node *node = topology_find_node(cluster->topology, replica->url);
        if (node)
            topology_remove_replica(cluster->topology, node, job->volume_id, &update);
        client_registry_publish(cluster->clients, &update);
        cluster_unlock(cluster);
        location_update_fini(&update);
        replica->result = VACUUM_RESULT_DONE;
    } else {
        fail_replica(job, replica, "delete", reply);
        job->outcome.failed++;
    }
    job->current++;
    delete_next(job);
}

/* ---- Events ---------------------------------------------------------------------------------- */

static void take_check(struct vacuum_task *job, struct vacuum_call *call,
                       const struct vacuum_reply *reply)
{
    struct vacuum_task_replica *replica = NULL;
    for (size_t i = 0; i < job->replica_count; i++)
        if (&job->replicas[i].call == call)
            replica = &job->replicas[i];
    CHECK(replica);
    if (reply->status == RPC_OK) {
        replica->garbage_ratio = reply->garbage_ratio;
    } else {
        fail_replica(job, replica, "check", reply);
    }
    if (job->outstanding == 0)
        finish_checking(job);
}

static void on_answer(struct vacuum_call *call, const struct vacuum_reply *reply)
{
    struct vacuum_task *job = call->job;
    const struct vacuum_task_config *config = job->config;
    pthread_mutex_lock(config->lock);
    CHECK(job->outstanding > 0);
    job->outstanding--;
    switch (call->kind) {
    case VACUUM_CALL_CHECK:
        take_check(job, call, reply);
        break;
    case VACUUM_CALL_COMPACT:
        finish_compacting(job, reply);
        break;
    case VACUUM_CALL_COMMIT:
        finish_committing(job, reply);
        break;
    case VACUUM_CALL_CLEANUP:
        finish_cleaning(job, reply);
        break;
    case VACUUM_CALL_DELETE:
        finish_deleting(job, reply);
        break;
    case VACUUM_CALL_PAUSE:
    case VACUUM_CALL_RESUME:
        CHECK(false); /* vacuum_pause.c */
    }
    pthread_mutex_unlock(config->lock);
    config->on_idle(config->ctx);
}

void vacuum_task_start(struct vacuum_task *job, int64_t now_ns)
{
    job->started_ns = now_ns;
    if (job->is_deleting_empty) {
        vacuum_task_move(job, VACUUM_DELETING);
        delete_next(job);
    } else {
        start_checking(job);
    }
}

void vacuum_task_tick(struct vacuum_task *job, int64_t now_ns)
{
    if (job->state == VACUUM_DRAINING) {
        try_drained(job, now_ns);
    } else if (job->state == VACUUM_COMPACTING) {
        int64_t limit_ns = (int64_t)size_minutes(job) * 3 * MINUTE_MS * 1000000;
        if (now_ns - job->last_progress_ns < limit_ns)
            return;
        job->last_progress_ns = now_ns;
        vacuum_task_say(job, "compact on %s: no progress for %u minutes",
                        job->replicas[job->current].url, size_minutes(job) * 3);
        job->config->ops->cancel(job->config->ops->ctx, &job->replicas[job->current].call);
    }
}

void vacuum_task_cancel(struct vacuum_task *job, const char *why)
{
    if (job->state == VACUUM_ENDED || job->is_cancelling)
        return;
    job->is_cancelling = true;
    vacuum_task_say(job, "%s", why);
    if (job->state == VACUUM_QUEUED)
        vacuum_task_end(job, VACUUM_RESULT_CANCELLED);
    else if (job->state == VACUUM_DRAINING)
        try_drained(job, cluster_now_ns(job->config->cluster));
    else if (job->state == VACUUM_PAUSED)
        compact_next(job, job->current);
    else if (job->state == VACUUM_COMPACTING)
        job->config->ops->cancel(job->config->ops->ctx, &job->replicas[job->current].call);
}

void vacuum_task_pause(struct vacuum_task *job, bool is_paused)
{
    if (job->is_paused == is_paused || job->is_cancelling)
        return;
    job->is_paused = is_paused;
    if (job->state == VACUUM_COMPACTING)
        tell_pause(job);
    else if (job->state == VACUUM_PAUSED && !is_paused)
        compact_next(job, job->current);
}
