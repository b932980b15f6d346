/* ScrubVolume: every row and record of volumes against each other. Source: spec/volume-rpc.md 9, and the
 * words of the released peer.
 *
 * Damaged records are also listed in their volume's status. A volume stays in use while it is looked at:
 * what is appended meanwhile is not judged. */
#include "volume/rpc_handlers.h"

#include "common/arena.h"
#include "common/check.h"
#include "common/log.h"
#include "volume/storage/volume_inspect.h"
#include "volume/volume_metrics.h"

#include <inttypes.h>
#include <stdlib.h>

#define DETAILS_MAX 1000u  /* lines of one volume; more are counted */
#define DETAILS_ALL 20000u /* of all volumes: beyond, each of them says how many it has */

struct scrub {
    struct volume_rpc *rpc;
    struct rpc_call *call;
    VolumeServerPb__VolumeScrubMode mode;
    struct arena arena;
    VolumeServerPb__ScrubVolumeResponse response;
    size_t broken_capacity, detail_capacity;
    struct error mark_err; /* the texts of what failed, joined by newlines */
    enum rpc_status mark_status;

    /* Of the volume in work: */
    struct volume *volume;
    uint32_t volume_id;
    size_t finding_count, told_count;
    uint64_t unnamed_bytes; /* that no row accounts for */
};

static void add_detail(struct scrub *scrub, const char *text)
{
    VolumeServerPb__ScrubVolumeResponse *response = &scrub->response;
    if (response->n_details == scrub->detail_capacity) {
        scrub->detail_capacity = scrub->detail_capacity ? scrub->detail_capacity * 2 : 16;
        response->details =
            must(realloc(response->details, scrub->detail_capacity * sizeof(*response->details)));
    }
    response->details[response->n_details++] = (char *)(uintptr_t)text;
}

static void add_broken(struct scrub *scrub)
{
    VolumeServerPb__ScrubVolumeResponse *response = &scrub->response;
    if (response->n_broken_volume_ids == scrub->broken_capacity) {
        scrub->broken_capacity = scrub->broken_capacity ? scrub->broken_capacity * 2 : 16;
        response->broken_volume_ids =
            must(realloc(response->broken_volume_ids,
                         scrub->broken_capacity * sizeof(*response->broken_volume_ids)));
    }
    response->broken_volume_ids[response->n_broken_volume_ids++] = scrub->volume_id;
}

/* ---- findings ---- */

static const char *describe(struct scrub *scrub, const struct volume_problem *p)
{
    struct arena *arena = &scrub->arena;
    uint32_t id = scrub->volume_id;
    switch (p->kind) {
    case VOLUME_PROBLEM_NO_INDEX:
        return arena_printf(arena, "zero-size IDX file for volume %u with store size %" PRIu64, id,
                            p->offset + p->length);
    case VOLUME_PROBLEM_PARTIAL_ROW:
        return arena_printf(arena, "expected an index file of size %" PRIu64 ", got %" PRIu64,
                            p->other_length, p->offset);
    case VOLUME_PROBLEM_OVERLAP:
        return arena_printf(arena,
                            "needle %" PRIu64 " (#%" PRIu64 ") at [%" PRIu64 "-%" PRIu64
                            "] overlaps needle %" PRIu64 " at [%" PRIu64 "-%" PRIu64 "]",
                            p->key, p->row + 1, p->offset, p->offset + p->length - 1, p->other_key,
                            p->other_offset, p->other_offset + p->other_length - 1);
    case VOLUME_PROBLEM_HEADER: {
        char found[33] = "";
        volume_inspect_format_id(p->other_key, found);
        return arena_printf(arena,
                            "failed to read needle %" PRIu64
                            " on volume %u: size mismatch: entry not found: offset %" PRIu64
                            " found id %s size %d, expected size %d",
                            p->key, id, p->offset, found, p->other_size, p->size);
    }
    case VOLUME_PROBLEM_KEY:
        return arena_printf(arena,
                            "index key %" PRIx64 " does not match needle's Id %" PRIx64
                            " on volume %u",
                            p->key, p->other_key, id);
    case VOLUME_PROBLEM_CRC:
        return arena_printf(arena,
                            "failed to read needle %" PRIu64
                            " on volume %u: invalid CRC for needle %" PRIx64
                            " (got %x, want %x), data on disk corrupted: needle data corrupted",
                            p->key, id, p->key, p->crc_computed, p->crc_stored);
    case VOLUME_PROBLEM_NO_ROW:
    case VOLUME_PROBLEM_GAP:
        return arena_printf(arena, "volume %u at %" PRIu64 ": %s", id, p->offset, p->detail);
    default:
        return arena_printf(arena, "failed to read needle %" PRIu64 " on volume %u: %s", p->key, id,
                            p->detail);
    }
}

