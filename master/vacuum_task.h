/* The vacuum of one volume: a state machine, fed with the answers of volume servers and with ticks.
 *
 *   QUEUED -> CHECKING -> DRAINING -> COMPACTING -> COMMITTING -+-> COMPACTING (next replica)
 *      |          |           |            |             |      +-> ENDED
 *      |          |           |            +-> CLEANING -+----------^
 *      +----------+-----------+-------------------------------------^
 *
 *   QUEUED -> DELETING (an empty copy) -> ENDED
 *   DRAINING, COMMITTING, CLEANING -> PAUSED -> COMPACTING (a paused job: instead of the next replica)
 *
 * A paused job that compacts has its server hold still; any other stops before it compacts the next replica.
 *
 * All replicas are checked at once; those with enough garbage are then done one after another, so
 * that the others serve quietly. A replica that fails is cleaned up and the next one is tried; one
 * whose server died ends the job, because the volume has lost a copy. A commit is sent only after
 * an own compaction that succeeded, once, and never repeated: the peer's servers close the volume
 * otherwise. There is no limit on a compaction's length, only on the time without progress. Source:
 * spec/topology.md 9.3, VACUUM.md.
 *
 * Pure apart from the topology: rpcs go out through a table of callbacks. Everything here runs
 * under the host's lock; answers may come from any thread and take it themselves. */
#pragma once

#include "master/cluster.h"
#include "master/vacuum_call.h"

#define VACUUM_STATES(X)                                                                           \
    X(QUEUED, "queued")                                                                            \
    X(CHECKING, "checking")                                                                        \
    X(DRAINING, "draining")                                                                        \
    X(COMPACTING, "compacting")                                                                    \
    X(PAUSED, "paused")                                                                            \
    X(COMMITTING, "committing")                                                                    \
    X(CLEANING, "cleaning up")                                                                     \
    X(DELETING, "deleting")                                                                        \
    X(ENDED, "ended")

enum vacuum_state {
#define X(name, text) VACUUM_##name,
    VACUUM_STATES(X)
#undef X
};
const char *vacuum_state_text(enum vacuum_state state);

#define VACUUM_RESULTS(X)                                                                          \
    X(PENDING, "")                                                                                 \
    X(DONE, "done")                                                                                \
    X(SKIPPED, "skipped")                                                                          \
    X(FAILED, "failed")                                                                            \
    X(CANCELLED, "cancelled")

enum vacuum_result {
#define X(name, text) VACUUM_RESULT_##name,
    VACUUM_RESULTS(X)
#undef X
};
const char *vacuum_result_text(enum vacuum_result result);

struct vacuum_task_replica {
    char *url;     /* "ip:port" */
    char *address; /* "host:grpcPort" */
    double garbage_ratio; /* as checked; negative: not yet */
    uint64_t size_before, size_after;
    struct vacuum_call_progress progress; /* of its compaction */
    bool qualifies;
    bool only_empty, only_garbage; /* for DELETING */
    enum vacuum_result result;
    struct vacuum_call call;
};

struct vacuum_task_config {
    struct cluster *cluster;
    const struct vacuum_ops *ops;
    pthread_mutex_t *lock; /* the host's */
    bool is_preallocating;
    uint32_t volume_size_limit_mb;
    /* Lock held: the job has just ended. */
    void (*on_ended)(void *ctx, struct vacuum_task *job);
    /* Without the lock: a server does not know how to pause. */
    void (*on_pause_refused)(void *ctx, uint64_t job_id, const char *why);
    /* Without the lock, after any answer: a chance to start others and to notify. */
    void (*on_idle)(void *ctx);
    void *ctx;
};

struct vacuum_task {
    const struct vacuum_task_config *config; /* borrowed */
    uint64_t id;
    uint32_t volume_id;
    char *collection;
    double threshold;
    bool is_explicit;
    enum vacuum_state state;
    enum vacuum_result result; /* PENDING until it ended */
    struct vacuum_task_replica *replicas;
    size_t replica_count;
    size_t current;     /* replica at work */
    size_t outstanding; /* answers that are still to come */
    bool is_held;       /* topology_begin_vacuum was called */
    bool is_cancelling;
    bool is_paused;
    bool is_abandoned; /* the master stops: no more calls, not even cleanups */
    bool is_halting; /* the failure will not go away by trying again */
    bool is_deleting_empty;
    int64_t created_ns, started_ns, ended_ns;
    int64_t drain_until_ns, last_progress_ns;
    struct vacuum_task_outcome {
        bool is_read_only;
        uint64_t largest;
        size_t committed, failed;
    } outcome;
    uint64_t reclaimed_bytes;
    char message[ERROR_MESSAGE_MAX];
    char note[96]; /* what else is to be known while it runs */
    void *host_data; /* the host's own */
    struct vacuum_task *prev, *next;
};

/* A queued one. */
struct vacuum_task *vacuum_task_create(const struct vacuum_task_config *config, uint32_t volume_id,
                                     const char *collection, double threshold, int64_t now_ns);
void vacuum_task_destroy(struct vacuum_task *job); /* one that is queued or has ended */
/* Before the start: deletes this empty copy instead of compacting. */
void vacuum_task_add_empty(struct vacuum_task *job, const char *url, const char *address,
                          bool only_empty);

/* Lock held. May end at once (on_ended is then called from inside). */
void vacuum_task_start(struct vacuum_task *job, int64_t now_ns);
/* Every few hundred ms: drains, and cancels compactions that stand still. */
void vacuum_task_tick(struct vacuum_task *job, int64_t now_ns);
/* Holds it still as soon as it can, or lets it go on. A queued one: the host does not start it. */
void vacuum_task_pause(struct vacuum_task *job, bool is_paused);
/* Ends it at its next safe point; a commit that was sent is awaited. */
void vacuum_task_cancel(struct vacuum_task *job, const char *why);
