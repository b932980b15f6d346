/* One walk down the tree. Counters are always those of everything; the request's filters choose the
 * records only. All texts are copied: records may change once the lock is dropped. Source:
 * spec/master-rpc.md 11. */
#include "master/volume_list.h"

#include "common/check.h"
#include "master/heartbeat_message.h"

#include <string.h>

struct list_builder {
    const struct topology *topology;
    const MasterPb__VolumeListRequest *request;
    struct arena *arena;
    bool has_records;
    const char *last_text; /* records of one disk mostly share their texts: copied once */
    char *last_copy;
};

static char *copy_text(struct list_builder *b, const char *text)
{
    if (!text || !*text)
        return (char *)protobuf_c_empty_string;
    if (text != b->last_text) {
        b->last_text = text;
        b->last_copy = arena_strndup(b->arena, text, strlen(text));
    }
    return b->last_copy;
}

static void *zeroed_array(struct list_builder *b, size_t count)
{
    return arena_calloc(b->arena, (count + 1) * sizeof(void *));
}

/* ---- Records --------------------------------------------------------------------------------- */

static bool wants_collection(const MasterPb__VolumeListRequest *request, const char *collection)
{
    if (*request->collection)
        return strcmp(request->collection, collection) == 0;
    return !request->default_collection_only || !*collection;
}

static bool wants_id(const MasterPb__VolumeListRequest *request, uint32_t id)
{
    bool is_filtered = false;
    for (size_t i = 0; i < request->n_volume_ids; i++) {
        if (request->volume_ids[i] == id)
            return true;
        is_filtered |= request->volume_ids[i] != 0;
    }
    return !is_filtered;
}

static bool wants_volume(const MasterPb__VolumeListRequest *request, const struct volume_record *v)
{
    const char *remote = v->remote_storage_name ? v->remote_storage_name : "";
    if (*request->remote_storage_name && strcmp(request->remote_storage_name, remote) != 0)
        return false;
    if (request->local_volume_only && *remote)
        return false;
    return wants_id(request, v->id) &&
           wants_collection(request, v->collection ? v->collection : "");
}

static bool wants_ec(const MasterPb__VolumeListRequest *request, const struct ec_record *e)
{
    return !*request->remote_storage_name && wants_id(request, e->id) &&
           wants_collection(request, e->collection ? e->collection : "");
}

static void add_volumes(struct list_builder *b, const struct data_node *node, size_t type,
                        MasterPb__DiskInfo *info)
{
    size_t count = data_node_volume_count(node, type);
    info->volume_infos = zeroed_array(b, count);
    for (size_t i = 0; i < count; i++) {
        const struct volume_record *record = data_node_volume(node, type, i);
        if (!wants_volume(b->request, record))
            continue;
        MasterPb__VolumeInformationMessage *message = arena_alloc(b->arena, sizeof(*message));
        heartbeat_message_volume(record, message);
        message->collection = copy_text(b, record->collection);
        message->remote_storage_name = copy_text(b, record->remote_storage_name);
        message->disk_type = info->type;
        info->volume_infos[info->n_volume_infos++] = message;
    }
}

static void add_ec(struct list_builder *b, const struct data_node *node, size_t type,
                   MasterPb__DiskInfo *info)
{
    size_t count = data_node_ec_count(node, type);
    info->ec_shard_infos = zeroed_array(b, count);
    for (size_t i = 0; i < count; i++) {
        const struct ec_record *record = data_node_ec(node, type, i);
        if (!wants_ec(b->request, record))
            continue;
        MasterPb__VolumeEcShardInformationMessage *message =
            arena_alloc(b->arena, sizeof(*message));
        heartbeat_message_ec(record, message);
        message->collection = copy_text(b, record->collection);
        message->disk_type = info->type;
        size_t size = record->size_count * sizeof(*record->shard_sizes);
        message->shard_sizes = arena_alloc(b->arena, size + 1);
        if (size > 0)
            memcpy(message->shard_sizes, record->shard_sizes, size);
        info->ec_shard_infos[info->n_ec_shard_infos++] = message;
    }
}

