/* A server with the echo service and a client, for the tests of the RPC layer; and a watch, which
 * counts the events of streams and calls for a test that waits for them. */
#pragma once

#include "common/rpc_client.h"
#include "common/rpc_server.h"
#include "proto/volume_server.pb-c.h"
#include "tests/proto/echo_service.h"

#define RPC_FIXTURE_MESSAGE VolumeServerPb__VolumeTailSenderResponse
#define RPC_FIXTURE_DESCRIPTOR &volume_server_pb__volume_tail_sender_response__descriptor
#define RPC_FIXTURE_TIMEOUT_MS 10000

struct rpc_fixture {
    struct echo_service service;
    struct rpc_server *server;
    struct rpc_client *client;
    char address[32];
};

/* cmocka's; the second one checks that no callbacks overlapped and that every call was closed. */
int rpc_fixture_setup(void **state);
int rpc_fixture_teardown(void **state);

/* Valid as long as its arguments. */
RPC_FIXTURE_MESSAGE rpc_fixture_say(const char *command, const char *body);
int rpc_fixture_call(struct rpc_fixture *f, const char *path, const char *command, const char *body,
                     ProtobufCMessage **ret, enum rpc_status *status, struct error *err);

struct rpc_watch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned opened, messages, closed;
    size_t bytes;
    enum rpc_status status;
    struct error err;
};

extern const struct rpc_stream_ops rpc_watch_ops; /* the context is the watch */

void rpc_watch_init(struct rpc_watch *w);
void rpc_watch_fini(struct rpc_watch *w);
/* For rpc_client_send; counts as closed. */
void rpc_watch_done(void *ctx, const ProtobufCMessage *response, enum rpc_status status,
                    const struct error *err);
/* Waits until the counter, one of the watch's, is at least that; fails the test after 20 s. */
void rpc_watch_wait(struct rpc_watch *w, const unsigned *counter, unsigned at_least);
struct rpc_stream *rpc_fixture_open(struct rpc_fixture *f, const char *path, struct rpc_watch *w);
