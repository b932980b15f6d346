/* The inside of a volume server: volume_server.c (config, life), volume_server_ports.c (loops,
 * listeners and what answers on them). */
#pragma once

#include "common/arena.h"
#include "common/http_metrics.h"
#include "common/http_server.h"
#include "common/loop_metrics.h"
#include "common/metrics_push.h"
#include "common/metrics_server.h"
#include "common/rpc_client.h"
#include "volume/heartbeat.h"
#include "volume/server_state.h"
#include "volume/volume_http.h"
#include "volume/volume_metrics.h"
#include "volume/volume_rpc.h"
#include "volume/volume_server.h"

#include <pthread.h>
#include <stdatomic.h>

#define VOLUME_SERVER_LOOPS_MAX 64u

struct volume_server {
    struct volume_server_config config; /* its strings live in the arena */
    struct arena arena;
    struct os *os;
    struct address *masters; /* in the arena */
    size_t master_count;
    struct heartbeat_identity identity;
    const char *own_url; /* "ip:port", in the arena once the port is known */

    struct store *store;
    struct server_state *state;
    struct rpc_client *client;
    _Atomic(struct heartbeat *) heartbeat; /* set once, read by the store's callbacks */
    struct security *security, *own_security; /* the latter: when the config has none */
    struct metrics *registry;
    struct volume_metrics *metrics;
    struct volume_rpc *rpc;
    struct volume_lookup_master *lookup_master;
    struct volume_lookup *lookup;

    /* volume_server_ports.c; from the start thread, then from stop. */
    struct loop *loops[VOLUME_SERVER_LOOPS_MAX];
    unsigned loop_count;
    struct volume_http *http;
    struct http_server *http_server, *public_server;
    struct rpc_server *rpc_server;
    struct metrics_server *metrics_server;
    struct loop_metrics *loop_metrics;
    struct http_metrics *http_metrics;
    struct metrics_push *metrics_push; /* NULL: the masters want none */
    atomic_uint port, grpc_port, metrics_port;

    /* What the first master that answered said of a push gateway; in the arena. */
    const char *gateway;
    unsigned gateway_interval_seconds;
    int64_t started_second; /* unix time */

    pthread_t start_thread;
    bool has_start_thread;
    bool has_served; /* the start thread's, read after it was joined */
    atomic_bool is_stopping;
    pthread_mutex_t wake_lock;
    pthread_cond_t wake;
    bool is_stop_asked, is_hurried, is_asking_masters; /* wake_lock */
    bool is_loaded; /* wake_lock: all volumes that can be are */
};

/* Opens the metrics port, loops, HTTP, gRPC, in this order; fills in ports and identity. On
 * failure what was opened stays for volume_server_close_ports. */
int volume_server_open_ports(struct volume_server *server, struct error *err);
/* Lets requests finish for up to grace_ms. Takes a server that has opened nothing, or not all. */
void volume_server_close_ports(struct volume_server *server, unsigned grace_ms);
