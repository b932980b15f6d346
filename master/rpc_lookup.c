/* LookupVolume and LookupEcVolume. Texts are copied under the lock, the answer goes out without it.
 * Source: spec/master-rpc.md 8, 9. Queue threads. */
#include "master/rpc_handlers.h"

#include "common/arena.h"
#include "common/check.h"
#include "master/volume_lookup_text.h"
#include "proto/master.pb-c.h"

static char *copy(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

static MasterPb__Location *make_location(struct arena *arena, const struct data_node *node,
                                         const struct volume_record *record)
{
    MasterPb__Location *location = arena_alloc(arena, sizeof(*location));
    master_pb__location__init(location);
    struct data_node_info info;
    data_node_info(node, &info);
    location->url = copy(arena, info.url);
    location->public_url = copy(arena, info.public_url);
    location->data_center = copy(arena, info.data_center);
    location->grpc_port = info.grpc_port;
    if (record) {
        location->data_in_remote = record->remote_storage_name && *record->remote_storage_name;
        location->read_only = record->read_only;
        location->read_only_can_delete = record->read_only_can_delete;
    }
    return location;
}

/* Lock held. */
static void look_up(struct cluster *cluster, uint32_t id, const char *collection,
                    struct arena *arena,
                    MasterPb__LookupVolumeResponse__VolumeIdLocation *result)
{
    bool is_ec;
    size_t count = topology_lookup(cluster->topology, id, collection, NULL, 0, &is_ec);
    if (count == 0)
        return;
    struct topology_location *found = arena_alloc(arena, count * sizeof(*found));
    topology_lookup(cluster->topology, id, collection, found, count, &is_ec);
    result->locations = arena_alloc(arena, count * sizeof(void *));
    for (size_t i = 0; i < count; i++)
        result->locations[i] = make_location(arena, found[i].node, found[i].record);
    result->n_locations = count;
}

/* For a file id, a token for it: the whole id without "_N", so that a volume server takes it. (The peer
 * signs the volume id alone, which no server takes.) */
static char *make_token(struct services *s, struct slice text, struct arena *arena)
{
    char token[FILE_TOKEN_MAX];
    ptrdiff_t suffix = slice_find_last(text, '_');
    if (slice_find(text, ',') <= 0)
        return (char *)protobuf_c_empty_string;
    if (suffix > 0)
        text = slice_until(text, (size_t)suffix);
    return copy(arena, security_make_token(s->security, SECURITY_WRITE, text, token));
}

void master_rpc_lookup_volume(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__LookupVolumeRequest *request = (const MasterPb__LookupVolumeRequest *)message;
    MasterPb__LookupVolumeResponse response = MASTER_PB__LOOKUP_VOLUME_RESPONSE__INIT;
    struct arena arena;
    arena_init(&arena);
    size_t count = request->n_volume_or_file_ids;
    response.volume_id_locations = arena_calloc(&arena, (count + 1) * sizeof(void *));
    bool is_any_found = false, is_any_number = false;
    cluster_lock(s->cluster);
    int64_t warm_up_ns = topology_warm_up_left_ns(s->cluster->topology);
    for (size_t i = 0; i < count; i++) {
        MasterPb__LookupVolumeResponse__VolumeIdLocation *result =
            arena_alloc(&arena, sizeof(*result));
        master_pb__lookup_volume_response__volume_id_location__init(result);
        response.volume_id_locations[i] = result;
        struct slice text = volume_lookup_id_text(slice_cstr(request->volume_or_file_ids[i]));
        result->volume_or_file_id = arena_strndup(&arena, text.ptr, text.len);
        uint32_t id;
        if (!volume_lookup_parse(text, &id)) {
            result->error = arena_printf(&arena, "unknown volume id %s", result->volume_or_file_id);
            continue;
        }
        is_any_number = true;
        look_up(s->cluster, id, request->collection, &arena, result);
        is_any_found |= result->n_locations > 0;
        result->auth = make_token(s, slice_cstr(request->volume_or_file_ids[i]), &arena);
        if (result->n_locations == 0)
            result->error =
                arena_printf(&arena, "volume id %s not found", result->volume_or_file_id);
    }
    cluster_unlock(s->cluster);
    response.n_volume_id_locations = count;
    if (!is_any_found && is_any_number && warm_up_ns > 0)
        rpc_call_fail(call, RPC_UNAVAILABLE, "master is warming up, topology is still loading");
    else
        rpc_call_reply(call, &response.base);
    arena_fini(&arena);
}

/* ---- LookupEcVolume -------------------------------------------------------------------------- */

struct ec_builder {
    struct arena arena;
    MasterPb__LookupEcVolumeResponse__EcShardIdLocation *shards[EC_SHARD_IDS];
    size_t room[EC_SHARD_IDS];
};

static void add_holder(void *ctx, unsigned shard, const struct data_node *node)
{
    struct ec_builder *b = ctx;
    MasterPb__LookupEcVolumeResponse__EcShardIdLocation *entry = b->shards[shard];
    if (entry->n_locations == b->room[shard]) {
        size_t room = b->room[shard] ? 2 * b->room[shard] : 4;
        MasterPb__Location **larger = arena_alloc(&b->arena, room * sizeof(*larger));
        if (entry->n_locations > 0)
            memcpy(larger, entry->locations, entry->n_locations * sizeof(*larger));
        entry->locations = larger;
        b->room[shard] = room;
    }
    entry->locations[entry->n_locations++] = make_location(&b->arena, node, NULL);
}

void master_rpc_lookup_ec_volume(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__LookupEcVolumeRequest *request =
        (const MasterPb__LookupEcVolumeRequest *)message;
    struct ec_builder b = {.room = {0}};
    arena_init(&b.arena);
    /* Always all shard ids: volume servers count the entries. */
    for (unsigned i = 0; i < EC_SHARD_IDS; i++) {
        b.shards[i] = arena_alloc(&b.arena, sizeof(*b.shards[i]));
        master_pb__lookup_ec_volume_response__ec_shard_id_location__init(b.shards[i]);
        b.shards[i]->shard_id = i;
    }
    cluster_lock(s->cluster);
    bool is_known = topology_lookup_ec(s->cluster->topology, request->volume_id, add_holder, &b);
    cluster_unlock(s->cluster);
    if (is_known) {
        MasterPb__LookupEcVolumeResponse response = MASTER_PB__LOOKUP_EC_VOLUME_RESPONSE__INIT;
        response.volume_id = request->volume_id;
        response.shard_id_locations = b.shards;
        response.n_shard_id_locations = EC_SHARD_IDS;
        rpc_call_reply(call, &response.base);
    } else {
        rpc_call_fail(call, RPC_UNKNOWN, "ec volume %u not found", request->volume_id);
    }
    arena_fini(&b.arena);
}
