/* A volume server made of two ends of the wire: it answers the master's rpcs as the test says and
 * sends the heartbeats that the test asks for. And a recorder of KeepConnected pushes. Waits have a
 * deadline. */
#pragma once

#include "common/rpc_client.h"
#include "common/rpc_server.h"
#include "common/rpc_server.h"
#include "proto/master.pb-c.h"

#include <pthread.h>
#include <stdatomic.h>

#define WAIT_MS 10000u

struct fake_server {
    struct rpc_client *client;
    struct rpc_server *server;
    char master[64]; /* its gRPC address */
    uint16_t port;   /* of HTTP; nobody listens there */
    struct rpc_stream *stream;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    atomic_uint responses; /* to heartbeats */
    atomic_bool is_registered, is_asked_to_resend, is_stream_over;
    atomic_ulong volume_size_limit;
    enum rpc_status end_status;
    char end_text[ERROR_MESSAGE_MAX];
    atomic_uint allocations, deletions, compactions, commits, cleanups, collection_deletions;
    uint32_t allocated[64];
    /* What it answers. */
    atomic_bool refuses_allocation, hangs_in_allocation, dies_in_compaction;
    _Atomic double garbage_ratio;
};

/* `port` only names it. */
void fake_server_start(struct fake_server *f, uint16_t master_grpc_port, uint16_t port);
void fake_server_stop(struct fake_server *f);

/* Opens a heartbeat stream and registers with these volumes; waits for the master's answer. */
void fake_server_register(struct fake_server *f, const char *data_center, const char *rack,
                          uint32_t max_volumes, const uint32_t *ids, size_t count);
/* Full list again, each with this much garbage in 1000 bytes. */
void fake_server_report(struct fake_server *f, const uint32_t *ids, size_t count,
                        uint32_t placement, uint64_t garbage);
void fake_server_send(struct fake_server *f, MasterPb__Heartbeat *beat);
void fake_server_hang_up(struct fake_server *f); /* the stream ends, as when the process dies */

/* Waits until the number is at least `least`. */
void fake_server_await(struct fake_server *f, const atomic_uint *number, unsigned least);
void fake_server_await_flag(struct fake_server *f, const atomic_bool *flag);

/* ---- KeepConnected --------------------------------------------------------------------------- */

struct fake_client {
    struct rpc_stream *stream;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char log[8192]; /* a line a message */
    bool is_over;
};
void fake_client_connect(struct fake_client *c, struct rpc_client *client, const char *master,
                         const char *type, const char *address, const char *group);
/* Waits until the log holds this text. */
void fake_client_await(struct fake_client *c, const char *text);
void fake_client_close(struct fake_client *c);
