/* The memory is a table (disk id, volume id) -> hash of what was last told, and the short form,
 * which names the volume once it is gone. A round number marks what is still there; the rest has
 * departed. */
#include "volume/heartbeat_report.h"

#include "common/check.h"
#include "common/volume_digest.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct told {
    uint64_t place; /* disk id << 32 | volume id */
    uint64_t hash;
    uint64_t round;
    uint32_t read_only_reasons; /* not part of the hash */
    bool is_stale;              /* tell it again even if the hash is the same */
    char *collection, *disk_type;
    MasterPb__VolumeShortInformationMessage brief;
    UT_hash_handle hh;
};

struct heartbeat_memory {
    struct told *table;
    uint64_t round;
    bool is_accepted;
    bool is_full_needed;
};

enum heartbeat_fate heartbeat_volume_fate(const struct volume_stat *stat, uint64_t size_limit,
                                          int64_t now_ns)
{
    if (stat->is_data_missing && stat->file_count > 0 && !(stat->read_only & VOLUME_RO_TIERED))
        return HEARTBEAT_HIDE;
    if (stat->read_only & VOLUME_RO_IO_ERROR)
        return HEARTBEAT_HIDE;
    if (size_limit == 0 || stat->dat_bytes <= 8 || !ttl_is_set(stat->ttl))
        return HEARTBEAT_REPORT;
    int64_t age_seconds = now_ns / 1000000000 - (int64_t)stat->modified_at_second;
    int64_t minutes = (int64_t)ttl_minutes(stat->ttl);
    if (age_seconds / 60 <= minutes)
        return HEARTBEAT_REPORT;
    int64_t grace = minutes / 10 < 10 ? minutes / 10 : 10;
    return age_seconds > (minutes + grace) * 60 ? HEARTBEAT_DESTROY : HEARTBEAT_HIDE;
}

void heartbeat_describe(MasterPb__VolumeInformationMessage *ret, uint32_t id,
                        const char *collection, const char *disk_type, uint32_t disk_id,
                        const struct volume_stat *stat)
{
    master_pb__volume_information_message__init(ret);
    ret->id = id;
    ret->size = stat->dat_bytes;
    ret->collection = (char *)(uintptr_t)collection; /* messages only lend their strings */
    ret->file_count = stat->file_count;
    ret->delete_count = stat->deletion_count;
    ret->deleted_byte_count = stat->deletion_bytes;
    ret->read_only = stat->read_only != 0;
    ret->read_only_reasons = stat->read_only;
    ret->read_only_can_delete =
        (stat->read_only & (VOLUME_RO_OPERATOR_CAN_DELETE | VOLUME_RO_TIERED)) != 0;
    ret->replica_placement = replica_placement_to_byte(stat->replica_placement);
    ret->version = stat->version;
    ret->ttl = ttl_to_u32(stat->ttl);
    ret->compact_revision = stat->compact_revision;
    ret->modified_at_second = (int64_t)stat->modified_at_second;
    ret->disk_type = (char *)(uintptr_t)disk_type;
    ret->disk_id = disk_id;
}

void heartbeat_describe_short(MasterPb__VolumeShortInformationMessage *ret,
                              const MasterPb__VolumeInformationMessage *volume)
{
    master_pb__volume_short_information_message__init(ret);
    ret->id = volume->id;
    ret->collection = volume->collection;
    ret->replica_placement = volume->replica_placement;
    ret->version = volume->version;
    ret->ttl = volume->ttl;
    ret->disk_type = volume->disk_type;
    ret->disk_id = volume->disk_id;
    ret->read_only = volume->read_only;
    ret->read_only_can_delete = volume->read_only_can_delete;
}

struct heartbeat_memory *heartbeat_memory_create(void)
{
    struct heartbeat_memory *memory = must(calloc(1, sizeof(*memory)));
    memory->is_full_needed = true;
    return memory;
}

static void drop(struct heartbeat_memory *memory, struct told *told)
{
    HASH_DEL(memory->table, told);
    free(told->collection);
    free(told->disk_type);
    free(told);
}

void heartbeat_memory_reset(struct heartbeat_memory *memory)
{
    struct told *told, *next;
    HASH_ITER(hh, memory->table, told, next)
        drop(memory, told);
    memory->is_accepted = false;
    memory->is_full_needed = true;
}

void heartbeat_memory_destroy(struct heartbeat_memory *memory)
{
    if (!memory)
        return;
    heartbeat_memory_reset(memory);
    free(memory);
}

void heartbeat_memory_accept(struct heartbeat_memory *memory) { memory->is_accepted = true; }

void heartbeat_memory_request_full(struct heartbeat_memory *memory)
{
    memory->is_full_needed = true;
}

void heartbeat_memory_forget(struct heartbeat_memory *memory, uint32_t disk_id, uint32_t id)
{
    uint64_t place = (uint64_t)disk_id << 32 | id;
    struct told *told;
    HASH_FIND(hh, memory->table, &place, sizeof(place), told);
    if (told)
        told->is_stale = true;
}

