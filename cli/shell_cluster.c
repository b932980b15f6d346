/* cluster.check, cluster.ps: who is there, and whether all reach each other. */
#include "cli/cluster_view.h"
#include "cli/shell_commands.h"
#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#include <stdlib.h>

struct node_list {
    size_t count;
    char (*addresses)[ADDRESS_TEXT_SIZE];
};

static int add_node(void *ctx, const MasterPb__DataCenterInfo *center, const MasterPb__RackInfo *rack,
                    const MasterPb__DataNodeInfo *node)
{
    struct node_list *list = ctx;
    list->addresses = must(realloc(list->addresses, (list->count + 1) * sizeof(*list->addresses)));
    cluster_view_node_address(node, list->addresses[list->count++]);
    return 0;
}

static int list_filers(struct shell *shell, MasterPb__ListClusterNodesResponse **ret, struct error *err)
{
    char type[] = "filer";
    MasterPb__ListClusterNodesRequest request = MASTER_PB__LIST_CLUSTER_NODES_REQUEST__INIT;
    request.client_type = type;
    return shell_call_master(shell, "ListClusterNodes", &request.base,
                             &master_pb__list_cluster_nodes_response__descriptor, SHELL_TIMEOUT_MS,
                             (ProtobufCMessage **)ret, err);
}

/* Both Ping messages have one shape: fields 1 to 3. */
struct ping {
    const char *from_kind, *from, *to_kind, *to;
};

static int ping(struct shell *shell, const struct ping *p, int64_t *ret_trip_ns, int64_t *ret_clock_ns,
                struct error *err)
{
    ProtobufCMessage *answer;
    int code;
    char type[32];
    snprintf(type, sizeof(type), "%s", strcmp(p->to_kind, "volume server") == 0 ? "volumeServer"
                                                                                : p->to_kind);
    if (strcmp(p->from_kind, "master") == 0) {
        MasterPb__PingRequest request = MASTER_PB__PING_REQUEST__INIT;
        request.target = (char *)(uintptr_t)p->to;
        request.target_type = type;
        code = shell_call_master(shell, "Ping", &request.base, &master_pb__ping_response__descriptor,
                                 SHELL_TIMEOUT_MS, &answer, err);
    } else {
        VolumeServerPb__PingRequest request = VOLUME_SERVER_PB__PING_REQUEST__INIT;
        request.target = (char *)(uintptr_t)p->to;
        request.target_type = type;
        code = shell_call_volume_server(shell, p->from, "Ping", &request.base,
                                        &volume_server_pb__ping_response__descriptor, SHELL_TIMEOUT_MS,
                                        &answer, err);
    }
    if (code != 0)
        return code;
    int64_t start, remote, stop;
    if (strcmp(p->from_kind, "master") == 0) {
        const MasterPb__PingResponse *r = (const void *)answer;
        start = r->start_time_ns, remote = r->remote_time_ns, stop = r->stop_time_ns;
    } else {
        const VolumeServerPb__PingResponse *r = (const void *)answer;
        start = r->start_time_ns, remote = r->remote_time_ns, stop = r->stop_time_ns;
    }
    shell_free_message(answer);
    *ret_trip_ns = stop - start;
    *ret_clock_ns = remote - (start + stop) / 2;
    return 0;
}

