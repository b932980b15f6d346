/* VacuumVolumeCheck, -Compact, -Commit, -Cleanup; and -Pause, which is ours. Source:
 * spec/volume-rpc.md 1.
 *
 * The peer's master runs the four in this order and reads two things into their answers: an error
 * of compact means cleanup, and an empty stream without error means that commit may follow, also
 * when another vacuum of the volume is under way (commit is then a no-op in its turn). */
#include "volume/rpc_handlers.h"

#include "common/log.h"
#include "volume/volume_metrics.h"

#include <stdlib.h>
#include <unistd.h>

/* Kept free on the disk for tombstones while a copy runs. Uploads stop well before (store_floor.c). */
#define SPACE_FLOOR_BYTES (1ull << 20)
#define DAMAGE_LOGGED_MAX 64

static double load_average_per_cpu(void)
{
    double load;
    if (getloadavg(&load, 1) != 1)
        return 0;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus > 0 ? load / (double)cpus : load;
}

void rpc_vacuum_check(struct volume_rpc *rpc, struct rpc_call *call,
                      const ProtobufCMessage *message)
{
    const VolumeServerPb__VacuumVolumeCheckRequest *request =
        (const VolumeServerPb__VacuumVolumeCheckRequest *)message;
    struct volume *volume = rpc_acquire_volume(
        rpc, call, request->volume_id, RPC_NOT_FOUND,
        "volume id %u is not found during check compact: volume not found",
        request->volume_id);
    if (!volume)
        return;
    struct volume_stat stat;
    volume_stat(volume, &stat);
    store_release(rpc->config.store, volume);
    VolumeServerPb__VacuumVolumeCheckResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_CHECK_RESPONSE__INIT;
    response.garbage_ratio = stat.garbage_ratio;
    rpc_call_reply(call, &response.base);
}

struct compact_job {
    struct rpc_call *call;
    struct volume *volume;
    uint64_t told_step;
    int64_t interval_ns, next_progress_ns; /* of full progress; 0: not asked for */
    bool is_interrupted;
};

static void fill_progress(struct volume *volume, VolumeServerPb__VacuumProgress *ret)
{
    struct vacuum_progress progress;
    volume_vacuum_progress(volume, &progress);
    volume_server_pb__vacuum_progress__init(ret);
    ret->phase = (char *)(uintptr_t)(progress.is_waiting  ? "waiting"
                                     : progress.is_paused ? "paused"
                                                          : vacuum_state_name(progress.state));
    ret->bytes_done = progress.source_offset;
    ret->bytes_total = progress.bytes_total;
    ret->bytes_per_second = progress.bytes_per_second;
    ret->left_ms = progress.left_ns / 1000000;
    ret->records_done = progress.records_copied;
    ret->records_total = progress.live_records;
    ret->bytes_copied = progress.bytes_copied;
    ret->bytes_reclaimed = progress.bytes_reclaimed;
    ret->damaged = progress.damaged;
    ret->rows_replayed = progress.rows_replayed;
    ret->elapsed_ms = progress.elapsed_ns / 1000000;
    ret->longest_pause_us = progress.longest_pause_ns / 1000;
}

/* The peer's cadence, and ours where it was asked for. A caller that does not read its progress
 * misses some of it; the copy goes on. */
static int report_progress(void *ctx, const struct vacuum_progress *progress)
{
    struct compact_job *job = ctx;
    int64_t now_ns = os_monotonic_ns(os_real());
    bool is_full = job->interval_ns > 0 && now_ns >= job->next_progress_ns;
    bool is_step = progress->step_offset != job->told_step;
    if (rpc_call_is_cancelled(job->call)) {
        job->is_interrupted = true;
        return KELP_E_CANCELLED;
    }
    if (!is_step && !is_full)
        return 0;
    VolumeServerPb__VacuumProgress full;
    VolumeServerPb__VacuumVolumeCompactResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_COMPACT_RESPONSE__INIT;
    response.processed_bytes =
        (int64_t)(is_step ? progress->step_offset : progress->source_offset);
    response.load_avg_1m = (float)load_average_per_cpu();
    if (is_step)
        job->told_step = progress->step_offset;
    if (is_full) {
        job->next_progress_ns = now_ns + job->interval_ns;
        fill_progress(job->volume, &full);
        response.progress = &full;
    }
    rpc_call_send(job->call, &response.base);
    return 0;
}