/* ---- Disks ----------------------------------------------------------------------------------- */

static uint32_t lowest_disk_id(const struct data_node *node, size_t type)
{
    uint32_t lowest = UINT32_MAX;
    for (size_t i = 0; i < data_node_volume_count(node, type); i++)
        if (data_node_volume(node, type, i)->disk_id < lowest)
            lowest = data_node_volume(node, type, i)->disk_id;
    for (size_t i = 0; lowest == UINT32_MAX && i < data_node_ec_count(node, type); i++)
        if (data_node_ec(node, type, i)->disk_id < lowest)
            lowest = data_node_ec(node, type, i)->disk_id;
    return lowest == UINT32_MAX ? 0 : lowest;
}

static void add_tags(struct list_builder *b, const struct disk_tag *tag, MasterPb__DiskInfo *info)
{
    info->tags = zeroed_array(b, tag->tag_count);
    for (size_t i = 0; i < tag->tag_count; i++)
        info->tags[info->n_tags++] = arena_strndup(b->arena, tag->tags[i], strlen(tag->tags[i]));
}

static void add_physical_disks(struct list_builder *b, const struct data_node *node,
                               MasterPb__DiskInfo *info)
{
    size_t count;
    const struct disk_tag *tags = data_node_disk_tags(node, &count);
    bool has_max = false;
    MasterPb__DiskInfo__MaxVolumeCountByDiskEntry **entries = zeroed_array(b, count);
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tags[i].disk_type, info->type) != 0)
            continue;
        if (tags[i].disk_id == info->disk_id)
            add_tags(b, &tags[i], info);
        has_max |= tags[i].max_volume_count > 0;
        entries[n] = arena_alloc(b->arena, sizeof(**entries));
        master_pb__disk_info__max_volume_count_by_disk_entry__init(entries[n]);
        entries[n]->key = tags[i].disk_id;
        entries[n]->value = tags[i].max_volume_count;
        n++;
    }
    if (has_max) {
        info->max_volume_count_by_disk = entries;
        info->n_max_volume_count_by_disk = n;
    }
}

static MasterPb__DiskInfo *make_disk(struct list_builder *b, const struct place *place, size_t type,
                                     const struct disk_usage *usage)
{
    MasterPb__DiskInfo *info = arena_alloc(b->arena, sizeof(*info));
    master_pb__disk_info__init(info);
    info->volume_count = usage->volumes;
    info->max_volume_count = usage->max;
    info->free_volume_count = disk_usage_free_slots(usage);
    info->active_volume_count = usage->active;
    info->remote_volume_count = usage->remote;
    info->disk_total_bytes = usage->total_bytes;
    info->disk_free_bytes = usage->free_bytes;
    const struct data_node *node = place_node(place);
    if (!node)
        return info;
    const char *name = topology_disk_type_name(b->topology, type);
    info->type = arena_strndup(b->arena, name, strlen(name));
    info->disk_id = lowest_disk_id(node, type);
    add_physical_disks(b, node, info);
    if (b->has_records) {
        add_volumes(b, node, type, info);
        add_ec(b, node, type, info);
    }
    return info;
}

/* The four levels have map entries of four types with one and the same layout. */
struct disk_entry {
    ProtobufCMessage base;
    char *key;
    MasterPb__DiskInfo *value;
};
_Static_assert(sizeof(struct disk_entry) == sizeof(MasterPb__TopologyInfo__DiskInfosEntry) &&
                   offsetof(struct disk_entry, value) ==
                       offsetof(MasterPb__TopologyInfo__DiskInfosEntry, value),
               "map entries are laid out alike");