static uint64_t hash_of(const MasterPb__VolumeInformationMessage *volume)
{
    struct volume_record record = {
        .collection = volume->collection,
        .disk_type = volume->disk_type,
        .remote_storage_name = volume->remote_storage_name,
        .size = volume->size,
        .file_count = volume->file_count,
        .delete_count = volume->delete_count,
        .deleted_byte_count = volume->deleted_byte_count,
        .modified_at_second = volume->modified_at_second,
        .id = volume->id,
        .ttl = volume->ttl,
        .compact_revision = volume->compact_revision,
        .disk_id = volume->disk_id,
        .replica_placement = volume->replica_placement,
        .version = volume->version,
        .read_only = volume->read_only,
        .read_only_can_delete = volume->read_only_can_delete,
    };
    return volume_digest_of(&record);
}

/* Whether the master has to be told of it. */
static bool remember(struct heartbeat_memory *memory,
                     const MasterPb__VolumeInformationMessage *volume, uint64_t hash)
{
    uint64_t place = (uint64_t)volume->disk_id << 32 | volume->id;
    struct told *told;
    HASH_FIND(hh, memory->table, &place, sizeof(place), told);
    bool is_new = !told;
    if (is_new) {
        told = must(calloc(1, sizeof(*told)));
        told->place = place;
        HASH_ADD(hh, memory->table, place, sizeof(told->place), told);
    }
    told->round = memory->round;
    if (!is_new && told->hash == hash && !told->is_stale &&
        told->read_only_reasons == volume->read_only_reasons)
        return false;
    told->hash = hash;
    told->read_only_reasons = volume->read_only_reasons;
    told->is_stale = false;
    free(told->collection);
    free(told->disk_type);
    told->collection = must(strdup(volume->collection));
    told->disk_type = must(strdup(volume->disk_type));
    heartbeat_describe_short(&told->brief, volume);
    told->brief.collection = told->collection;
    told->brief.disk_type = told->disk_type;
    return true;
}

static MasterPb__VolumeShortInformationMessage *copy_brief(const struct told *told,
                                                           struct arena *arena)
{
    MasterPb__VolumeShortInformationMessage *brief = arena_alloc(arena, sizeof(*brief));
    *brief = told->brief;
    brief->collection = arena_strndup(arena, told->collection, strlen(told->collection));
    brief->disk_type = arena_strndup(arena, told->disk_type, strlen(told->disk_type));
    return brief;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* Whatever was told once and is not on any disk now. A copy that moved to another disk of this
 * server has not departed. */
static void collect_departed(struct heartbeat_memory *memory, const uint32_t *held,
                             size_t held_count, bool is_full, struct arena *arena,
                             MasterPb__Heartbeat *beat)
{
    size_t departed = 0;
    struct told *told, *next;
    HASH_ITER(hh, memory->table, told, next)
        departed += told->round != memory->round;
    if (departed == 0)
        return;
    beat->deleted_volumes = arena_alloc(arena, departed * sizeof(*beat->deleted_volumes));
    HASH_ITER(hh, memory->table, told, next) {
        if (told->round == memory->round)
            continue;
        bool is_elsewhere =
            held_count > 0 &&
            bsearch(&told->brief.id, held, held_count, sizeof(*held), compare_ids) != NULL;
        if (!is_full && !is_elsewhere)
            beat->deleted_volumes[beat->n_deleted_volumes++] = copy_brief(told, arena);
        drop(memory, told);
    }
}

void heartbeat_memory_report(struct heartbeat_memory *memory,
                             MasterPb__VolumeInformationMessage *volumes, size_t count,
                             struct arena *arena, MasterPb__Heartbeat *beat)
{
    bool is_full = memory->is_full_needed || !memory->is_accepted;
    memory->is_full_needed = false;
    memory->round++;
    uint64_t digest = 0;
    MasterPb__VolumeInformationMessage **list = arena_alloc(arena, (count + 1) * sizeof(*list));
    uint32_t *held = arena_alloc(arena, (count + 1) * sizeof(*held));
    size_t listed = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t hash = hash_of(&volumes[i]);
        digest ^= hash;
        held[i] = volumes[i].id;
        if (remember(memory, &volumes[i], hash) || is_full)
            list[listed++] = &volumes[i];
    }
    qsort(held, count, sizeof(*held), compare_ids);
    collect_departed(memory, held, count, is_full, arena, beat);
    if (is_full) {
        beat->volumes = list;
        beat->n_volumes = listed;
        beat->has_no_volumes = count == 0;
    } else {
        beat->changed_volumes = list;
        beat->n_changed_volumes = listed;
        beat->has_no_volumes = false; /* a quiet beat must not read as an empty server */
    }
    beat->_volume_digest_case = MASTER_PB__HEARTBEAT___VOLUME_DIGEST_VOLUME_DIGEST;
    beat->volume_digest = digest;
}
