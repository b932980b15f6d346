/* volume.list: the topology as a tree, in the peer's words, so that scripts that read it go on. */
#include "cli/cluster_view.h"
#include "cli/shell_commands.h"
#include "common/replica_placement.h"
#include "common/ttl.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *collection_pattern, *wanted_node, *wanted_center, *wanted_rack;
static int64_t wanted_volume;
static bool read_only_only, writable_only;

static const struct config_flag flags[] = {
    {"collectionPattern", CONFIG_STRING, &collection_pattern, NULL,
     "only volumes of this collection; \"_default\" for those without one"},
    {"dataCenter", CONFIG_STRING, &wanted_center, NULL, "only this data center"},
    {"rack", CONFIG_STRING, &wanted_rack, NULL, "only this rack"},
    {"dataNode", CONFIG_STRING, &wanted_node, NULL, "only this server"},
    {"volumeId", CONFIG_INT, &wanted_volume, NULL, "only this volume"},
    {"readonly", CONFIG_BOOL, &read_only_only, NULL, "only volumes that take no writes"},
    {"writable", CONFIG_BOOL, &writable_only, NULL, "only volumes that take writes"},
    {"v", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
};

struct totals {
    uint64_t size, files, deleted_files, deleted_bytes;
};

static void add_totals(struct totals *sum, const struct totals *part)
{
    sum->size += part->size;
    sum->files += part->files;
    sum->deleted_files += part->deleted_files;
    sum->deleted_bytes += part->deleted_bytes;
}

static bool is_wanted(const char *filter, const char *value)
{
    return !*filter || strcmp(filter, value) == 0;
}

static bool is_volume_wanted(const MasterPb__VolumeInformationMessage *volume)
{
    const char *collection = strcmp(collection_pattern, "_default") == 0 ? "" : collection_pattern;
    if (*collection_pattern && strcmp(collection, volume->collection) != 0)
        return false;
    return (wanted_volume == 0 || wanted_volume == volume->id) &&
           (!read_only_only || volume->read_only) && (!writable_only || !volume->read_only);
}

static void print_level(FILE *out, int depth, const char *level, const char *id,
                        struct cluster_disks disks)
{
    fprintf(out, "%*s%s %s", depth * 2, "", level, id);
    cluster_disks_print(out, &disks);
    fprintf(out, "\n");
}

static void print_totals(FILE *out, int depth, const char *level, const char *id,
                         const struct totals *totals)
{
    fprintf(out,
            "%*s%s %s {Size:%" PRIu64 " FileCount:%" PRIu64 " DeletedFileCount:%" PRIu64
            " DeletedBytes:%" PRIu64 "} \n",
            depth * 2, "", level, id, totals->size, totals->files, totals->deleted_files,
            totals->deleted_bytes);
}

static void print_volume(FILE *out, const MasterPb__VolumeInformationMessage *v)
{
    char placement[10], ttl[8];
    replica_placement_format(replica_placement_from_byte((uint8_t)v->replica_placement), placement);
    ttl_format(ttl_from_u32(v->ttl), ttl);
    fprintf(out,
            "          volume Id:%u, Size:%" PRIu64 ", ReplicaPlacement:%s, Collection:%s, Version:%u, "
            "Ttl:%s, FileCount:%" PRIu64 ", DeleteCount:%" PRIu64 ", DeletedByteCount:%" PRIu64
            ", ReadOnly:%s, ModifiedAtSecond:%" PRId64 " \n",
            v->id, v->size, placement, v->collection, v->version, ttl, v->file_count, v->delete_count,
            v->deleted_byte_count, v->read_only ? "true" : "false", v->modified_at_second);
}

static int compare_ids(const void *a, const void *b)
{
    const MasterPb__VolumeInformationMessage *const *x = a, *const *y = b;
    return ((*x)->id > (*y)->id) - ((*x)->id < (*y)->id);
}

/* A master lists volumes in no order; a reader wants them by id. */
static int sort_volumes(void *ctx, const MasterPb__DataCenterInfo *center, const MasterPb__RackInfo *rack,
                        const MasterPb__DataNodeInfo *node)
{
    (void)ctx, (void)center, (void)rack;
    struct cluster_disks disks = cluster_disks_of_node(node);
    for (size_t i = 0; i < disks.count; i++)
        if (disks.items[i]->n_volume_infos > 0)
            qsort(disks.items[i]->volume_infos, disks.items[i]->n_volume_infos,
                  sizeof(struct MasterPb__VolumeInformationMessage *), compare_ids);
    return 0;
}

static struct totals print_disk(FILE *out, const MasterPb__DiskInfo *disk)
{
    struct totals totals = {0};
    struct cluster_disks one = {1, {disk}};
    fprintf(out, "        Disk");
    cluster_disks_print(out, &one);
    fprintf(out, " id:%u\n", disk->disk_id);
    for (size_t i = 0; i < disk->n_volume_infos; i++) {
        const MasterPb__VolumeInformationMessage *v = disk->volume_infos[i];
        if (!is_volume_wanted(v))
            continue;
        print_volume(out, v);
        struct totals part = {v->size, v->file_count, v->delete_count, v->deleted_byte_count};
        add_totals(&totals, &part);
    }
    for (size_t i = 0; i < disk->n_ec_shard_infos; i++) {
        const MasterPb__VolumeEcShardInformationMessage *ec = disk->ec_shard_infos[i];
        if ((wanted_volume != 0 && wanted_volume != ec->id) || !is_wanted(collection_pattern, ec->collection))
            continue;
        fprintf(out, "          ec volume id:%u collection:%s shards:[", ec->id, ec->collection);
        const char *blank = "";
        for (unsigned shard = 0; shard < 32; shard++)
            if (ec->ec_index_bits >> shard & 1) {
                fprintf(out, "%s%u", blank, shard);
                blank = " ";
            }
        fprintf(out, "]\n");
    }
    print_totals(out, 4, "Disk", cluster_disk_type(disk), &totals);
    return totals;
}

static struct totals print_node(FILE *out, const MasterPb__DataNodeInfo *node)
{
    struct totals totals = {0};
    struct cluster_disks disks = cluster_disks_of_node(node);
    print_level(out, 3, "DataNode", node->id, disks);
    for (size_t i = 0; i < disks.count; i++) {
        struct totals part = print_disk(out, disks.items[i]);
        add_totals(&totals, &part);
    }
    print_totals(out, 3, "DataNode", node->id, &totals);
    return totals;
}

static struct totals print_rack(FILE *out, const MasterPb__RackInfo *rack)
{
    struct totals totals = {0};
    print_level(out, 2, "Rack", rack->id, cluster_disks_of_rack(rack));
    for (size_t i = 0; i < rack->n_data_node_infos; i++) {
        if (!is_wanted(wanted_node, rack->data_node_infos[i]->id))
            continue;
        struct totals part = print_node(out, rack->data_node_infos[i]);
        add_totals(&totals, &part);
    }
    print_totals(out, 2, "Rack", rack->id, &totals);
    return totals;
}

static struct totals print_data_center(FILE *out, const MasterPb__DataCenterInfo *center)
{
    struct totals totals = {0};
    print_level(out, 1, "DataCenter", center->id, cluster_disks_of_data_center(center));
    for (size_t i = 0; i < center->n_rack_infos; i++) {
        if (!is_wanted(wanted_rack, center->rack_infos[i]->id))
            continue;
        struct totals part = print_rack(out, center->rack_infos[i]);
        add_totals(&totals, &part);
    }
    print_totals(out, 1, "DataCenter", center->id, &totals);
    return totals;
}

static void print_tree(FILE *out, const MasterPb__VolumeListResponse *view)
{
    const MasterPb__TopologyInfo *topology = view->topology_info;
    struct totals totals = {0};
    cluster_view_print_head(out, view);
    for (size_t i = 0; i < topology->n_data_center_infos; i++) {
        if (!is_wanted(wanted_center, topology->data_center_infos[i]->id))
            continue;
        struct totals part = print_data_center(out, topology->data_center_infos[i]);
        add_totals(&totals, &part);
    }
    fprintf(out, "total size:%" PRIu64 " file_count:%" PRIu64, totals.size, totals.files);
    if (totals.deleted_files > 0)
        fprintf(out, " deleted_file:%" PRIu64 " deleted_bytes:%" PRIu64, totals.deleted_files,
                totals.deleted_bytes);
    fprintf(out, " \n");
}

/* One flat row a volume: what a program wants to filter. */
static int add_node_rows(void *ctx, const MasterPb__DataCenterInfo *center, const MasterPb__RackInfo *rack,
                         const MasterPb__DataNodeInfo *node)
{
    struct json_object *rows = ctx;
    if (!is_wanted(wanted_center, center->id) || !is_wanted(wanted_rack, rack->id) ||
        !is_wanted(wanted_node, node->id))
        return 0;
    struct cluster_disks disks = cluster_disks_of_node(node);
    for (size_t d = 0; d < disks.count; d++) {
        for (size_t i = 0; i < disks.items[d]->n_volume_infos; i++) {
            const MasterPb__VolumeInformationMessage *v = disks.items[d]->volume_infos[i];
            if (!is_volume_wanted(v))
                continue;
            char placement[10], ttl[8];
            replica_placement_format(replica_placement_from_byte((uint8_t)v->replica_placement),
                                     placement);
            ttl_format(ttl_from_u32(v->ttl), ttl);
            struct json_object *row = json_object_new_object();
            json_object_object_add(row, "id", json_object_new_uint64(v->id));
            json_object_object_add(row, "dataCenter", json_object_new_string(center->id));
            json_object_object_add(row, "rack", json_object_new_string(rack->id));
            json_object_object_add(row, "node", json_object_new_string(node->id));
            json_object_object_add(row, "diskType",
                                   json_object_new_string(cluster_disk_type(disks.items[d])));
            json_object_object_add(row, "collection", json_object_new_string(v->collection));
            json_object_object_add(row, "replication", json_object_new_string(placement));
            json_object_object_add(row, "ttl", json_object_new_string(ttl));
            json_object_object_add(row, "size", json_object_new_uint64(v->size));
            json_object_object_add(row, "fileCount", json_object_new_uint64(v->file_count));
            json_object_object_add(row, "deleteCount", json_object_new_uint64(v->delete_count));
            json_object_object_add(row, "deletedBytes", json_object_new_uint64(v->deleted_byte_count));
            json_object_object_add(row, "readOnly", json_object_new_boolean(v->read_only));
            json_object_object_add(row, "compactRevision", json_object_new_uint64(v->compact_revision));
            json_object_object_add(row, "modifiedAtSecond",
                                   json_object_new_int64(v->modified_at_second));
            json_object_array_add(rows, row);
        }
    }
    return 0;
}

static int run(struct shell *shell, struct error *err)
{
    MasterPb__VolumeListResponse *view;
    int code = cluster_view_read(shell, &view, err);
    if (code != 0)
        return code;
    cluster_view_each_node(view, sort_volumes, NULL);
    if (shell->is_json) {
        struct json_object *document = json_object_new_object();
        struct json_object *rows = json_object_new_array();
        cluster_view_each_node(view, add_node_rows, rows);
        json_object_object_add(document, "volumeSizeLimitMB",
                               json_object_new_uint64(view->volume_size_limit_mb));
        json_object_object_add(document, "volumes", rows);
        shell_print_json(shell, document);
    } else {
        print_tree(shell->out, view);
    }
    shell_free_message(view);
    return 0;
}

static const struct config_command config = {
    .name = "volume.list",
    .summary = "list all volumes as a tree of data center > rack > server > disk",
    .usage = "-collectionPattern=pictures -readonly",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

const struct shell_command shell_volume_list = {&config, false, run};
