/* Field by field. Lists are as long as the message says; the message's size bounds them. */
#include "master/heartbeat_message.h"

#include "common/check.h"

static void *array(struct arena *arena, size_t count, size_t size)
{
    return count ? arena_calloc(arena, count * size) : NULL;
}

static const struct volume_record *read_volumes(struct arena *arena, size_t count,
                                                MasterPb__VolumeInformationMessage *const *volumes)
{
    struct volume_record *list = array(arena, count, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const MasterPb__VolumeInformationMessage *v = volumes[i];
        list[i] = (struct volume_record){
            .collection = v->collection,
            .disk_type = v->disk_type,
            .remote_storage_name = v->remote_storage_name,
            .size = v->size,
            .file_count = v->file_count,
            .delete_count = v->delete_count,
            .deleted_byte_count = v->deleted_byte_count,
            .modified_at_second = v->modified_at_second,
            .id = v->id,
            .ttl = v->ttl,
            .compact_revision = v->compact_revision,
            .disk_id = v->disk_id,
            .replica_placement = v->replica_placement,
            .version = v->version,
            .read_only = v->read_only,
            .read_only_reasons = v->read_only_reasons,
            .read_only_can_delete = v->read_only_can_delete,
        };
    }
    return list;
}

static const struct volume_record *
read_short(struct arena *arena, size_t count,
           MasterPb__VolumeShortInformationMessage *const *volumes)
{
    struct volume_record *list = array(arena, count, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const MasterPb__VolumeShortInformationMessage *v = volumes[i];
        list[i] = (struct volume_record){
            .collection = v->collection,
            .disk_type = v->disk_type,
            .remote_storage_name = "",
            .id = v->id,
            .ttl = v->ttl,
            .disk_id = v->disk_id,
            .replica_placement = v->replica_placement,
            .version = v->version,
            .read_only = v->read_only,
            .read_only_can_delete = v->read_only_can_delete,
        };
    }
    return list;
}

static const struct ec_record *read_ec(struct arena *arena, size_t count,
                                       MasterPb__VolumeEcShardInformationMessage *const *shards)
{
    struct ec_record *list = array(arena, count, sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const MasterPb__VolumeEcShardInformationMessage *e = shards[i];
        list[i] = (struct ec_record){
            .collection = e->collection,
            .disk_type = e->disk_type,
            .id = e->id,
            .disk_id = e->disk_id,
            .shard_bits = e->ec_index_bits,
            .expire_at_sec = e->expire_at_sec,
            .file_count = e->file_count,
            .delete_count = e->delete_count,
            .encode_ts_ns = e->encode_ts_ns,
            .shard_sizes = e->shard_sizes,
            .size_count = e->n_shard_sizes,
        };
    }
    return list;
}

