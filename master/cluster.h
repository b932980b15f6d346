/* The one shared picture that every part of the master server works on: the topology with its lock,
 * the file keys, what is durable, and the way changes reach the clients.
 *
 * `lock` guards the topology, all that is reached from it, and the sequencer. It is held for short
 * computations only, never across I/O, and no other lock but the inner ones of clients, logs and
 * metrics is taken under it. Any thread. */
#pragma once

#include "common/os.h"
#include "common/rpc_client.h"
#include "common/worker_pool.h"
#include "master/client_registry.h"
#include "master/master_metrics.h"
#include "master/master_state.h"
#include "master/sequencer.h"
#include "master/topology.h"

#include <pthread.h>

struct cluster_config {
    struct os *os;
    struct master_state *state;     /* borrowed */
    struct master_metrics *metrics; /* borrowed */
    struct topology_options topology;
    bool is_snowflake;
    unsigned snowflake_id;
    const char *address; /* this master's full one; borrowed */
    /* Called, without the lock, when file keys became available. */
    void (*on_keys)(void *ctx);
    void *ctx;
};

struct cluster {
    pthread_mutex_t lock;
    struct topology *topology;
    struct sequencer sequencer;
    /* Borrowed, set before the first use, thread-safe by themselves. */
    struct os *os;
    struct master_state *state;
    struct master_metrics *metrics;
    struct client_registry *clients;
    const char *address;
    /* Private. */
    struct worker_pool *state_pool; /* one thread that makes key blocks and ids durable */
    uint32_t kept_volume_id;        /* durable: this one and those below are never given again */
    bool is_keeping_ids, is_state_failing;
    void (*on_keys)(void *ctx);
    void *ctx;
};

/* Starts as leader, with the first block of keys durable. Blocks. */
int cluster_create(struct cluster **ret, const struct cluster_config *config, struct error *err);
/* Waits for what is being made durable, and starts nothing more of it: on_keys is not called
 * afterwards. NULL is fine. */
void cluster_stop(struct cluster *cluster);
/* Nobody uses it any more. Lets the key ceiling fall to what was handed out. NULL is fine. */
void cluster_destroy(struct cluster *cluster);

void cluster_lock(struct cluster *cluster);
void cluster_unlock(struct cluster *cluster);
int64_t cluster_now_ns(const struct cluster *cluster); /* unix time */

/* Lock held: n consecutive keys and a cookie. KELP_E_AGAIN: wait for on_keys. */
int cluster_take_keys(struct cluster *cluster, uint64_t n, uint64_t *ret_first,
                      uint32_t *ret_cookie, struct error *err);

/* Lock held since they were taken, and not shown to anybody. */
void cluster_give_back_keys(struct cluster *cluster, uint64_t first, uint64_t n);

/* The next volume id, durable before it is returned. Blocks; without the lock. */
int cluster_take_volume_id(struct cluster *cluster, uint32_t *ret, struct error *err);

/* Lock held, after a report: makes the highest volume id that servers hold durable, soon. Else a
 * master that is killed would forget the volumes of a server that is away when it comes back, and
 * hand their ids out again. */
void cluster_keep_volume_ids(struct cluster *cluster);

/* "host:grpcPort" of a node. Lock held (or a reference to the node). */
void cluster_node_grpc_address(const struct data_node *node, char *text, size_t size);

/* Appends one full update per attached node. Takes the lock. */
void cluster_describe(struct cluster *cluster, struct location_updates *ret);
