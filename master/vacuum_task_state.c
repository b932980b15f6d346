/* The moves are a table, and one function makes them. */
#include "master/vacuum_task_state.h"

#include "common/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_texts[] = {
#define X(name, text) text,
    VACUUM_STATES(X)
#undef X
};

static const char *const result_texts[] = {
#define X(name, text) text,
    VACUUM_RESULTS(X)
#undef X
};

#define BIT(state) (1u << VACUUM_##state)
/* From each state, where it may go. */
static const unsigned moves[] = {
    [VACUUM_QUEUED] = BIT(CHECKING) | BIT(DELETING) | BIT(ENDED),
    [VACUUM_CHECKING] = BIT(DRAINING) | BIT(ENDED),
    [VACUUM_DRAINING] = BIT(COMPACTING) | BIT(PAUSED) | BIT(ENDED),
    [VACUUM_COMPACTING] = BIT(COMMITTING) | BIT(CLEANING),
    [VACUUM_PAUSED] = BIT(COMPACTING) | BIT(ENDED),
    [VACUUM_COMMITTING] = BIT(COMPACTING) | BIT(PAUSED) | BIT(ENDED),
    [VACUUM_CLEANING] = BIT(COMPACTING) | BIT(PAUSED) | BIT(ENDED),
    [VACUUM_DELETING] = BIT(ENDED),
    [VACUUM_ENDED] = 0,
};

const char *vacuum_state_text(enum vacuum_state state) { return state_texts[state]; }
const char *vacuum_result_text(enum vacuum_result result) { return result_texts[result]; }

void vacuum_task_move(struct vacuum_task *job, enum vacuum_state state)
{
    CHECK(moves[job->state] & (1u << state));
    CHECK(job->outstanding == 0);
    job->state = state;
}

struct vacuum_task *vacuum_task_create(const struct vacuum_task_config *config, uint32_t volume_id,
                                     const char *collection, double threshold, int64_t now_ns)
{
    struct vacuum_task *job = must(calloc(1, sizeof(*job)));
    job->config = config;
    job->volume_id = volume_id;
    job->collection = must(strdup(collection));
    job->threshold = threshold;
    job->created_ns = now_ns;
    return job;
}

void vacuum_task_destroy(struct vacuum_task *job)
{
    if (!job)
        return;
    CHECK(job->state == VACUUM_QUEUED || job->state == VACUUM_ENDED);
    for (size_t i = 0; i < job->replica_count; i++) {
        free(job->replicas[i].url);
        free(job->replicas[i].address);
    }
    free(job->replicas);
    free(job->collection);
    free(job);
}

struct vacuum_task_replica *vacuum_task_add_replica(struct vacuum_task *job, const char *url,
                                                    const char *address)
{
    job->replicas = must(realloc(job->replicas, (job->replica_count + 1) * sizeof(*job->replicas)));
    struct vacuum_task_replica *replica = &job->replicas[job->replica_count++];
    *replica = (struct vacuum_task_replica){.url = must(strdup(url)),
                                           .address = must(strdup(address)),
                                           .garbage_ratio = -1};
    return replica;
}

void vacuum_task_add_empty(struct vacuum_task *job, const char *url, const char *address,
                          bool only_empty)
{
    struct vacuum_task_replica *replica = vacuum_task_add_replica(job, url, address);
    job->is_deleting_empty = true;
    replica->only_empty = only_empty;
    replica->only_garbage = !only_empty;
}

void vacuum_task_say(struct vacuum_task *job, const char *fmt, ...)
{
    if (job->message[0])
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(job->message, sizeof(job->message), fmt, args);
    va_end(args);
}

void vacuum_task_end(struct vacuum_task *job, enum vacuum_result result)
{
    if (job->is_held) {
        struct vacuum_outcome outcome = {
            .is_committed = job->outcome.committed > 0 && job->outcome.failed == 0,
            .is_read_only = job->outcome.is_read_only,
            .size = job->outcome.largest,
        };
        cluster_lock(job->config->cluster);
        topology_end_vacuum(job->config->cluster->topology, job->volume_id, &outcome);
        cluster_unlock(job->config->cluster);
        job->is_held = false;
    }
    vacuum_task_move(job, VACUUM_ENDED);
    job->result = result;
    job->ended_ns = cluster_now_ns(job->config->cluster);
    job->config->on_ended(job->config->ctx, job);
}
