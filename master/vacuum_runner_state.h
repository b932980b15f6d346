/* The inside of the vacuum runner, shared by the files that make jobs, run them and show them. The
 * runner's lock guards all of it. */
#pragma once

#include "master/vacuum_limits.h"
#include "master/vacuum_runner.h"

#include <uthash.h>

struct sweep { /* a request, or the timer's */
    struct vacuum_summary summary;
    vacuum_done *done;
    void *ctx;
    size_t pending; /* jobs, plus one while they are being queued */
    struct sweep *next;
};

struct job_sweep {
    struct sweep *sweep;
    struct job_sweep *next;
};

/* What the runner adds to a job. */
struct ticket {
    struct vacuum_task *job;
    uint32_t volume_id; /* the key */
    struct vacuum_claim claim;
    struct job_sweep *sweeps;
    bool is_running;
    UT_hash_handle hh;
};

struct failure {
    uint32_t volume_id; /* the key */
    uint32_t count;
    int64_t last_ns;
    char message[ERROR_MESSAGE_MAX];
    UT_hash_handle hh;
};

struct vacuum_runner {
    struct vacuum_runner_config config;
    struct vacuum_task_config job_config;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a job ended */
    struct vacuum_task *queued, *running, *history;
    size_t queued_count, running_count, history_count;
    struct ticket *by_volume; /* queued and running */
    struct failure *failures;
    struct vacuum_limit_table limits;
    struct sweep *finished;
    size_t open_requests;
    uint64_t last_job_id;
    int64_t next_sweep_ns;
    struct sweep *timer_sweep; /* the one that runs */
    bool is_off_by_operator, is_off_by_plugin, is_stopping;
};

/* vacuum_queue.c. Lock held; the topology's lock is taken inside. */

/* The most that one volume's failures make it wait is the planner's business; this only tells
 * it. */
void vacuum_queue_annotate(void *runner, struct vacuum_candidate *candidate);
/* Plans a request and queues its jobs. */
void vacuum_queue_add(struct vacuum_runner *r, struct sweep *sweep, bool is_explicit,
                      const struct vacuum_request *request);
/* Before the ordinary jobs: a volume that loses an empty copy gets no other job in this sweep. */
void vacuum_queue_add_empty_copies(struct vacuum_runner *r, struct sweep *sweep);