/* However quick the copy was, who asked for progress hears of its end. */
static void report_end(struct compact_job *job)
{
    struct vacuum_progress progress;
    volume_vacuum_progress(job->volume, &progress);
    progress.step_offset = job->told_step;
    job->next_progress_ns = 0;
    report_progress(job, &progress);
}

static void log_damage(struct volume *volume)
{
    struct vacuum_damage damaged[DAMAGE_LOGGED_MAX];
    size_t count = volume_vacuum_damaged(volume, damaged, DAMAGE_LOGGED_MAX);
    for (size_t i = 0; i < count && i < DAMAGE_LOGGED_MAX; i++)
        log_warning("damaged record kept",
                    "volume=%u needle=%llx offset=%llu reason=\"%s\" "
                    "next=\"fetch it from a replica\"",
                    volume_id(volume), (unsigned long long)damaged[i].key,
                    (unsigned long long)damaged[i].offset, damaged[i].reason);
    if (count > DAMAGE_LOGGED_MAX)
        log_warning("damaged records kept", "volume=%u count=%zu", volume_id(volume), count);
}

static int compact(struct volume_rpc *rpc, struct volume *volume, int64_t preallocate,
                   struct compact_job *job, struct error *err)
{
    struct vacuum_options options = {
        .preallocate = preallocate > 0 ? (uint64_t)preallocate : 0,
        .space_floor_bytes = SPACE_FLOOR_BYTES,
        .budget = store_vacuum_budget(rpc->config.store, volume),
        .on_progress = report_progress,
        .ctx = job,
    };
    int64_t begin = os_monotonic_ns(os_real());
    int code = volume_vacuum_compact(volume, &options, err);
    if (code == KELP_E_BUSY)
        return 0;
    double seconds = (double)(os_monotonic_ns(os_real()) - begin) / 1e9;
    volume_metrics_vacuum(rpc->config.metrics, VOLUME_METRICS_COMPACT, code == 0, seconds);
    log_damage(volume);
    if (code)
        log_warning("vacuum copy failed", "volume=%u error=\"%s\"", volume_id(volume),
                    err->message);
    else
        log_info("vacuum copied", "volume=%u seconds=%.3f", volume_id(volume), seconds);
    if (code == 0)
        report_end(job);
    return code;
}

void rpc_vacuum_compact(struct volume_rpc *rpc, struct rpc_call *call,
                        const ProtobufCMessage *message)
{
    const VolumeServerPb__VacuumVolumeCompactRequest *request =
        (const VolumeServerPb__VacuumVolumeCompactRequest *)message;
    uint32_t id = request->volume_id;
    struct volume *volume = rpc_acquire_volume(
        rpc, call, id, RPC_NOT_FOUND,
        "compact volume %u: volume id %u is not found during compact: "
        "volume not found",
        id, id);
    if (!volume)
        return;
    struct compact_job job = {
        .call = call,
        .volume = volume,
        .interval_ns = (int64_t)request->progress_interval_ms * 1000000,
    };
    struct error err = {0};
    int code = compact(rpc, volume, request->preallocate, &job, &err);
    store_release(rpc->config.store, volume);
    if (code == 0)
        rpc_call_finish(call);
    else if (job.is_interrupted)
        rpc_call_fail(call, RPC_UNKNOWN, "compact volume %u: interrupted", id);
    else if (code == KELP_E_NO_SPACE)
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                      "compact volume %u: %s: insufficient free space", id, err.message);
    else
        rpc_call_fail(call, RPC_UNKNOWN, "compact volume %u: %s", id, err.message);
}

