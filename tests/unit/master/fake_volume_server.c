/* See the header. The rpc callbacks run on queue threads; one lock guards all fields. */
#include "tests/unit/master/fake_volume_server.h"

#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#include <string.h>
#include <time.h>

static struct timespec deadline(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += WAIT_MS / 1000;
    return t;
}

/* ---- The master's rpcs ----------------------------------------------------------------------- */

static void count(struct fake_server *f, atomic_uint *number)
{
    pthread_mutex_lock(&f->lock);
    ++*number;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_allocate(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    VolumeServerPb__AllocateVolumeResponse response =
        VOLUME_SERVER_PB__ALLOCATE_VOLUME_RESPONSE__INIT;
    if (f->refuses_allocation) {
        rpc_call_fail(call, RPC_UNKNOWN, "no space");
        return;
    }
    pthread_mutex_lock(&f->lock);
    f->allocated[f->allocations % 64] =
        ((const VolumeServerPb__AllocateVolumeRequest *)message)->volume_id;
    pthread_mutex_unlock(&f->lock);
    count(f, &f->allocations);
    if (!f->hangs_in_allocation)
        rpc_call_reply(call, &response.base);
}

static void on_check(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    (void)message;
    VolumeServerPb__VacuumVolumeCheckResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_CHECK_RESPONSE__INIT;
    response.garbage_ratio = f->garbage_ratio;
    rpc_call_reply(call, &response.base);
}

static void on_compact(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    (void)message;
    VolumeServerPb__VacuumVolumeCompactResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_COMPACT_RESPONSE__INIT;
    response.processed_bytes = 500;
    rpc_call_send(call, &response.base);
    count(f, &f->compactions);
    if (f->dies_in_compaction)
        rpc_call_fail(call, RPC_UNAVAILABLE, "transport is closing");
    else
        rpc_call_finish(call);
}

static void on_commit(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    (void)message;
    VolumeServerPb__VacuumVolumeCommitResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_COMMIT_RESPONSE__INIT;
    response.volume_size = 600;
    count(f, &f->commits);
    rpc_call_reply(call, &response.base);
}

static void on_cleanup(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    (void)message;
    VolumeServerPb__VacuumVolumeCleanupResponse response =
        VOLUME_SERVER_PB__VACUUM_VOLUME_CLEANUP_RESPONSE__INIT;
    count(f, &f->cleanups);
    rpc_call_reply(call, &response.base);
}

static void on_delete(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    (void)message;
    VolumeServerPb__VolumeDeleteResponse response = VOLUME_SERVER_PB__VOLUME_DELETE_RESPONSE__INIT;
    count(f, &f->deletions);
    rpc_call_reply(call, &response.base);
}

static void on_delete_collection(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_server *f = ctx;
    (void)message;
    VolumeServerPb__DeleteCollectionResponse response =
        VOLUME_SERVER_PB__DELETE_COLLECTION_RESPONSE__INIT;
    count(f, &f->collection_deletions);
    rpc_call_reply(call, &response.base);
}

static void on_ping(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    (void)ctx;
    (void)message;
    VolumeServerPb__PingResponse response = VOLUME_SERVER_PB__PING_RESPONSE__INIT;
    response.start_time_ns = 12345;
    rpc_call_reply(call, &response.base);
}

#define METHOD(name, kind_, request_, response_, handler)                                          \
    {.path = "/volume_server_pb.VolumeServer/" name,                                               \
     .kind = kind_,                                                                                \
     .place = RPC_ON_QUEUE,                                                                        \
     .request = &volume_server_pb__##request_##__descriptor,                                       \
     .response = &volume_server_pb__##response_##__descriptor,                                     \
     .on_message = handler}

static const struct rpc_method methods[] = {
    METHOD("AllocateVolume", RPC_UNARY, allocate_volume_request, allocate_volume_response,
           on_allocate),
    METHOD("VacuumVolumeCheck", RPC_UNARY, vacuum_volume_check_request,
           vacuum_volume_check_response, on_check),
    METHOD("VacuumVolumeCompact", RPC_SERVER_STREAM, vacuum_volume_compact_request,
           vacuum_volume_compact_response, on_compact),
    METHOD("VacuumVolumeCommit", RPC_UNARY, vacuum_volume_commit_request,
           vacuum_volume_commit_response, on_commit),
    METHOD("VacuumVolumeCleanup", RPC_UNARY, vacuum_volume_cleanup_request,
           vacuum_volume_cleanup_response, on_cleanup),
    METHOD("VolumeDelete", RPC_UNARY, volume_delete_request, volume_delete_response, on_delete),
    METHOD("DeleteCollection", RPC_UNARY, delete_collection_request, delete_collection_response,
           on_delete_collection),
    METHOD("Ping", RPC_UNARY, ping_request, ping_response, on_ping),
};

/* ---- Heartbeats ------------------------------------------------------------------------------ */

static void on_response(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    (void)stream;
    struct fake_server *f = ctx;
    const MasterPb__HeartbeatResponse *response = (const MasterPb__HeartbeatResponse *)message;
    pthread_mutex_lock(&f->lock);
    f->responses++;
    if (response->volume_digest_supported)
        f->is_registered = true;
    if (response->resend_full_volume_list)
        f->is_asked_to_resend = true;
    f->volume_size_limit = response->volume_size_limit;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_stream_closed(struct rpc_stream *stream, enum rpc_status status,
                             const struct error *err, void *ctx)
{
    (void)stream;
    struct fake_server *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->is_stream_over = true;
    f->end_status = status;
    snprintf(f->end_text, sizeof(f->end_text), "%s", err ? err->message : "");
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static const struct rpc_stream_ops heartbeat_ops = {.on_message = on_response,
                                                    .on_closed = on_stream_closed};

static void await(struct fake_server *f, const atomic_uint *number, unsigned least,
                  const atomic_bool *flag)
{
    struct timespec until = deadline();
    pthread_mutex_lock(&f->lock);
    while (flag ? !*flag : *number < least)
        CHECK(pthread_cond_timedwait(&f->changed, &f->lock, &until) == 0);
    pthread_mutex_unlock(&f->lock);
}

void fake_server_await(struct fake_server *f, const atomic_uint *number, unsigned least)
{
    await(f, number, least, NULL);
}

void fake_server_await_flag(struct fake_server *f, const atomic_bool *flag)
{
    await(f, NULL, 0, flag);
}

void fake_server_send(struct fake_server *f, MasterPb__Heartbeat *beat)
{
    CHECK(rpc_stream_send(f->stream, &beat->base) == 0);
}

static void send_volumes(struct fake_server *f, MasterPb__Heartbeat *beat, const uint32_t *ids,
                         size_t n, uint32_t placement, uint64_t garbage)
{
    MasterPb__VolumeInformationMessage volumes[64], *pointers[64];
    for (size_t i = 0; i < n; i++) {
        master_pb__volume_information_message__init(&volumes[i]);
        volumes[i].id = ids[i];
        volumes[i].size = 1000;
        volumes[i].file_count = 10;
        volumes[i].deleted_byte_count = garbage;
        volumes[i].replica_placement = placement;
        volumes[i].version = 3;
        pointers[i] = &volumes[i];
    }
    beat->volumes = pointers;
    beat->n_volumes = n;
    beat->has_no_volumes = n == 0;
    fake_server_send(f, beat);
}

void fake_server_report(struct fake_server *f, const uint32_t *ids, size_t n, uint32_t placement,
                        uint64_t garbage)
{
    MasterPb__Heartbeat beat = MASTER_PB__HEARTBEAT__INIT;
    beat.ip = (char *)"127.0.0.1";
    beat.port = f->port;
    send_volumes(f, &beat, ids, n, placement, garbage);
}

void fake_server_register(struct fake_server *f, const char *data_center, const char *rack,
                          uint32_t max_volumes, const uint32_t *ids, size_t n)
{
    struct error err;
    f->is_registered = f->is_stream_over = f->is_asked_to_resend = false;
    CHECK(rpc_stream_open(f->client, f->master, "/master_pb.Seaweed/SendHeartbeat",
                          &master_pb__heartbeat_response__descriptor, 0, &heartbeat_ops, f,
                          &f->stream, &err) == 0);
    rpc_stream_ref(f->stream);
    MasterPb__Heartbeat__MaxVolumeCountsEntry max =
        MASTER_PB__HEARTBEAT__MAX_VOLUME_COUNTS_ENTRY__INIT;
    max.key = (char *)"";
    max.value = max_volumes;
    MasterPb__Heartbeat__MaxVolumeCountsEntry *maxes[] = {&max};
    MasterPb__Heartbeat beat = MASTER_PB__HEARTBEAT__INIT;
    beat.ip = (char *)"127.0.0.1";
    beat.port = f->port;
    beat.grpc_port = rpc_server_port(f->server);
    beat.data_center = (char *)data_center;
    beat.rack = (char *)rack;
    beat.max_volume_counts = maxes;
    beat.n_max_volume_counts = 1;
    send_volumes(f, &beat, ids, n, 0, 0);
    fake_server_await_flag(f, &f->is_registered);
}

void fake_server_hang_up(struct fake_server *f)
{
    if (!f->stream)
        return;
    rpc_stream_cancel(f->stream);
    fake_server_await_flag(f, &f->is_stream_over);
    rpc_stream_unref(f->stream);
    f->stream = NULL;
}

void fake_server_start(struct fake_server *f, uint16_t master_grpc_port, uint16_t port)
{
    *f = (struct fake_server){.port = port};
    snprintf(f->master, sizeof(f->master), "127.0.0.1:%u", master_grpc_port);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    struct rpc_service service = {methods, sizeof(methods) / sizeof(methods[0]), f};
    struct rpc_server_config config = {
        .bind_address = "127.0.0.1", .services = &service, .service_count = 1, .queue_threads = 1};
    CHECK(rpc_server_create(&f->server, &config, NULL) == 0);
    CHECK(rpc_client_create(&f->client, NULL) == 0);
}

void fake_server_stop(struct fake_server *f)
{
    fake_server_hang_up(f);
    rpc_client_destroy(f->client);
    rpc_server_destroy(f->server, 100);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

/* ---- KeepConnected --------------------------------------------------------------------------- */

static void on_push(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    (void)stream;
    struct fake_client *c = ctx;
    const MasterPb__KeepConnectedResponse *push = (const MasterPb__KeepConnectedResponse *)message;
    const MasterPb__VolumeLocation *v = push->volume_location;
    pthread_mutex_lock(&c->lock);
    char *end = c->log + strlen(c->log);
    size_t room = sizeof(c->log) - strlen(c->log);
    if (v)
        snprintf(end, room, "at %s dc %s leader %s:", v->url, v->data_center, v->leader);
    for (size_t i = 0; v && i < v->n_new_vids; i++)
        snprintf(c->log + strlen(c->log), sizeof(c->log) - strlen(c->log), " +%u", v->new_vids[i]);
    for (size_t i = 0; v && i < v->n_deleted_vids; i++)
        snprintf(c->log + strlen(c->log), sizeof(c->log) - strlen(c->log), " -%u",
                 v->deleted_vids[i]);
    if (push->cluster_node_update)
        snprintf(end, room, "%s %s", push->cluster_node_update->is_add ? "add" : "remove",
                 push->cluster_node_update->address);
    if (push->lock_ring_update)
        snprintf(end, room, "ring of %zu", push->lock_ring_update->n_servers);
    snprintf(c->log + strlen(c->log), sizeof(c->log) - strlen(c->log), "\n");
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

static void on_client_closed(struct rpc_stream *stream, enum rpc_status status,
                             const struct error *err, void *ctx)
{
    (void)stream;
    (void)status;
    (void)err;
    struct fake_client *c = ctx;
    pthread_mutex_lock(&c->lock);
    c->is_over = true;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

void fake_client_connect(struct fake_client *c, struct rpc_client *client, const char *master,
                         const char *type, const char *address, const char *group)
{
    static const struct rpc_stream_ops ops = {.on_message = on_push, .on_closed = on_client_closed};
    *c = (struct fake_client){.log = ""};
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    CHECK(rpc_stream_open(client, master, "/master_pb.Seaweed/KeepConnected",
                          &master_pb__keep_connected_response__descriptor, 0, &ops, c, &c->stream,
                          NULL) == 0);
    rpc_stream_ref(c->stream);
    MasterPb__KeepConnectedRequest request = MASTER_PB__KEEP_CONNECTED_REQUEST__INIT;
    request.client_type = (char *)type;
    request.client_address = (char *)address;
    request.filer_group = (char *)group;
    CHECK(rpc_stream_send(c->stream, &request.base) == 0);
}

void fake_client_await(struct fake_client *c, const char *text)
{
    struct timespec until = deadline();
    pthread_mutex_lock(&c->lock);
    while (!strstr(c->log, text)) {
        if (pthread_cond_timedwait(&c->changed, &c->lock, &until) != 0) {
            fprintf(stderr, "waited for \"%s\", got:\n%s", text, c->log);
            abort();
        }
    }
    pthread_mutex_unlock(&c->lock);
}

void fake_client_close(struct fake_client *c)
{
    struct timespec until = deadline();
    rpc_stream_cancel(c->stream);
    pthread_mutex_lock(&c->lock);
    while (!c->is_over)
        CHECK(pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0);
    pthread_mutex_unlock(&c->lock);
    rpc_stream_unref(c->stream);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
}