/* Prints one line (or adds a JSON row); returns 1 when the two do not reach each other. */
static int check_pair(struct shell *shell, struct json_object *rows, const char *from_kind,
                      const char *from, const char *to_kind, const char *to)
{
    struct ping p = {from_kind, from, to_kind, to};
    struct error err = {0};
    int64_t trip = 0, clock = 0;
    int code = ping(shell, &p, &trip, &clock, &err);
    double trip_ms = (double)trip / 1e6, clock_ms = (double)clock / 1e6;
    if (shell->is_json) {
        struct json_object *row = json_object_new_object();
        json_object_object_add(row, "from", json_object_new_string(from));
        json_object_object_add(row, "to", json_object_new_string(to));
        json_object_object_add(row, "ok", json_object_new_boolean(code == 0));
        if (code == 0) {
            json_object_object_add(row, "roundTripMs", json_object_new_double(trip_ms));
            json_object_object_add(row, "clockDeltaMs", json_object_new_double(clock_ms));
        } else {
            json_object_object_add(row, "error", json_object_new_string(err.message));
        }
        json_object_array_add(rows, row);
    } else {
        fprintf(shell->out, "checking %s %s to %s %s ... ", from_kind, from, to_kind, to);
        if (code == 0)
            fprintf(shell->out, "ok round trip %.3fms clock delta %.3fms\n", trip_ms, clock_ms);
        else
            fprintf(shell->out, "failed: %s\n", err.message);
    }
    return code != 0;
}

static void print_names(struct shell *shell, const char *kind, const struct node_list *nodes,
                        const MasterPb__ListClusterNodesResponse *filers)
{
    size_t count = nodes ? nodes->count : filers->n_cluster_nodes;
    fprintf(shell->out, "the cluster has %zu %s: [", count, kind);
    for (size_t i = 0; i < count; i++)
        fprintf(shell->out, "%s%s", i ? " " : "",
                nodes ? nodes->addresses[i] : filers->cluster_nodes[i]->address);
    fprintf(shell->out, "]\n");
}

static int check_cluster(struct shell *shell, const MasterPb__VolumeListResponse *view,
                         const MasterPb__ListClusterNodesResponse *filers, struct error *err)
{
    char master[ADDRESS_TEXT_SIZE];
    struct node_list nodes = {0};
    struct json_object *rows = shell->is_json ? json_object_new_array() : NULL;
    int failures = 0;
    address_format(&shell->master, master);
    cluster_view_each_node(view, add_node, &nodes);
    if (!shell->is_json) {
        print_names(shell, "filers", NULL, filers);
        print_names(shell, "volume servers", &nodes, NULL);
    }
    for (size_t i = 0; i < nodes.count; i++) {
        failures += check_pair(shell, rows, "master", master, "volume server", nodes.addresses[i]);
        failures += check_pair(shell, rows, "volume server", nodes.addresses[i], "master", master);
    }
    for (size_t i = 0; i < filers->n_cluster_nodes; i++)
        failures += check_pair(shell, rows, "master", master, "filer", filers->cluster_nodes[i]->address);
    if (shell->is_json) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "checks", rows);
        json_object_object_add(document, "failures", json_object_new_int(failures));
        shell_print_json(shell, document);
    }
    free(nodes.addresses);
    if (failures > 0)
        return error_set(err, KELP_E_UNAVAILABLE, "%d connections failed", failures);
    return 0;
}

static int run_check(struct shell *shell, struct error *err)
{
    MasterPb__VolumeListResponse *view;
    MasterPb__ListClusterNodesResponse *filers = NULL;
    int code = cluster_view_read(shell, &view, err);
    if (code != 0)
        return code;
    struct cluster_disks disks = cluster_disks_of_topology(view->topology_info);
    if (!shell->is_json)
        cluster_view_print_head(shell->out, view);
    if (disks.count == 0)
        code = error_set(err, KELP_E_UNAVAILABLE,
                         "no volume server is connected; start one with \"kelp volume -master=...\"");
    if (code == 0)
        code = list_filers(shell, &filers, err);
    if (code == 0)
        code = check_cluster(shell, view, filers, err);
    shell_free_message(filers);
    shell_free_message(view);
    return code;
}

