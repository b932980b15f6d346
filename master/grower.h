/* Growth carried out: ids are taken, servers chosen, volumes allocated on them and registered, or
 * all of it is rolled back. When and how many is volume_growth.h's decision.
 *
 * Requests wait in a bounded queue and run on a few threads of their own, so that one server that
 * does not answer (60 s) does not stop growth elsewhere; servers chosen by one are reserved, so
 * they do not get in each other's way. A volume is known and assignable as soon as it is complete.
 * Source: spec/topology.md 6.2-6.4. */
#pragma once

#include "master/cluster.h"
#include "master/volume_option.h"

#define GROWER_QUEUE_MAX 64u
#define GROWER_THREADS   4u
#define GROWER_RPC_MS    60000u

struct grower;

struct grow_result {
    int code; /* 0: all that was asked for */
    struct error err;
    uint32_t created;   /* logical volumes, also on failure */
    uint32_t locations; /* replicas of them */
};

/* Called once, on a grower thread. */
typedef void grow_done(void *ctx, const struct grow_result *result);

struct grow_request {
    struct volume_option option; /* copied */
    uint32_t count;
    const char *reason; /* static; for the log */
    /* The caller got true from volume_growth_begin; the grower calls volume_growth_end. */
    bool is_begun;
    /* Drop it when the layout has room again: on demand and periodic requests. */
    bool is_optional;
    grow_done *done; /* may be NULL */
    void *ctx;
};

struct grower_config {
    struct cluster *cluster;
    struct rpc_client *rpc;
    /* After each complete volume and after each request, without locks; e.g. to wake waiting
     * assigns. */
    void (*on_progress)(void *ctx);
    void *ctx;
};

int grower_create(struct grower **ret, const struct grower_config *config, struct error *err);
/* Refuses new requests; those that wait are ended, those that run after their current volume. Waits
 * for that up to grace_ms: a server that does not answer holds its request until rpc_client_close.
 */
void grower_stop(struct grower *grower, unsigned grace_ms);
/* Stops it if need be, and waits for all requests. NULL is fine. */
void grower_destroy(struct grower *grower);

/* Any thread, without the topology's lock. KELP_E_LIMIT when the queue is full, or the grower
 * stops: `done` is not called and a begun growth is ended. */
int grower_submit(struct grower *grower, const struct grow_request *request, struct error *err);

/* Ends the growth of this collection after the volume in work, waits for that, and grows it no more
 * until grower_release_collection: so that deleting a collection leaves none behind. Blocks. */
void grower_hold_collection(struct grower *grower, const char *collection);
void grower_release_collection(struct grower *grower, const char *collection);
