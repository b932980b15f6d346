/* /dir/status and /vol/status: the whole tree as JSON. Large on large clusters, so made on a
 * worker. Source: spec/master-http.md 4. */
#include "master/http_status.h"

#include "common/check.h"
#include "master/http_reply.h"
#include "master/http_routes.h"
#include "master/volume_layout.h"

#define IDS_LISTED_MAX 100u

/* ---- /dir/status ----------------------------------------------------------------------------- */

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* " 1-3 5 7-10": sorted, ranges joined, the first hundred ids only. */
static void append_ids(struct buffer *out, const struct data_node *node, size_t type)
{
    size_t count = data_node_volume_count(node, type);
    uint32_t *ids = must(malloc((count + 1) * sizeof(*ids)));
    for (size_t i = 0; i < count; i++)
        ids[i] = data_node_volume(node, type, i)->id;
    qsort(ids, count, sizeof(*ids), compare_ids);
    size_t listed = count < IDS_LISTED_MAX ? count : IDS_LISTED_MAX;
    buffer_append_char(out, ' ');
    for (size_t i = 0; i < listed;) {
        size_t last = i;
        while (last + 1 < listed && ids[last + 1] == ids[last] + 1)
            last++;
        buffer_printf(out, last > i ? "%s%u-%u" : "%s%u", i ? " " : "", ids[i], ids[last]);
        i = last + 1;
    }
    if (count > listed)
        buffer_append_text(out, " ...");
    free(ids);
}

static void write_node(const struct topology *t, const struct place *place, struct json_writer *w)
{
    const struct data_node *node = place_node(place);
    struct data_node_info info;
    data_node_info(node, &info);
    int64_t volumes = 0, ec_shards = 0;
    struct buffer ids = BUFFER_INIT;
    for (size_t type = 0; type < topology_disk_type_count(t); type++) {
        struct disk_usage usage;
        if (!place_usage(place, type, &usage))
            continue;
        volumes += usage.volumes;
        ec_shards += usage.ec_shards;
        append_ids(&ids, node, type);
    }
    json_writer_begin_object(w);
    json_writer_member_text(w, "Url", info.url);
    json_writer_member_text(w, "PublicUrl", info.public_url);
    json_writer_member_int(w, "Volumes", volumes);
    json_writer_member_int(w, "EcShards", ec_shards);
    json_writer_member_int(w, "Max", place_max_slots(place));
    json_writer_member_string(w, "VolumeIds", buffer_slice(&ids));
    json_writer_end_object(w);
    buffer_fini(&ids);
}

static int compare_urls(const void *a, const void *b)
{
    struct data_node_info x, y;
    data_node_info(place_node(*(const struct place *const *)a), &x);
    data_node_info(place_node(*(const struct place *const *)b), &y);
    return strcmp(x.url, y.url);
}

static void write_nodes(const struct topology *t, const struct place *rack, struct json_writer *w)
{
    size_t count = place_child_count(rack);
    json_writer_key(w, "DataNodes");
    if (count == 0) {
        json_writer_null(w);
        return;
    }
    const struct place **nodes = must(malloc(count * sizeof(*nodes)));
    for (size_t i = 0; i < count; i++)
        nodes[i] = place_child(rack, i);
    qsort(nodes, count, sizeof(*nodes), compare_urls);
    json_writer_begin_array(w);
    for (size_t i = 0; i < count; i++)
        write_node(t, nodes[i], w);
    json_writer_end_array(w);
    free(nodes);
}