static void read_disks(const MasterPb__Heartbeat *beat, struct arena *arena, struct heartbeat *ret)
{
    struct disk_type_count *counts;
#define COUNTS(field, count_field)                                                                 \
    counts = array(arena, beat->n_##field, sizeof(*counts));                                       \
    for (size_t i = 0; i < beat->n_##field; i++)                                                   \
        counts[i] = (struct disk_type_count){.disk_type = beat->field[i]->key,                     \
                                             .value = beat->field[i]->value};                      \
    ret->field = counts;                                                                           \
    ret->count_field = beat->n_##field;
    COUNTS(max_volume_counts, max_volume_count_count)
    COUNTS(disk_total_bytes, disk_total_bytes_count)
    COUNTS(disk_free_bytes, disk_free_bytes_count)
#undef COUNTS
    struct disk_tag *tags = array(arena, beat->n_disk_tags, sizeof(*tags));
    for (size_t i = 0; i < beat->n_disk_tags; i++)
        tags[i] = (struct disk_tag){
            .disk_id = beat->disk_tags[i]->disk_id,
            .disk_type = beat->disk_tags[i]->type,
            .max_volume_count = beat->disk_tags[i]->max_volume_count,
            .tags = (const char *const *)beat->disk_tags[i]->tags,
            .tag_count = beat->disk_tags[i]->n_tags,
        };
    ret->disk_tags = tags;
    ret->disk_tag_count = beat->n_disk_tags;
}

void heartbeat_message_read(const MasterPb__Heartbeat *beat, struct arena *arena,
                            struct heartbeat *ret)
{
    *ret = (struct heartbeat){
        .ip = beat->ip,
        .public_url = beat->public_url,
        .id = beat->id,
        .data_center = beat->data_center,
        .rack = beat->rack,
        .port = beat->port,
        .grpc_port = beat->grpc_port,
        .location_uuids = (const char *const *)beat->location_uuids,
        .location_uuid_count = beat->n_location_uuids,
        .volumes = read_volumes(arena, beat->n_volumes, beat->volumes),
        .volume_count = beat->n_volumes,
        .changed_volumes = read_volumes(arena, beat->n_changed_volumes, beat->changed_volumes),
        .changed_volume_count = beat->n_changed_volumes,
        .new_volumes = read_short(arena, beat->n_new_volumes, beat->new_volumes),
        .new_volume_count = beat->n_new_volumes,
        .deleted_volumes = read_short(arena, beat->n_deleted_volumes, beat->deleted_volumes),
        .deleted_volume_count = beat->n_deleted_volumes,
        .ec_shards = read_ec(arena, beat->n_ec_shards, beat->ec_shards),
        .ec_shard_count = beat->n_ec_shards,
        .new_ec_shards = read_ec(arena, beat->n_new_ec_shards, beat->new_ec_shards),
        .new_ec_shard_count = beat->n_new_ec_shards,
        .deleted_ec_shards = read_ec(arena, beat->n_deleted_ec_shards, beat->deleted_ec_shards),
        .deleted_ec_shard_count = beat->n_deleted_ec_shards,
        .has_no_volumes = beat->has_no_volumes,
        .has_no_ec_shards = beat->has_no_ec_shards,
        .has_state = beat->state != NULL,
        .is_in_maintenance = beat->state && beat->state->maintenance,
        .has_volume_digest =
            beat->_volume_digest_case == MASTER_PB__HEARTBEAT___VOLUME_DIGEST_VOLUME_DIGEST,
    };
    if (ret->has_volume_digest)
        ret->volume_digest = beat->volume_digest;
    read_disks(beat, arena, ret);
}

static char *text(const char *value)
{
    return value ? (char *)value : (char *)protobuf_c_empty_string;
}

void heartbeat_message_volume(const struct volume_record *record,
                              MasterPb__VolumeInformationMessage *ret)
{
    master_pb__volume_information_message__init(ret);
    ret->id = record->id;
    ret->size = record->size;
    ret->collection = text(record->collection);
    ret->file_count = record->file_count;
    ret->delete_count = record->delete_count;
    ret->deleted_byte_count = record->deleted_byte_count;
    ret->read_only = record->read_only;
    ret->replica_placement = record->replica_placement;
    ret->version = record->version;
    ret->ttl = record->ttl;
    ret->compact_revision = record->compact_revision;
    ret->modified_at_second = record->modified_at_second;
    ret->remote_storage_name = text(record->remote_storage_name);
    ret->disk_type = text(record->disk_type);
    ret->disk_id = record->disk_id;
    ret->read_only_can_delete = record->read_only_can_delete;
}

void heartbeat_message_ec(const struct ec_record *record,
                          MasterPb__VolumeEcShardInformationMessage *ret)
{
    master_pb__volume_ec_shard_information_message__init(ret);
    ret->id = record->id;
    ret->collection = text(record->collection);
    ret->ec_index_bits = record->shard_bits;
    ret->disk_type = text(record->disk_type);
    ret->expire_at_sec = record->expire_at_sec;
    ret->disk_id = record->disk_id;
    ret->shard_sizes = (int64_t *)record->shard_sizes;
    ret->n_shard_sizes = record->size_count;
    ret->file_count = record->file_count;
    ret->delete_count = record->delete_count;
    ret->encode_ts_ns = record->encode_ts_ns;
}
