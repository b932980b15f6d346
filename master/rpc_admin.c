/* Configuration, the admin locks, Ping, and the list of masters. Queue threads; Ping asks its
 * target without waiting for it. Source: spec/master-rpc.md 16-19. */
#include "master/rpc_handlers.h"

#include "common/address.h"
#include "common/check.h"
#include "proto/master.pb-c.h"
#include "proto/volume_server.pb-c.h"

#define PING_MS 10000u

void master_rpc_get_master_configuration(struct rpc_call *call, const ProtobufCMessage *message,
                                         void *ctx)
{
    (void)message;
    const struct services *s = ctx;
    MasterPb__GetMasterConfigurationResponse response =
        MASTER_PB__GET_MASTER_CONFIGURATION_RESPONSE__INIT;
    response.metrics_address = (char *)s->metrics_address;
    response.metrics_interval_seconds = s->metrics_interval_seconds;
    response.default_replication = (char *)s->default_replication;
    response.leader = (char *)s->address;
    response.volume_size_limit_m_b = s->volume_size_limit_mb;
    response.volume_preallocate = s->is_preallocating;
    response.maintenance_scripts = (char *)s->maintenance_scripts;
    response.maintenance_sleep_minutes =
        s->maintenance_sleep_minutes ? s->maintenance_sleep_minutes : 17;
    rpc_call_reply(call, &response.base);
}

/* ---- Admin locks ----------------------------------------------------------------------------- */

void master_rpc_lease_admin_token(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__LeaseAdminTokenRequest *request =
        (const MasterPb__LeaseAdminTokenRequest *)message;
    const struct admin_lease previous = {.token = request->previous_token,
                                         .time_ns = request->previous_lock_time};
    struct admin_lease lease;
    struct error err;
    if (admin_lock_lease(s->locks, request->lock_name, request->client_name, previous,
                         cluster_now_ns(s->cluster), os_random(s->cluster->os), &lease, &err)) {
        rpc_call_fail(call, RPC_UNKNOWN, "%s", err.message);
        return;
    }
    const char *const labels[] = {request->client_name};
    metric_set(metric_series(s->cluster->metrics->admin_lock, labels), 1);
    MasterPb__LeaseAdminTokenResponse response = MASTER_PB__LEASE_ADMIN_TOKEN_RESPONSE__INIT;
    response.token = lease.token;
    response.lock_ts_ns = lease.time_ns;
    rpc_call_reply(call, &response.base);
}