static int on_problem(void *ctx, const struct volume_problem *problem)
{
    struct scrub *scrub = ctx;
    if (!volume_problem_is_damage(problem->kind))
        return 0;
    if (problem->kind == VOLUME_PROBLEM_NO_ROW || problem->kind == VOLUME_PROBLEM_GAP)
        scrub->unnamed_bytes += problem->length;
    scrub->finding_count++;
    if (scrub->told_count < DETAILS_MAX && scrub->response.n_details < DETAILS_ALL) {
        add_detail(scrub, describe(scrub, problem));
        scrub->told_count++;
    }
    return 0;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    const struct scrub *scrub = ctx;
    if (rpc_call_is_cancelled(scrub->call) ||
        store_is_leaving(scrub->rpc->config.store, scrub->volume))
        return KELP_E_CANCELLED;
    return 0;
}

static void sum_up(struct scrub *scrub, const struct volume_verify_result *result)
{
    if (scrub->unnamed_bytes > 0)
        add_detail(scrub, arena_printf(&scrub->arena,
                                       "data file size for volume %u (%" PRIu64
                                       ") doesn't match the size for %" PRIu64
                                       " needles read (%" PRIu64 ")",
                                       scrub->volume_id, result->dat_bytes, result->rows,
                                       result->dat_bytes - scrub->unnamed_bytes));
    if (scrub->finding_count > scrub->told_count)
        add_detail(scrub, arena_printf(&scrub->arena, "volume %u: %zu more findings",
                                       scrub->volume_id, scrub->finding_count - scrub->told_count));
}

/* ---- volumes ---- */

static void mark_read_only(struct scrub *scrub, uint32_t id)
{
    struct error err = {0};
    enum rpc_status status;
    struct volume *volume = store_acquire(scrub->rpc->config.store, id);
    if (!volume)
        return; /* has gone meanwhile */
    int code = rpc_mark_read_only(scrub->rpc, volume, false, true, &status, &err);
    store_release(scrub->rpc->config.store, volume);
    if (!code) {
        add_detail(scrub, arena_printf(&scrub->arena, "volume %u is now read-only", id));
        return;
    }
    if (scrub->mark_err.code == 0) {
        scrub->mark_err = err;
        scrub->mark_status = status;
        return;
    }
    const char *before = arena_printf(&scrub->arena, "%s", scrub->mark_err.message);
    error_set(&scrub->mark_err, err.code, "%s\n%s", before, err.message);
}

