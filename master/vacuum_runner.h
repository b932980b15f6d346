/* Vacuum of the cluster: sweeps on a timer, requests by hand, their jobs, limits and history.
 *
 * A request becomes one job per volume that the planner lets through. Jobs wait in one queue: those
 * asked for by hand stand before those of the timer, so a slow sweep never delays an operator. A
 * job starts when every server of its volume is below its limit and its layout is too; until then
 * others overtake it, so a sick server holds up its own volumes only. A volume has at most one job:
 * a second request joins the one that is there. Failures are remembered per volume and make the
 * planner wait longer each time. Source: spec/topology.md 9, VACUUM.md "On the master".
 *
 * Any thread; one lock inside, under which the topology's may be taken, never the other way
 * round. */
#pragma once

#include "common/json_writer.h"
#include "master/vacuum_task.h"
#include "master/vacuum_planner.h"

#define VACUUM_HISTORY_MAX     200u
#define VACUUM_PER_LAYOUT      100u
#define VACUUM_FAILURES_MAX    100000u
#define VACUUM_REQUESTS_MAX    1000u

struct vacuum_runner;

struct vacuum_runner_config {
    struct cluster *cluster;      /* borrowed */
    const struct vacuum_ops *ops; /* borrowed */
    double threshold;             /* of the timer's sweeps */
    uint32_t interval_seconds;    /* pause between them, plus a random part below jitter_seconds */
    uint32_t jitter_seconds;
    uint32_t per_server;                 /* 0 counts as 1 */
    uint32_t delete_empty_after_seconds; /* 0: never */
    bool is_preallocating;
    uint32_t volume_size_limit_mb;
    /* Whether the lock "admin-server" is held: without it the plugin's switch falls back. May be
     * NULL. */
    bool (*is_admin_server_here)(void *ctx);
    void *ctx;
};

struct vacuum_runner *vacuum_runner_create(const struct vacuum_runner_config *config);
/* Takes no more requests, cancels all jobs and waits for them, up to grace_ms. Afterwards all
 * requests have been told, and no call is started any more; those in flight must still be awaited
 * (rpc_client_destroy) before the destroy. */
void vacuum_runner_stop(struct vacuum_runner *runner, unsigned grace_ms);
void vacuum_runner_destroy(struct vacuum_runner *runner);

struct vacuum_summary {
    uint32_t jobs, done, skipped, failed, cancelled;
    uint64_t reclaimed_bytes;
    bool is_refused; /* the master stops, or too many requests wait */
};
typedef void vacuum_done(void *ctx, const struct vacuum_summary *summary);

struct vacuum_request {
    double threshold;       /* taken as it is: 0 = everything */
    uint32_t volume_id;     /* 0: all; else read-only does not keep it away */
    const char *collection; /* NULL or "": all */
    vacuum_done *done;      /* may be NULL; once, when all its jobs have ended, on any thread */
    void *ctx;
};
/* By hand: not subject to the switches. `done` may be called before this returns. */
void vacuum_runner_request(struct vacuum_runner *runner, const struct vacuum_request *request);

/* The two switches of automatic vacuum: it runs when neither is off. */
void vacuum_runner_set_enabled(struct vacuum_runner *runner, bool by_plugin, bool is_enabled);
bool vacuum_runner_is_enabled(struct vacuum_runner *runner);

/* False when there is no such job, or it has ended. */
bool vacuum_runner_cancel(struct vacuum_runner *runner, uint64_t job_id);

/* Holds a job still, or lets it go on; likewise. A server of the peer cannot hold still: then the job goes on
 * and says so. */
bool vacuum_runner_pause(struct vacuum_runner *runner, uint64_t job_id, bool is_paused);

/* Every few hundred ms: the timer, drains, stalls. */
void vacuum_runner_tick(struct vacuum_runner *runner);

struct vacuum_runner_stats {
    uint32_t running, queued;
    bool is_enabled;
};
void vacuum_runner_stats(struct vacuum_runner *runner, struct vacuum_runner_stats *ret);

/*
 * {"enabled":..,"running":[..],"queued":[..],"history":[..],"failures":[..], ..} */
void vacuum_runner_print_jobs(struct vacuum_runner *runner, struct json_writer *w);
/* What a sweep with this threshold would do now, and why the others are left out. */
void vacuum_runner_print_plan(struct vacuum_runner *runner, double threshold,
                              struct json_writer *w);
