/* volume.grow, volume.delete, volume.mark, volume.mount, volume.unmount */
#include "cli/cluster_view.h"
#include "cli/shell_commands.h"
#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#include <stdlib.h>

static const char *node, *collection, *replication, *ttl, *data_center, *rack, *disk;
static int64_t volume_number, count, timeout_ns;
static bool is_writable, is_read_only, can_delete;

#define NODE_FLAG   {"node", CONFIG_STRING, &node, NULL, "volume server, host:port"}
#define VOLUME_FLAG {"volumeId", CONFIG_INT, &volume_number, NULL, "the volume"}

static void print_done(struct shell *shell, const char *what, uint32_t id, const char *where)
{
    if (!shell->is_json) {
        fprintf(shell->out, "volume %u on %s: %s\n", id, where, what);
        return;
    }
    struct json_object *row = json_object_new_object();
    json_object_object_add(row, "volume", json_object_new_uint64(id));
    json_object_object_add(row, "node", json_object_new_string(where));
    json_object_object_add(row, "done", json_object_new_string(what));
    shell_print_json(shell, row);
}

/* ---- grow ---- */

static const struct config_flag grow_flags[] = {
    {"count", CONFIG_INT, &count, "2", "how many volumes to add"},
    {"collection", CONFIG_STRING, &collection, NULL, "for this collection"},
    {"replication", CONFIG_STRING, &replication, NULL, "000, 001, 010, ...; the master's when empty"},
    {"ttl", CONFIG_STRING, &ttl, NULL, "time to live of what is stored there: 3h, 7d"},
    {"dataCenter", CONFIG_STRING, &data_center, NULL, "in this data center"},
    {"rack", CONFIG_STRING, &rack, NULL, "on this rack"},
    {"dataNode", CONFIG_STRING, &node, NULL, "on this server"},
    {"diskType", CONFIG_STRING, &disk, NULL, "hdd, ssd or any word"},
};

static int run_grow(struct shell *shell, struct error *err)
{
    if (count <= 0 || count > 10000)
        return error_set(err, KELP_E_INVALID, "-count must be from 1 to 10000");
    MasterPb__VolumeGrowRequest request = MASTER_PB__VOLUME_GROW_REQUEST__INIT;
    request.writable_volume_count = (uint32_t)count;
    request.replication = (char *)(uintptr_t)replication;
    request.collection = (char *)(uintptr_t)collection;
    request.ttl = (char *)(uintptr_t)ttl;
    request.data_center = (char *)(uintptr_t)data_center;
    request.rack = (char *)(uintptr_t)rack;
    request.data_node = (char *)(uintptr_t)node;
    request.disk_type = (char *)(uintptr_t)disk;
    int code = shell_call_master(shell, "VolumeGrow", &request.base,
                                 &master_pb__volume_grow_response__descriptor, 10 * 60 * 1000, NULL, err);
    if (code != 0)
        return code;
    if (shell->is_json)
        fprintf(shell->out, "{\"grown\":%lld}\n", (long long)count);
    else
        fprintf(shell->out, "asked for %lld volumes; volume.list shows them\n", (long long)count);
    return 0;
}

/* ---- calls of one volume on one server ---- */

static const struct config_flag delete_flags[] = {
    NODE_FLAG,
    VOLUME_FLAG,
    {"timeout", CONFIG_DURATION, &timeout_ns, "60s", "give up after this time"},
};

static int run_delete(struct shell *shell, struct error *err)
{
    VolumeServerPb__VolumeDeleteRequest request = VOLUME_SERVER_PB__VOLUME_DELETE_REQUEST__INIT;
    int code = shell_volume_id(volume_number, &request.volume_id, err);
    if (code == 0)
        code = shell_call_volume_server(shell, node, "VolumeDelete", &request.base,
                                        &volume_server_pb__volume_delete_response__descriptor,
                                        (unsigned)(timeout_ns / 1000000), NULL, err);
    if (code == 0)
        print_done(shell, "deleted", request.volume_id, node);
    return code;
}

static const struct config_flag mount_flags[] = {NODE_FLAG, VOLUME_FLAG};

static int run_mount(struct shell *shell, struct error *err)
{
    VolumeServerPb__VolumeMountRequest request = VOLUME_SERVER_PB__VOLUME_MOUNT_REQUEST__INIT;
    int code = shell_volume_id(volume_number, &request.volume_id, err);
    if (code == 0)
        code = shell_call_volume_server(shell, node, "VolumeMount", &request.base,
                                        &volume_server_pb__volume_mount_response__descriptor,
                                        10 * 60 * 1000, NULL, err);
    if (code == 0)
        print_done(shell, "mounted", request.volume_id, node);
    return code;
}

static int run_unmount(struct shell *shell, struct error *err)
{
    VolumeServerPb__VolumeUnmountRequest request = VOLUME_SERVER_PB__VOLUME_UNMOUNT_REQUEST__INIT;
    int code = shell_volume_id(volume_number, &request.volume_id, err);
    if (code == 0)
        code = shell_call_volume_server(shell, node, "VolumeUnmount", &request.base,
                                        &volume_server_pb__volume_unmount_response__descriptor,
                                        10 * 60 * 1000, NULL, err);
    if (code == 0)
        print_done(shell, "unmounted", request.volume_id, node);
    return code;
}