static int print_server(void *ctx, const MasterPb__DataCenterInfo *center, const MasterPb__RackInfo *rack,
                        const MasterPb__DataNodeInfo *node)
{
    struct shell *shell = ctx;
    char address[ADDRESS_TEXT_SIZE];
    VolumeServerPb__VolumeServerStatusRequest request =
        VOLUME_SERVER_PB__VOLUME_SERVER_STATUS_REQUEST__INIT;
    VolumeServerPb__VolumeServerStatusResponse *status = NULL;
    cluster_view_node_address(node, address);
    int code = shell_call_volume_server(shell, address, "VolumeServerStatus", &request.base,
                                        &volume_server_pb__volume_server_status_response__descriptor,
                                        SHELL_TIMEOUT_MS, (ProtobufCMessage **)&status, NULL);
    const char *version = code == 0 ? status->version : "does not answer";
    if (shell->is_json) {
        struct json_object *row = json_object_new_object();
        json_object_object_add(row, "kind", json_object_new_string("volume server"));
        json_object_object_add(row, "dataCenter", json_object_new_string(center->id));
        json_object_object_add(row, "rack", json_object_new_string(rack->id));
        json_object_object_add(row, "address", json_object_new_string(node->id));
        json_object_object_add(row, "version", json_object_new_string(version));
        shell_print_json(shell, row);
    } else {
        fprintf(shell->out, "      * %s (%s)\n", node->id, version);
    }
    shell_free_message(status);
    return 0;
}

static int count_server(void *ctx, const MasterPb__DataCenterInfo *center,
                        const MasterPb__RackInfo *rack, const MasterPb__DataNodeInfo *node)
{
    ++*(size_t *)ctx;
    return 0;
}

static void print_tree(struct shell *shell, const MasterPb__VolumeListResponse *view)
{
    const MasterPb__TopologyInfo *topology = view->topology_info;
    size_t count = 0;
    cluster_view_each_node(view, count_server, &count);
    fprintf(shell->out, "* volume servers %zu\n", count);
    for (size_t d = 0; d < topology->n_data_center_infos; d++) {
        const MasterPb__DataCenterInfo *center = topology->data_center_infos[d];
        fprintf(shell->out, "  * data center: %s\n", center->id);
        for (size_t r = 0; r < center->n_rack_infos; r++) {
            const MasterPb__RackInfo *rack = center->rack_infos[r];
            fprintf(shell->out, "    * rack: %s\n", rack->id);
            for (size_t n = 0; n < rack->n_data_node_infos; n++)
                print_server(shell, center, rack, rack->data_node_infos[n]);
        }
    }
}

static int run_ps(struct shell *shell, struct error *err)
{
    MasterPb__VolumeListResponse *view;
    MasterPb__ListClusterNodesResponse *filers;
    int code = cluster_view_read(shell, &view, err);
    if (code != 0)
        return code;
    code = list_filers(shell, &filers, err);
    if (code == 0 && shell->is_json) {
        cluster_view_each_node(view, print_server, shell);
    } else if (code == 0) {
        char master[ADDRESS_TEXT_SIZE];
        address_format(&shell->master, master);
        fprintf(shell->out, "* master %s\n* filers %zu\n", master, filers->n_cluster_nodes);
        for (size_t i = 0; i < filers->n_cluster_nodes; i++)
            fprintf(shell->out, "  * %s (%s) %s %s\n", filers->cluster_nodes[i]->address,
                    filers->cluster_nodes[i]->version, filers->cluster_nodes[i]->data_center,
                    filers->cluster_nodes[i]->rack);
        print_tree(shell, view);
    }
    if (code == 0)
        shell_free_message(filers);
    shell_free_message(view);
    return code;
}

static const struct config_command check_config = {
    .name = "cluster.check",
    .summary = "check that masters, volume servers and filers reach each other",
    .usage = "",
    .ignores_environment = true,
};
static const struct config_command ps_config = {
    .name = "cluster.ps",
    .summary = "list the processes of the cluster and their versions",
    .usage = "",
    .ignores_environment = true,
};

const struct shell_command shell_cluster_check = {&check_config, false, run_check};
const struct shell_command shell_cluster_ps = {&ps_config, false, run_ps};
