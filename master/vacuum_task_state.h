/* What is known of a vacuum task, and the states that it goes through, by allowed moves, to its
 * end: vacuum_task.h draws them, and is what makes it go. Under the host's lock. */
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

/* ---- for vacuum_task.c ---- */

/* Only along the table of moves, and only with no answer outstanding. */
void vacuum_task_move(struct vacuum_task *job, enum vacuum_state state);
/* The first message stays: later ones are mostly consequences. */
void vacuum_task_say(struct vacuum_task *job, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Gives the volume back to the topology, and tells the host. */
void vacuum_task_end(struct vacuum_task *job, enum vacuum_result result);
/* Both texts are copied. Valid until the next one is added. */
struct vacuum_task_replica *vacuum_task_add_replica(struct vacuum_task *job, const char *url,
                                                    const char *address);
