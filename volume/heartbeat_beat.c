/* Every beat is built anew in an arena and packed by the stream before the arena goes. */
#include "volume/heartbeat_beat.h"

#include "common/check.h"
#include "volume/server_state.h"

#include <string.h>

/* Messages only lend their strings, but protobuf-c has no const. */
static char *lend(const char *text) { return (char *)(uintptr_t)text; }

struct collected {
    struct arena *arena;
    MasterPb__VolumeInformationMessage *volumes;
    size_t count, room; /* of each of the two lists */
    uint32_t *expired;
    size_t expired_count;
    uint64_t size_limit;
    int64_t now_ns;
    uint64_t max_key;
};

/* Volumes are mounted meanwhile, many of them while the server starts; none may be left out, or the master
 * would be told that it has gone. */
static void grow(struct collected *collected)
{
    size_t room = collected->room * 2;
    MasterPb__VolumeInformationMessage *volumes =
        arena_alloc(collected->arena, room * sizeof(*volumes));
    uint32_t *expired = arena_alloc(collected->arena, room * sizeof(*expired));
    memcpy(volumes, collected->volumes, collected->count * sizeof(*volumes));
    memcpy(expired, collected->expired, collected->expired_count * sizeof(*expired));
    collected->volumes = volumes;
    collected->expired = expired;
    collected->room = room;
}

static int collect_volume(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct collected *collected = ctx;
    struct disk_space space;
    disk_location_space(location, &space);
    if (space.is_unavailable)
        return 0;
    if (collected->count + collected->expired_count == collected->room)
        grow(collected);
    struct volume_stat stat;
    volume_stat(volume, &stat);
    if (!stat.is_data_missing && stat.max_key > collected->max_key)
        collected->max_key = stat.max_key;
    enum heartbeat_fate fate =
        heartbeat_volume_fate(&stat, collected->size_limit, collected->now_ns);
    if (fate == HEARTBEAT_DESTROY)
        collected->expired[collected->expired_count++] = volume_id(volume);
    if (fate != HEARTBEAT_REPORT)
        return 0;
    const char *collection = volume_collection(volume);
    heartbeat_describe(&collected->volumes[collected->count++], volume_id(volume),
                       arena_strndup(collected->arena, collection, strlen(collection)),
                       disk_location_disk_type(location), disk_location_id(location), &stat);
    return 0;
}

/* One entry a disk type, added up over its locations. */
struct type_sums {
    const char *type;
    uint32_t max;
    uint64_t total, free;
};

static size_t sum_types(struct store *store, struct type_sums *sums, MasterPb__DiskTag *tags)
{
    size_t type_count = 0;
    for (size_t i = 0; i < store_location_count(store); i++) {
        struct disk_location *location = store_location(store, i);
        struct disk_space space;
        disk_location_space(location, &space);
        const char *type = disk_location_disk_type(location);
        size_t t = 0;
        while (t < type_count && strcmp(sums[t].type, type) != 0)
            t++;
        if (t == type_count)
            sums[type_count++] = (struct type_sums){.type = type};
        uint32_t max = store_location_max(store, location);
        sums[t].max += max;
        if (!space.is_unavailable) {
            sums[t].total += space.total_bytes;
            sums[t].free += space.free_bytes;
        }
        size_t tag_count;
        const char *const *names = disk_location_tags(location, &tag_count);
        master_pb__disk_tag__init(&tags[i]);
        tags[i].disk_id = disk_location_id(location);
        tags[i].type = lend(type);
        tags[i].max_volume_count = max;
        tags[i].n_tags = tag_count;
        tags[i].tags = (char **)(uintptr_t)names;
    }
    return type_count;
}

