/* What HTTP and gRPC handlers have in common. Any thread; services_delete_collection blocks. */
#include "master/services.h"

#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#define DELETE_COLLECTION_MS 600000u

int services_parse_option(const struct services *s, struct slice replication, struct slice ttl,
                          struct volume_option *option, struct error *err)
{
    if (replication.len == 0)
        replication = slice_cstr(s->default_replication);
    int code = replica_placement_parse(replication, &option->placement, err);
    if (!code)
        code = ttl_parse(ttl, &option->ttl, err);
    option->version = 3;
    return code;
}

bool services_is_out_of_time(const struct services *s)
{
    unsigned long long give_up_ns = atomic_load(&s->give_up_ns);
    return give_up_ns && (unsigned long long)os_monotonic_ns(s->cluster->os) >= give_up_ns;
}

int64_t services_preallocate_bytes(const struct services *s)
{
    return s->is_preallocating ? (int64_t)s->volume_size_limit_mb << 20 : 0;
}

static int delete_on(struct services *s, const char *address, const char *name,
                     enum rpc_status *ret_status, struct error *err)
{
    VolumeServerPb__DeleteCollectionRequest request =
        VOLUME_SERVER_PB__DELETE_COLLECTION_REQUEST__INIT;
    request.collection = (char *)name;
    return rpc_client_call(s->rpc, address, "/volume_server_pb.VolumeServer/DeleteCollection",
                           &request.base, &volume_server_pb__delete_collection_response__descriptor,
                           DELETE_COLLECTION_MS, NULL, ret_status, err);
}

int services_delete_collection(struct services *s, const char *name, bool with_ec,
                               enum rpc_status *ret_status, struct error *err)
{
    struct cluster *cluster = s->cluster;
    size_t count;
    int code = 0;
    grower_hold_collection(s->grower, name);
    cluster_lock(cluster);
    struct data_node **nodes =
        topology_collection_holders(cluster->topology, name, true, with_ec, &count);
    cluster_unlock(cluster);
    for (size_t i = 0; i < count && !code; i++) {
        char address[320];
        cluster_lock(cluster);
        cluster_node_grpc_address(nodes[i], address, sizeof(address));
        cluster_unlock(cluster);
        code = delete_on(s, address, name, ret_status, err);
    }
    struct location_updates updates;
    location_updates_init(&updates);
    cluster_lock(cluster);
    if (!code)
        topology_delete_collection(cluster->topology, name, true, with_ec, &updates);
    client_registry_publish_all(cluster->clients, &updates);
    for (size_t i = 0; i < count; i++)
        data_node_unref(nodes[i]);
    cluster_unlock(cluster);
    location_updates_fini(&updates);
    free(nodes);
    grower_release_collection(s->grower, name);
    return code;
}