static void *make_disks(struct list_builder *b, const struct place *place,
                        const ProtobufCMessageDescriptor *descriptor, size_t *ret_count)
{
    size_t types = topology_disk_type_count(b->topology);
    struct disk_entry **entries = zeroed_array(b, types);
    size_t count = 0;
    for (size_t type = 0; type < types; type++) {
        struct disk_usage usage;
        if (!place_usage(place, type, &usage))
            continue;
        /* A type that somebody once asked for or offered, and that nobody has now, would make the
         * shell's cluster check fail. */
        if (place_kind(place) != PLACE_NODE && usage.max == 0 && usage.volumes == 0 &&
            usage.ec_shards == 0)
            continue;
        struct disk_entry *entry = arena_alloc(b->arena, sizeof(*entry));
        protobuf_c_message_init(descriptor, entry);
        const char *name = topology_disk_type_name(b->topology, type);
        entry->key = arena_strndup(b->arena, name, strlen(name));
        entry->value = make_disk(b, place, type, &usage);
        entries[count++] = entry;
    }
    *ret_count = count;
    return entries;
}

/* ---- Places ---------------------------------------------------------------------------------- */

static char *copy_id(struct list_builder *b, const struct place *place)
{
    return arena_strndup(b->arena, place_id(place), strlen(place_id(place)));
}

static MasterPb__DataNodeInfo *make_node(struct list_builder *b, const struct place *place)
{
    MasterPb__DataNodeInfo *info = arena_alloc(b->arena, sizeof(*info));
    master_pb__data_node_info__init(info);
    struct data_node_info node;
    data_node_info(place_node(place), &node);
    info->id = copy_id(b, place);
    info->grpc_port = node.grpc_port;
    info->address = arena_strndup(b->arena, node.url, strlen(node.url));
    info->diskinfos = make_disks(b, place, &master_pb__data_node_info__disk_infos_entry__descriptor,
                                 &info->n_diskinfos);
    return info;
}

static MasterPb__RackInfo *make_rack(struct list_builder *b, const struct place *place)
{
    MasterPb__RackInfo *info = arena_alloc(b->arena, sizeof(*info));
    master_pb__rack_info__init(info);
    info->id = copy_id(b, place);
    info->n_data_node_infos = place_child_count(place);
    info->data_node_infos = zeroed_array(b, info->n_data_node_infos);
    for (size_t i = 0; i < info->n_data_node_infos; i++)
        info->data_node_infos[i] = make_node(b, place_child(place, i));
    info->diskinfos = make_disks(b, place, &master_pb__rack_info__disk_infos_entry__descriptor,
                                 &info->n_diskinfos);
    return info;
}

static MasterPb__DataCenterInfo *make_data_center(struct list_builder *b, const struct place *place)
{
    MasterPb__DataCenterInfo *info = arena_alloc(b->arena, sizeof(*info));
    master_pb__data_center_info__init(info);
    info->id = copy_id(b, place);
    info->n_rack_infos = place_child_count(place);
    info->rack_infos = zeroed_array(b, info->n_rack_infos);
    for (size_t i = 0; i < info->n_rack_infos; i++)
        info->rack_infos[i] = make_rack(b, place_child(place, i));
    info->diskinfos = make_disks(
        b, place, &master_pb__data_center_info__disk_infos_entry__descriptor, &info->n_diskinfos);
    return info;
}

MasterPb__TopologyInfo *volume_list_build(const struct topology *t,
                                          const MasterPb__VolumeListRequest *request,
                                          bool is_header, struct arena *arena)
{
    struct list_builder b = {.topology = t,
                             .request = request,
                             .arena = arena,
                             .has_records = !is_header && !request->topology_only};
    const struct place *root = topology_root(t);
    MasterPb__TopologyInfo *info = arena_alloc(arena, sizeof(*info));
    master_pb__topology_info__init(info);
    info->id = copy_id(&b, root);
    info->n_data_center_infos = place_child_count(root);
    info->data_center_infos = zeroed_array(&b, info->n_data_center_infos);
    for (size_t i = 0; i < info->n_data_center_infos; i++)
        info->data_center_infos[i] = make_data_center(&b, place_child(root, i));
    info->diskinfos = make_disks(&b, root, &master_pb__topology_info__disk_infos_entry__descriptor,
                                 &info->n_diskinfos);
    return info;
}