static int commit(struct volume_rpc *rpc, struct volume *volume, struct error *err)
{
    uint64_t pause_ns = 0;
    int64_t begin = os_monotonic_ns(os_real());
    int code = volume_vacuum_commit(volume, &pause_ns, err);
    if (code == KELP_E_BUSY)
        return 0;
    double seconds = (double)(os_monotonic_ns(os_real()) - begin) / 1e9;
    volume_metrics_vacuum(rpc->config.metrics, VOLUME_METRICS_COMMIT, code == 0, seconds);
    if (code) {
        log_warning("vacuum not committed", "volume=%u error=\"%s\"", volume_id(volume),
                    err->message);
        return code;
    }
    volume_metrics_vacuum_pause(rpc->config.metrics, (double)pause_ns / 1e9);
    log_info("vacuum committed", "volume=%u seconds=%.3f writers_paused_us=%llu",
             volume_id(volume), seconds, (unsigned long long)pause_ns / 1000);
    return 0;
}

void rpc_vacuum_commit(struct volume_rpc *rpc, struct rpc_call *call,
                       const ProtobufCMessage *message)
{
    const VolumeServerPb__VacuumVolumeCommitRequest *request =
        (const VolumeServerPb__VacuumVolumeCommitRequest *)message;
    uint32_t id = request->volume_id;
    if (atomic_load(&rpc->is_stopping)) {
        rpc_call_fail(call, RPC_UNKNOWN,
                      "commit compact volume %u: volume id %u skips compact because volume is "
                      "stopping",
                      id, id);
        return;
    }
    struct volume *volume = rpc_acquire_volume(
        rpc, call, id, RPC_NOT_FOUND,
        "commit compact volume %u: volume id %u is not found during commit compact: "
        "volume not found",
        id, id);
    if (!volume)
        return;
    struct volume_stat before, after;
    volume_stat(volume, &before);
    struct error err = {0};
    int code = commit(rpc, volume, &err);
    volume_stat(volume, &after);
    store_release(rpc->config.store, volume);
    if (code == KELP_E_PRECONDITION) {
        rpc_call_fail(call, RPC_UNKNOWN,
                      "commit compact volume %u: volume %u compact swap aborted: missing .cpd/.cpx",
                      id, id);
        return;
    }
    if (code) {
        rpc_call_fail(call, RPC_UNKNOWN, "commit compact volume %u: %s", id, err.message);
        return;
    }
    VolumeServerPb__VacuumVolumeCommitResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_COMMIT_RESPONSE__INIT;
    response.is_read_only = before.read_only != 0;
    response.volume_size = after.dat_bytes;
    rpc_call_reply(call, &response.base);
}

void rpc_vacuum_cleanup(struct volume_rpc *rpc, struct rpc_call *call,
                        const ProtobufCMessage *message)
{
    const VolumeServerPb__VacuumVolumeCleanupRequest *request =
        (const VolumeServerPb__VacuumVolumeCleanupRequest *)message;
    uint32_t id = request->volume_id;
    struct volume *volume = rpc_acquire_volume(
        rpc, call, id, RPC_NOT_FOUND,
        "cleanup volume %u: volume id %u is not found during cleaning up: "
        "volume not found",
        id, id);
    if (!volume)
        return;
    struct error err = {0};
    int code = volume_vacuum_cleanup(volume, &err);
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_call_fail(call, RPC_UNKNOWN, "cleanup volume %u: %s", id, err.message);
        return;
    }
    VolumeServerPb__VacuumVolumeCleanupResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_CLEANUP_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void rpc_vacuum_pause(struct volume_rpc *rpc, struct rpc_call *call, const ProtobufCMessage *message)
{
    const VolumeServerPb__VacuumVolumePauseRequest *request =
        (const VolumeServerPb__VacuumVolumePauseRequest *)message;
    struct volume *volume = rpc_acquire_volume(
        rpc, call, request->volume_id, RPC_NOT_FOUND,
        "volume %u is not here", request->volume_id);
    if (!volume)
        return;
    struct error err = {0};
    int code = 0;
    if (request->action != VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__TELL)
        code = volume_vacuum_pause(
            volume,
            request->action == VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_REQUEST__ACTION__PAUSE, &err);
    VolumeServerPb__VacuumProgress progress;
    fill_progress(volume, &progress);
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_call_fail_error(call, &err);
        return;
    }
    VolumeServerPb__VacuumVolumePauseResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_PAUSE_RESPONSE__INIT;
    response.progress = &progress;
    rpc_call_reply(call, &response.base);
}