static int scrub_volume(struct scrub *scrub, struct volume *volume, struct error *err)
{
    bool is_index_only = scrub->mode == VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__INDEX;
    bool is_full = scrub->mode == VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__FULL ||
                   scrub->mode == VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__LOCAL ||
                   scrub->mode == VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__READS;
    if (!is_index_only && !is_full)
        return error_set(err, KELP_E_INVALID, "unsupported volume scrub mode %d", (int)scrub->mode);
    struct volume_verify_options options = {
        .is_index_only = is_index_only,
        .is_in_use = true,
        .on_problem = on_problem,
        .on_progress = on_progress,
        .ctx = scrub,
    };
    struct volume_verify_result result;
    struct error reason = {0};
    scrub->volume = volume;
    scrub->volume_id = volume_id(volume);
    scrub->finding_count = scrub->told_count = 0;
    scrub->unnamed_bytes = 0;
    int code = volume_inspect_verify(volume, &options, &result, &reason);
    if (code == KELP_E_CANCELLED)
        return error_set(err, code, "scrub of volume %u ended early: %s", scrub->volume_id,
                         rpc_call_is_cancelled(scrub->call) ? "its caller has gone"
                                                            : "the volume is being unmounted");
    scrub->response.total_volumes++;
    scrub->response.total_files += result.rows;
    sum_up(scrub, &result);
    if (code) {
        add_detail(scrub, arena_printf(&scrub->arena, "volume %u: %s", scrub->volume_id,
                                       reason.message));
        scrub->finding_count++;
    }
    if (scrub->finding_count == 0)
        return 0;
    log_warning("scrub found damage", "volume=%u findings=%zu", scrub->volume_id,
                scrub->finding_count);
    add_broken(scrub);
    return 0;
}

struct scrub_list {
    uint32_t *ids;
    size_t count, capacity;
};

static int add_id(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct scrub_list *list = ctx;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 64;
        list->ids = must(realloc(list->ids, list->capacity * sizeof(*list->ids)));
    }
    list->ids[list->count++] = volume_id(volume);
    return 0;
}

/* One volume in use at a time: a scrub of a server takes hours, and nobody who unmounts shall wait for
 * all of it. */
static int scrub_list(struct scrub *scrub, const uint32_t *ids, size_t count, bool is_asked_for,
                      struct error *err)
{
    struct store *store = scrub->rpc->config.store;
    int code = 0;
    for (size_t i = 0; i < count && !code; i++) {
        struct volume *volume;
        int missing = store_find(store, ids[i], &volume, err);
        if (missing && !is_asked_for)
            continue;
        if (missing)
            return missing == KELP_E_UNAVAILABLE
                       ? missing
                       : error_set(err, missing, "volume id %u not found", ids[i]);
        code = scrub_volume(scrub, volume, err);
        store_release(store, volume);
    }
    return code;
}

static const char *mode_name(VolumeServerPb__VolumeScrubMode mode)
{
    const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
        &volume_server_pb__volume_scrub_mode__descriptor, (int)mode);
    return value ? value->name : "UNKNOWN";
}

void rpc_scrub_volume(struct volume_rpc *rpc, struct rpc_call *call, const ProtobufCMessage *message)
{
    const VolumeServerPb__ScrubVolumeRequest *request =
        (const VolumeServerPb__ScrubVolumeRequest *)message;
    struct scrub scrub = {
        .rpc = rpc,
        .call = call,
        .mode = request->mode,
        .response = VOLUME_SERVER_PB__SCRUB_VOLUME_RESPONSE__INIT,
    };
    struct error err = {0};
    struct scrub_list all = {0};
    arena_init(&scrub.arena);
    int code;
    if (request->n_volume_ids > 0) {
        code = scrub_list(&scrub, request->volume_ids, request->n_volume_ids, true, &err);
    } else {
        store_for_each(rpc->config.store, add_id, &all);
        code = scrub_list(&scrub, all.ids, all.count, false, &err);
    }
    if (!code && request->mark_broken_volumes_readonly)
        for (size_t i = 0; i < scrub.response.n_broken_volume_ids; i++)
            mark_read_only(&scrub, scrub.response.broken_volume_ids[i]);
    if (!code)
        volume_metrics_scrub(rpc->config.metrics, mode_name(scrub.mode),
                             scrub.response.n_broken_volume_ids);
    if (code == KELP_E_UNAVAILABLE)
        rpc_call_fail_error(call, &err);
    else if (code)
        rpc_fail_unknown(call, &err);
    else if (scrub.mark_err.code)
        rpc_call_fail(call, scrub.mark_status, "%s", scrub.mark_err.message);
    else
        rpc_call_reply(call, &scrub.response.base);
    free(all.ids);
    free(scrub.response.details);
    free(scrub.response.broken_volume_ids);
    arena_fini(&scrub.arena);
}