void master_rpc_release_admin_token(struct rpc_call *call, const ProtobufCMessage *message,
                                    void *ctx)
{
    struct services *s = ctx;
    const MasterPb__ReleaseAdminTokenRequest *request =
        (const MasterPb__ReleaseAdminTokenRequest *)message;
    const struct admin_lease held = {.token = request->previous_token,
                                     .time_ns = request->previous_lock_time};
    char client[ADMIN_LOCK_CLIENT_SIZE];
    if (admin_lock_release(s->locks, request->lock_name, held, client))
        metric_remove(s->cluster->metrics->admin_lock, (const char *[]){client});
    MasterPb__ReleaseAdminTokenResponse response = MASTER_PB__RELEASE_ADMIN_TOKEN_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

void master_rpc_get_admin_lock_status(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx)
{
    struct services *s = ctx;
    const MasterPb__GetAdminLockStatusRequest *request =
        (const MasterPb__GetAdminLockStatusRequest *)message;
    char client[ADMIN_LOCK_CLIENT_SIZE];
    MasterPb__GetAdminLockStatusResponse response = MASTER_PB__GET_ADMIN_LOCK_STATUS_RESPONSE__INIT;
    response.is_locked =
        admin_lock_is_held(s->locks, request->lock_name, cluster_now_ns(s->cluster), client);
    response.client_name = client;
    rpc_call_reply(call, &response.base);
}

/* ---- The masters ----------------------------------------------------------------------------- */

void master_rpc_raft_list_cluster_servers(struct rpc_call *call, const ProtobufCMessage *message,
                                          void *ctx)
{
    (void)message;
    const struct services *s = ctx;
    struct address address;
    char grpc_address[ADDRESS_TEXT_SIZE] = "";
    if (address_parse(slice_cstr(s->address), &address, NULL) == 0)
        address_format_grpc(&address, grpc_address);
    MasterPb__RaftListClusterServersResponse__ClusterServers self =
        MASTER_PB__RAFT_LIST_CLUSTER_SERVERS_RESPONSE__CLUSTER_SERVERS__INIT;
    self.id = (char *)s->address;
    self.address = grpc_address;
    self.suffrage = (char *)"Voter";
    self.isleader = true;
    MasterPb__RaftListClusterServersResponse__ClusterServers *servers[] = {&self};
    MasterPb__RaftListClusterServersResponse response =
        MASTER_PB__RAFT_LIST_CLUSTER_SERVERS_RESPONSE__INIT;
    response.cluster_servers = servers;
    response.n_cluster_servers = 1;
    rpc_call_reply(call, &response.base);
}

/* ---- Ping ------------------------------------------------------------------------------------ */

struct ping {
    struct services *services;
    struct rpc_call *call; /* a reference */
    int64_t start_ns;
    char *target, *type;
};

static void reply_to_ping(struct ping *ping, int64_t remote_ns)
{
    MasterPb__PingResponse response = MASTER_PB__PING_RESPONSE__INIT;
    response.start_time_ns = ping->start_ns;
    response.remote_time_ns = remote_ns;
    response.stop_time_ns = cluster_now_ns(ping->services->cluster);
    rpc_call_reply(ping->call, &response.base);
}

static void on_pong(void *ctx, const ProtobufCMessage *message, enum rpc_status status,
                    const struct error *err)
{
    struct ping *ping = ctx;
    /* The response of all three services is laid out alike. */
    if (message)
        reply_to_ping(ping, ((const MasterPb__PingResponse *)message)->start_time_ns);
    else
        rpc_call_fail(ping->call, RPC_UNKNOWN, "ping %s %s: rpc error: code = %s desc = %s",
                      ping->type, ping->target, rpc_status_name(status), err ? err->message : "");
    rpc_call_unref(ping->call);
    free(ping->target);
    free(ping->type);
    free(ping);
}

static bool is_known(struct services *s, const char *target, const char *type)
{
    struct address address, self;
    if (address_parse(slice_cstr(target), &address, NULL))
        return false;
    if (strcmp(type, "master") == 0)
        return address_parse(slice_cstr(s->address), &self, NULL) == 0 &&
               address_equals(&address, &self);
    if (strcmp(type, "volumeServer") != 0)
        return client_registry_knows(s->cluster->clients, type, target);
    char url[ADDRESS_TEXT_SIZE];
    address_format_http(&address, url);
    cluster_lock(s->cluster);
    bool is_found = topology_find_node(s->cluster->topology, url) != NULL;
    cluster_unlock(s->cluster);
    return is_found;
}

/* Where the target answers Ping; NULL: it is not asked. */
static const char *ping_path(const char *type)
{
    if (strcmp(type, "master") == 0)
        return "/master_pb.Seaweed/Ping";
    if (strcmp(type, "volumeServer") == 0)
        return "/volume_server_pb.VolumeServer/Ping";
    if (strcmp(type, "filer") == 0)
        return "/filer_pb.SeaweedFiler/Ping";
    return NULL;
}

static void ask(struct ping *ping, const char *path)
{
    struct address address;
    char grpc_address[ADDRESS_TEXT_SIZE] = "";
    if (address_parse(slice_cstr(ping->target), &address, NULL) == 0)
        address_format_grpc(&address, grpc_address);
    MasterPb__PingRequest request = MASTER_PB__PING_REQUEST__INIT;
    rpc_client_send(ping->services->rpc, grpc_address, path, &request.base,
                    &master_pb__ping_response__descriptor, PING_MS, on_pong, ping);
}

void master_rpc_ping(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__PingRequest *request = (const MasterPb__PingRequest *)message;
    struct ping local = {.services = s, .call = call, .start_ns = cluster_now_ns(s->cluster)};
    if (*request->target && !is_known(s, request->target, request->target_type)) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT, "unknown ping target %s of type %s",
                      request->target, request->target_type);
        return;
    }
    const char *path = ping_path(request->target_type);
    if (!path) {
        reply_to_ping(&local, 0);
        return;
    }
    if (!*request->target) {
        rpc_call_fail(call, RPC_UNKNOWN, "ping %s : the target is empty", request->target_type);
        return;
    }
    struct ping *ping = must(calloc(1, sizeof(*ping)));
    *ping = local;
    ping->target = must(strdup(request->target));
    ping->type = must(strdup(request->target_type));
    rpc_call_ref(call);
    ask(ping, path);
}
