/* The handlers run on worker threads and keep everything behind one lock. */
#include "tests/unit/volume/fake_master.h"

#include "tests/unit/cmocka_all.h"

#include "common/check.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_SECONDS 10

static void on_configuration(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_master *master = ctx;
    pthread_mutex_lock(&master->lock);
    master->configurations_asked++;
    bool is_silent = master->is_silent;
    MasterPb__GetMasterConfigurationResponse response =
        MASTER_PB__GET_MASTER_CONFIGURATION_RESPONSE__INIT;
    response.leader = (char *)(uintptr_t)(*master->leader ? master->leader : master->address);
    pthread_cond_broadcast(&master->changed);
    pthread_mutex_unlock(&master->lock);
    if (is_silent)
        rpc_call_fail(call, RPC_UNAVAILABLE, "not yet");
    else
        rpc_call_reply(call, &response.base);
}

static void on_beat(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_master *master = ctx;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = must(malloc(size + 1));
    protobuf_c_message_pack(message, bytes);
    pthread_mutex_lock(&master->lock);
    CHECK(master->beat_count < FAKE_MASTER_BEATS_MAX);
    master->beats[master->beat_count++] = must(master_pb__heartbeat__unpack(NULL, size, bytes));
    bool is_first = rpc_call_user(call) == NULL;
    if (is_first) {
        rpc_call_set_user(call, master);
        rpc_call_ref(call);
        master->stream = call;
        master->streams_opened++;
    }
    MasterPb__HeartbeatResponse response = MASTER_PB__HEARTBEAT_RESPONSE__INIT;
    response.leader = (char *)(uintptr_t)master->leader;
    response.volume_size_limit = master->volume_size_limit;
    response.volume_digest_supported = master->supports_digest;
    pthread_cond_broadcast(&master->changed);
    pthread_mutex_unlock(&master->lock);
    free(bytes);
    if (is_first)
        rpc_call_send(call, &response.base);
}

static void on_beats_end(struct rpc_call *call, void *ctx)
{
    rpc_call_fail(call, RPC_UNKNOWN, "EOF");
}

static void on_stream_closed(struct rpc_call *call, void *ctx)
{
    struct fake_master *master = ctx;
    if (rpc_call_user(call) == NULL)
        return;
    pthread_mutex_lock(&master->lock);
    if (master->stream == call)
        master->stream = NULL;
    master->streams_closed++;
    pthread_cond_broadcast(&master->changed);
    pthread_mutex_unlock(&master->lock);
    rpc_call_unref(call);
}

static void on_mark(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct fake_master *master = ctx;
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = must(malloc(size + 1));
    protobuf_c_message_pack(message, bytes);
    pthread_mutex_lock(&master->lock);
    bool is_refused = master->refuses_marks;
    if (!is_refused)
        master->marks[master->mark_count++] =
            must(master_pb__volume_mark_readonly_request__unpack(NULL, size, bytes));
    pthread_mutex_unlock(&master->lock);
    free(bytes);
    MasterPb__VolumeMarkReadonlyResponse response = MASTER_PB__VOLUME_MARK_READONLY_RESPONSE__INIT;
    if (is_refused)
        rpc_call_fail(call, RPC_UNKNOWN, "raft.Server: Not current leader");
    else
        rpc_call_reply(call, &response.base);
}

static void on_ping(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    MasterPb__PingResponse response = MASTER_PB__PING_RESPONSE__INIT;
    response.start_time_ns = 4711;
    rpc_call_reply(call, &response.base);
}

#define SEAWEED "/master_pb.Seaweed/"

static const struct rpc_method methods[] = {
    {SEAWEED "GetMasterConfiguration", RPC_UNARY, RPC_ON_WORKER,
     &master_pb__get_master_configuration_request__descriptor,
     &master_pb__get_master_configuration_response__descriptor, on_configuration, NULL, NULL},
    {SEAWEED "SendHeartbeat", RPC_TWO_WAY_STREAM, RPC_ON_WORKER,
     &master_pb__heartbeat__descriptor, &master_pb__heartbeat_response__descriptor, on_beat,
     on_beats_end, on_stream_closed},
    {SEAWEED "VolumeMarkReadonly", RPC_UNARY, RPC_ON_WORKER,
     &master_pb__volume_mark_readonly_request__descriptor,
     &master_pb__volume_mark_readonly_response__descriptor, on_mark, NULL, NULL},
    {SEAWEED "Ping", RPC_UNARY, RPC_ON_WORKER, &master_pb__ping_request__descriptor,
     &master_pb__ping_response__descriptor, on_ping, NULL, NULL},
};

void fake_master_start(struct fake_master *master)
{
    memset(master, 0, sizeof(*master));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&master->lock, NULL);
    pthread_cond_init(&master->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    master->leader = "";
    master->supports_digest = true;
    master->volume_size_limit = 1 << 30;
    struct rpc_service service = {methods, sizeof(methods) / sizeof(methods[0]), master};
    struct rpc_server_config config = {
        .bind_address = "127.0.0.1", .services = &service, .service_count = 1};
    struct error err = {0};
    if (rpc_server_create(&master->server, &config, &err))
        fail_msg("fake master: %s", err.message);
    unsigned port = rpc_server_port(master->server);
    snprintf(master->address, sizeof(master->address), "127.0.0.1:1.%u", port);
    snprintf(master->grpc_address, sizeof(master->grpc_address), "127.0.0.1:%u", port);
}

void fake_master_stop(struct fake_master *master)
{
    rpc_server_destroy(master->server, 0);
    for (size_t i = 0; i < master->beat_count; i++)
        master_pb__heartbeat__free_unpacked(master->beats[i], NULL);
    for (size_t i = 0; i < master->mark_count; i++)
        master_pb__volume_mark_readonly_request__free_unpacked(master->marks[i], NULL);
    pthread_mutex_destroy(&master->lock);
    pthread_cond_destroy(&master->changed);
}

void fake_master_wait(struct fake_master *master, bool (*holds)(struct fake_master *m, void *ctx),
                      void *ctx, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&master->lock);
    bool does_hold;
    int rc = 0;
    while (!(does_hold = holds(master, ctx)) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&master->changed, &master->lock, &until);
    pthread_mutex_unlock(&master->lock);
    if (!does_hold)
        fail_msg("waited in vain until %s", what);
}

void fake_master_say(struct fake_master *master, const MasterPb__HeartbeatResponse *response)
{
    pthread_mutex_lock(&master->lock);
    assert_non_null(master->stream);
    rpc_call_send(master->stream, &response->base);
    pthread_mutex_unlock(&master->lock);
}

void fake_master_hang_up(struct fake_master *master)
{
    pthread_mutex_lock(&master->lock);
    assert_non_null(master->stream);
    rpc_call_fail(master->stream, RPC_UNAVAILABLE, "the master goes");
    pthread_mutex_unlock(&master->lock);
}

size_t fake_master_beat_count(struct fake_master *master)
{
    pthread_mutex_lock(&master->lock);
    size_t count = master->beat_count;
    pthread_mutex_unlock(&master->lock);
    return count;
}