/* ---- mark ---- */

static const struct config_flag mark_flags[] = {
    NODE_FLAG,
    VOLUME_FLAG,
    {"collection", CONFIG_STRING, &collection, NULL,
     "all replicas of all volumes of this collection instead; \"_default\" for those without one"},
    {"writable", CONFIG_BOOL, &is_writable, NULL, "take writes again"},
    {"readonly", CONFIG_BOOL, &is_read_only, NULL, "no writes and no deletes"},
    {"readonlyCanDelete", CONFIG_BOOL, &can_delete, NULL, "no writes, deletes go on"},
};

static int mark_one(struct shell *shell, const char *where, uint32_t id, struct error *err)
{
    int code;
    if (is_writable) {
        VolumeServerPb__VolumeMarkWritableRequest request =
            VOLUME_SERVER_PB__VOLUME_MARK_WRITABLE_REQUEST__INIT;
        request.volume_id = id;
        code = shell_call_volume_server(shell, where, "VolumeMarkWritable", &request.base,
                                        &volume_server_pb__volume_mark_writable_response__descriptor,
                                        SHELL_TIMEOUT_MS, NULL, err);
    } else {
        VolumeServerPb__VolumeMarkReadonlyRequest request =
            VOLUME_SERVER_PB__VOLUME_MARK_READONLY_REQUEST__INIT;
        request.volume_id = id;
        request.persist = true;
        request.can_delete = can_delete;
        code = shell_call_volume_server(shell, where, "VolumeMarkReadonly", &request.base,
                                        &volume_server_pb__volume_mark_readonly_response__descriptor,
                                        SHELL_TIMEOUT_MS, NULL, err);
    }
    if (code == 0)
        print_done(shell, is_writable ? "writable" : can_delete ? "read-only, deletes go on" : "read-only",
                   id, where);
    return code;
}

struct marking {
    struct shell *shell;
    struct error *err;
};

static int mark_node(void *ctx, const MasterPb__DataCenterInfo *center, const MasterPb__RackInfo *in_rack,
                     const MasterPb__DataNodeInfo *info)
{
    struct marking *marking = ctx;
    const char *wanted = strcmp(collection, "_default") == 0 ? "" : collection;
    char address[ADDRESS_TEXT_SIZE];
    cluster_view_node_address(info, address);
    struct cluster_disks disks = cluster_disks_of_node(info);
    for (size_t d = 0; d < disks.count; d++)
        for (size_t i = 0; i < disks.items[d]->n_volume_infos; i++) {
            if (strcmp(disks.items[d]->volume_infos[i]->collection, wanted) != 0)
                continue;
            int code = mark_one(marking->shell, address, disks.items[d]->volume_infos[i]->id,
                                marking->err);
            if (code != 0)
                return code;
        }
    return 0;
}

static int run_mark(struct shell *shell, struct error *err)
{
    if (is_writable + is_read_only + can_delete != 1)
        return error_set(err, KELP_E_INVALID,
                         "give one of -writable, -readonly and -readonlyCanDelete");
    uint32_t id;
    if (!*collection) {
        int code = shell_volume_id(volume_number, &id, err);
        return code == 0 ? mark_one(shell, node, id, err) : code;
    }
    if (*node || volume_number)
        return error_set(err, KELP_E_INVALID, "give -collection, or -node with -volumeId, not both");
    MasterPb__VolumeListResponse *view;
    int code = cluster_view_read(shell, &view, err);
    if (code != 0)
        return code;
    struct marking marking = {shell, err};
    code = cluster_view_each_node(view, mark_node, &marking);
    shell_free_message(view);
    return code;
}

#define CONFIG(id, command_name, text, example, table)                                             \
    static const struct config_command id = {                                                      \
        .name = command_name,                                                                      \
        .summary = text,                                                                           \
        .usage = example,                                                                          \
        .flags = table,                                                                            \
        .flag_count = sizeof(table) / sizeof((table)[0]),                                          \
        .ignores_environment = true,                                                               \
    }

CONFIG(grow_config, "volume.grow", "add volumes", "-count=2 -collection=pictures", grow_flags);
CONFIG(delete_config, "volume.delete", "delete a volume from one server, with its blobs",
       "-node=127.0.0.1:8080 -volumeId=3", delete_flags);
CONFIG(mark_config, "volume.mark", "mark volumes writable or read-only",
       "-node=127.0.0.1:8080 -volumeId=3 -readonly", mark_flags);
CONFIG(mount_config, "volume.mount", "load a volume from the disks of one server",
       "-node=127.0.0.1:8080 -volumeId=3", mount_flags);
CONFIG(unmount_config, "volume.unmount", "stop serving a volume; its files stay",
       "-node=127.0.0.1:8080 -volumeId=3", mount_flags);

const struct shell_command shell_volume_grow = {&grow_config, true, run_grow};
const struct shell_command shell_volume_delete = {&delete_config, true, run_delete};
const struct shell_command shell_volume_mark = {&mark_config, true, run_mark};
const struct shell_command shell_volume_mount = {&mount_config, true, run_mount};
const struct shell_command shell_volume_unmount = {&unmount_config, true, run_unmount};
