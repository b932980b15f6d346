/* What the handlers of the wire (rpc_*.c, http_*.c) work with. Filled once by master.c, read-only
 * then. */
#pragma once

#include "common/rpc_server.h"
#include "common/worker_pool.h"
#include "master/admin_lock.h"
#include "master/assigner.h"
#include "master/cluster.h"
#include "master/grower.h"
#include "master/stream_list.h"
#include "master/vacuum_runner.h"
#include "common/security.h"

#include <stdatomic.h>

struct loop;

struct services {
    struct cluster *cluster;
    struct assigner *assigner;
    struct grower *grower;
    struct vacuum_runner *vacuum;
    struct admin_locks *locks;
    struct rpc_client *rpc;
    struct stream_list *streams; /* heartbeats, KeepConnected, StreamAssign */
    struct worker_pool *pool; /* for HTTP handlers that walk much, and the periodic passes */
    /* For HTTP handlers that wait for volume servers: hung ones must not hold up the others. */
    struct worker_pool *patient_pool;
    atomic_ullong give_up_ns; /* monotonic; 0: the master does not stop */
    struct loop *control;     /* KeepConnected's clients live there */
    struct security *security;
    const char *address;      /* host:httpPort[.grpcPort] */
    const char *http_address; /* host:httpPort */
    const char *version;
    const char *default_replication;
    const char *metrics_address;
    const char *maintenance_scripts;
    uint32_t metrics_interval_seconds;
    uint32_t maintenance_sleep_minutes;
    uint32_t volume_size_limit_mb;
    uint32_t file_size_limit_mb;
    double garbage_threshold;
    bool is_preallocating;
    bool is_http_disabled;
    int64_t start_ns;
};

/* The option that a request's texts ask for; replication "" takes the default. The texts are
 * borrowed. Messages are the wire's. */
int services_parse_option(const struct services *s, struct slice replication, struct slice ttl,
                          struct volume_option *option, struct error *err);

/* Calls DeleteCollection on every holder, one after another, then forgets the collection. The first
 * failure ends it: *ret_status (may be NULL) and err are the volume server's. Blocks. */
int services_delete_collection(struct services *s, const char *name, bool with_ec,
                               enum rpc_status *ret_status, struct error *err);

/* The master stops, and its grace is over: who waits for another server must end. Any thread. */
bool services_is_out_of_time(const struct services *s);

/* Bytes to reserve for a new volume when the request does not say. */
int64_t services_preallocate_bytes(const struct services *s);