/* Data centers, and their racks: {"Id":..,"<children>":[..]}. */
static void write_places(const struct topology *t, const struct place *parent, const char *key,
                         struct json_writer *w)
{
    json_writer_key(w, key);
    size_t count = place_child_count(parent);
    if (count == 0) {
        json_writer_null(w);
        return;
    }
    json_writer_begin_array(w);
    for (size_t i = 0; i < count; i++) {
        const struct place *place = place_child(parent, i);
        json_writer_begin_object(w);
        json_writer_member_text(w, "Id", place_id(place));
        if (place_kind(place) == PLACE_RACK)
            write_nodes(t, place, w);
        else
            write_places(t, place, "Racks", w);
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

static void write_layout(const struct volume_layout *layout, struct json_writer *w)
{
    struct volume_layout_info info;
    volume_layout_info(layout, &info);
    char replication[10], ttl[8];
    replica_placement_format(info.placement, replication);
    ttl_format(info.ttl, ttl);
    json_writer_begin_object(w);
    json_writer_member_text(w, "replication", replication);
    json_writer_member_text(w, "ttl", ttl);
    json_writer_key(w, "writables");
    if (info.writable_count == 0) {
        json_writer_null(w);
    } else {
        json_writer_begin_array(w);
        for (size_t i = 0; i < info.writable_count; i++)
            json_writer_uint(w, volume_layout_writable(layout, i));
        json_writer_end_array(w);
    }
    json_writer_member_text(w, "collection", info.collection);
    json_writer_member_text(w, "diskType", *info.disk_type ? info.disk_type : "hdd");
    json_writer_end_object(w);
}

static void write_topology(const struct topology *t, struct json_writer *w)
{
    const struct place *root = topology_root(t);
    json_writer_begin_object(w);
    json_writer_member_int(w, "Max", place_max_slots(root));
    json_writer_member_int(w, "Free", place_free_slots(root));
    write_places(t, root, "DataCenters", w);
    json_writer_key(w, "Layouts");
    size_t count = topology_layout_count(t);
    if (count == 0) {
        json_writer_null(w);
    } else {
        json_writer_begin_array(w);
        for (size_t i = 0; i < count; i++)
            write_layout(topology_layout(t, i), w);
        json_writer_end_array(w);
    }
    json_writer_end_object(w);
}

void master_http_write_dir_status(struct services *s, struct json_writer *w)
{
    struct master_values values;
    master_state_read(s->cluster->state, &values);
    json_writer_begin_object(w);
    json_writer_key(w, "Topology");
    cluster_lock(s->cluster);
    write_topology(s->cluster->topology, w);
    cluster_unlock(s->cluster);
    json_writer_member_text(w, "TopologyId", values.topology_id);
    json_writer_member_text(w, "Version", s->version);
    json_writer_end_object(w);
}

static void run_dir_status(struct master_http_work *work)
{
    master_http_write_dir_status(work->services, &work->json);
}

void master_http_dir_status(struct http_request *request, struct services *s)
{
    struct master_http_work *work = master_http_work_create(request, s, sizeof(*work));
    work->run = run_dir_status;
    master_http_work_submit(work);
}

/* ---- /vol/status ----------------------------------------------------------------------------- */

static void write_placement(uint32_t byte, struct json_writer *w)
{
    struct replica_placement placement = replica_placement_from_byte((uint8_t)byte);
    json_writer_begin_object(w);
    if (placement.same_rack)
        json_writer_member_uint(w, "node", placement.same_rack);
    if (placement.other_racks)
        json_writer_member_uint(w, "rack", placement.other_racks);
    if (placement.other_data_centers)
        json_writer_member_uint(w, "dc", placement.other_data_centers);
    json_writer_end_object(w);
}

static void write_volume(const struct volume_record *v, struct json_writer *w)
{
    struct ttl ttl = ttl_from_u32(v->ttl);
    json_writer_begin_object(w);
    json_writer_member_text(w, "Collection", v->collection ? v->collection : "");
    json_writer_member_text(w, "DiskType", v->disk_type ? v->disk_type : "");
    json_writer_member_text(w, "RemoteStorageName",
                            v->remote_storage_name ? v->remote_storage_name : "");
    json_writer_key(w, "ReplicaPlacement");
    write_placement(v->replica_placement, w);
    json_writer_key(w, "Ttl");
    json_writer_begin_object(w);
    json_writer_member_uint(w, "Count", ttl.count);
    json_writer_member_uint(w, "Unit", ttl.unit);
    json_writer_end_object(w);
    json_writer_member_uint(w, "Size", v->size);
    json_writer_member_uint(w, "DeletedByteCount", v->deleted_byte_count);
    json_writer_member_int(w, "ModifiedAtSecond", v->modified_at_second);
    json_writer_member_uint(w, "Id", v->id);
    json_writer_member_uint(w, "DiskId", v->disk_id);
    json_writer_member_uint(w, "CompactRevision", v->compact_revision);
    json_writer_member_uint(w, "FileCount", v->file_count);
    json_writer_member_uint(w, "DeleteCount", v->delete_count);
    json_writer_member_uint(w, "Version", v->version);
    json_writer_member_bool(w, "ReadOnly", v->read_only);
    json_writer_member_bool(w, "ReadOnlyCanDelete", v->read_only_can_delete);
    json_writer_end_object(w);
}

static void write_volumes_below(const struct topology *t, const struct place *place,
                                struct json_writer *w)
{
    const struct data_node *node = place_node(place);
    if (node) {
        json_writer_begin_array(w);
        for (size_t type = 0; type < topology_disk_type_count(t); type++)
            for (size_t i = 0; i < data_node_volume_count(node, type); i++)
                write_volume(data_node_volume(node, type, i), w);
        json_writer_end_array(w);
        return;
    }
    json_writer_begin_object(w);
    for (size_t i = 0; i < place_child_count(place); i++) {
        json_writer_key(w, place_id(place_child(place, i)));
        write_volumes_below(t, place_child(place, i), w);
    }
    json_writer_end_object(w);
}

static void run_vol_status(struct master_http_work *work)
{
    struct json_writer *w = &work->json;
    struct cluster *cluster = work->services->cluster;
    json_writer_begin_object(w);
    json_writer_member_text(w, "Version", work->services->version);
    json_writer_key(w, "Volumes");
    json_writer_begin_object(w);
    cluster_lock(cluster);
    const struct place *root = topology_root(cluster->topology);
    json_writer_key(w, "DataCenters");
    write_volumes_below(cluster->topology, root, w);
    json_writer_member_int(w, "Free", place_free_slots(root));
    json_writer_member_int(w, "Max", place_max_slots(root));
    cluster_unlock(cluster);
    json_writer_end_object(w);
    json_writer_end_object(w);
}

void master_http_vol_status(struct http_request *request, struct services *s)
{
    struct master_http_work *work = master_http_work_create(request, s, sizeof(*work));
    work->run = run_vol_status;
    master_http_work_submit(work);
}