static void add_disks(struct store *store, struct arena *arena, MasterPb__Heartbeat *beat)
{
    size_t count = store_location_count(store);
    struct type_sums *sums = arena_calloc(arena, count * sizeof(*sums));
    MasterPb__DiskTag *tags = arena_calloc(arena, count * sizeof(*tags));
    size_t types = sum_types(store, sums, tags);

    beat->location_uuids = arena_alloc(arena, count * sizeof(*beat->location_uuids));
    beat->disk_tags = arena_alloc(arena, count * sizeof(*beat->disk_tags));
    for (size_t i = 0; i < count; i++) {
        beat->location_uuids[i] = lend(disk_location_uuid(store_location(store, i)));
        beat->disk_tags[i] = &tags[i];
    }
    beat->n_location_uuids = beat->n_disk_tags = count;

    beat->max_volume_counts = arena_alloc(arena, types * sizeof(*beat->max_volume_counts));
    beat->disk_total_bytes = arena_alloc(arena, types * sizeof(*beat->disk_total_bytes));
    beat->disk_free_bytes = arena_alloc(arena, types * sizeof(*beat->disk_free_bytes));
    for (size_t t = 0; t < types; t++) {
        beat->max_volume_counts[t] = arena_alloc(arena, sizeof(**beat->max_volume_counts));
        master_pb__heartbeat__max_volume_counts_entry__init(beat->max_volume_counts[t]);
        beat->max_volume_counts[t]->key = lend(sums[t].type);
        beat->max_volume_counts[t]->value = sums[t].max;
        beat->disk_total_bytes[t] = arena_alloc(arena, sizeof(**beat->disk_total_bytes));
        master_pb__heartbeat__disk_total_bytes_entry__init(beat->disk_total_bytes[t]);
        beat->disk_total_bytes[t]->key = lend(sums[t].type);
        beat->disk_total_bytes[t]->value = sums[t].total;
        beat->disk_free_bytes[t] = arena_alloc(arena, sizeof(**beat->disk_free_bytes));
        master_pb__heartbeat__disk_free_bytes_entry__init(beat->disk_free_bytes[t]);
        beat->disk_free_bytes[t]->key = lend(sums[t].type);
        beat->disk_free_bytes[t]->value = sums[t].free;
    }
    beat->n_max_volume_counts = beat->n_disk_total_bytes = beat->n_disk_free_bytes = types;
}

void heartbeat_beat_brief(const struct heartbeat_identity *identity, MasterPb__Heartbeat *ret)
{
    master_pb__heartbeat__init(ret);
    ret->ip = lend(identity->ip);
    ret->port = identity->port;
    ret->data_center = lend(identity->data_center);
    ret->rack = lend(identity->rack);
}

void heartbeat_beat_farewell(const struct heartbeat_identity *identity, MasterPb__Heartbeat *ret)
{
    heartbeat_beat_brief(identity, ret);
    ret->public_url = lend(identity->public_url);
    ret->has_no_volumes = true;
}

void heartbeat_beat_add_state(struct server_state *state, struct arena *arena,
                              MasterPb__Heartbeat *beat)
{
    bool maintenance;
    uint32_t version;
    server_state_get(state, &maintenance, &version);
    beat->state = arena_alloc(arena, sizeof(*beat->state));
    volume_server_pb__volume_server_state__init(beat->state);
    beat->state->maintenance = maintenance;
    beat->state->version = version;
}

void heartbeat_beat_volumes(const struct heartbeat_identity *identity, struct store *store,
                            struct server_state *state, struct heartbeat_memory *memory,
                            struct arena *arena, MasterPb__Heartbeat *ret,
                            struct heartbeat_expired *ret_expired)
{
    size_t room = store_volume_count(store) + 16;
    struct collected collected = {
        .arena = arena,
        .volumes = arena_alloc(arena, room * sizeof(MasterPb__VolumeInformationMessage)),
        .room = room,
        .expired = arena_alloc(arena, room * sizeof(uint32_t)),
        .size_limit = store_volume_size_limit(store),
        .now_ns = os_now_ns(os_real()),
    };
    store_for_each(store, collect_volume, &collected);

    heartbeat_beat_brief(identity, ret);
    ret->grpc_port = identity->grpc_port;
    ret->public_url = lend(identity->public_url);
    ret->id = lend(identity->id);
    ret->max_file_key = collected.max_key;
    ret->has_no_ec_shards = true;
    add_disks(store, arena, ret);
    heartbeat_beat_add_state(state, arena, ret);
    heartbeat_memory_report(memory, collected.volumes, collected.count, arena, ret);
    ret_expired->ids = collected.expired;
    ret_expired->count = collected.expired_count;
}
