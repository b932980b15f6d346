/* From a request to jobs in the queue: a snapshot of the topology, the planner's list, one job per
 * volume. Runner's lock held by the caller. */
#include "master/vacuum_runner_state.h"

#include "common/check.h"
#include "master/vacuum_snapshot.h"
#include "master/volume_layout.h"

#include <utlist.h>

static void join_sweep(struct ticket *ticket, struct sweep *sweep)
{
    struct job_sweep *link = must(calloc(1, sizeof(*link)));
    link->sweep = sweep;
    LL_PREPEND(ticket->sweeps, link);
    sweep->pending++;
    sweep->summary.jobs++;
}

void vacuum_queue_annotate(void *ctx, struct vacuum_candidate *candidate)
{
    struct vacuum_runner *r = ctx;
    struct failure *failure;
    HASH_FIND(hh, r->failures, &candidate->id, sizeof(candidate->id), failure);
    if (failure) {
        candidate->failures = failure->count;
        candidate->last_failure_ns = failure->last_ns;
    }
    struct ticket *ticket;
    HASH_FIND(hh, r->by_volume, &candidate->id, sizeof(candidate->id), ticket);
    candidate->is_in_flight = ticket && ticket->is_running;
}

/* By hand: earlier failures do not keep a volume away, and one in flight is joined. */
static void annotate_nothing(void *ctx, struct vacuum_candidate *candidate)
{
    (void)ctx;
    (void)candidate;
}

static void add_claims(struct vacuum_runner *r, struct ticket *ticket,
                       const struct vacuum_nodes *nodes,
                       const struct vacuum_candidate *volume)
{
    for (uint32_t i = 0; i < volume->replica_count; i++) {
        struct data_node_info info;
        data_node_info(nodes->by_replica[volume->first_replica + i], &info);
        vacuum_claim_add(&r->limits, &ticket->claim, info.url, r->config.per_server);
    }
}

static struct ticket *ticket_create(struct vacuum_runner *r, uint32_t volume_id,
                                    const char *collection, double threshold)
{
    struct ticket *ticket = must(calloc(1, sizeof(*ticket)));
    ticket->volume_id = volume_id;
    ticket->job = vacuum_task_create(&r->job_config, volume_id, collection, threshold,
                                    cluster_now_ns(r->config.cluster));
    ticket->job->id = ++r->last_job_id;
    ticket->job->host_data = ticket;
    HASH_ADD(hh, r->by_volume, volume_id, sizeof(ticket->volume_id), ticket);
    return ticket;
}

static void enqueue(struct vacuum_runner *r, struct ticket *ticket, bool is_explicit)
{
    struct vacuum_task *job = ticket->job, *other;
    job->is_explicit = is_explicit;
    /* Before the first automatic one, behind the other explicit ones. */
    other = r->queued;
    while (is_explicit && other && other->is_explicit)
        other = other->next;
    if (is_explicit && other)
        DL_PREPEND_ELEM(r->queued, other, job);
    else
        DL_APPEND(r->queued, job);
    r->queued_count++;
}

/* Volume and collection of a snapshot's candidate: what the job and its limits need. */
static void add_job(struct vacuum_runner *r, struct sweep *sweep, bool is_explicit,
                    double threshold, const struct vacuum_nodes *nodes,
                    const struct vacuum_candidate *volume,
                    const char *layout, const char *collection)
{
    struct ticket *ticket;
    HASH_FIND(hh, r->by_volume, &volume->id, sizeof(volume->id), ticket);
    if (ticket && is_explicit) {
        struct vacuum_task *job = ticket->job;
        if (threshold < job->threshold) /* one that has not weighed its replicas yet */
            job->threshold = threshold;
        if (!ticket->is_running && !job->is_explicit) {
            DL_DELETE(r->queued, job);
            r->queued_count--;
            enqueue(r, ticket, true);
        }
    }
    if (!ticket) {
        ticket = ticket_create(r, volume->id, collection, threshold);
        add_claims(r, ticket, nodes, volume);
        vacuum_claim_add(&r->limits, &ticket->claim, layout, VACUUM_PER_LAYOUT);
        enqueue(r, ticket, is_explicit);
    }
    join_sweep(ticket, sweep);
}

void vacuum_queue_add(struct vacuum_runner *r, struct sweep *sweep, bool is_explicit,
                      const struct vacuum_request *request)
{
    struct cluster *cluster = r->config.cluster;
    struct vacuum_snapshot snapshot;
    struct vacuum_nodes nodes;
    struct vacuum_limits limits;
    struct vacuum_plan plan;
    vacuum_limits_default(&limits);
    limits.now_ns = cluster_now_ns(cluster);
    limits.only_volume_id = request->volume_id;
    limits.per_server = r->config.per_server;
    limits.per_layout = VACUUM_PER_LAYOUT;
    /* Heartbeats are some seconds old. By hand every volume is asked for its garbage; the timer
     * asks those that reported enough. */
    limits.threshold = is_explicit ? 0 : request->threshold;
    limits.is_by_hand = is_explicit;
    cluster_lock(cluster);
    vacuum_snapshot_take(cluster->topology, request->collection, request->volume_id,
                         is_explicit ? annotate_nothing : vacuum_queue_annotate, r, &snapshot,
                         &nodes);
    cluster_unlock(cluster);
    vacuum_plan_make(&snapshot, &limits, &plan); /* sorts: not under the topology's lock */
    cluster_lock(cluster);
    for (size_t i = 0; i < plan.job_count; i++) {
        const struct vacuum_candidate *volume = &snapshot.volumes[plan.jobs[i].volume];
        struct topology_location location;
        bool is_ec;
        if (topology_lookup(cluster->topology, volume->id, NULL, &location, 1, &is_ec) == 0 ||
            !location.record)
            continue;
        const struct volume_record *record = location.record;
        char layout[400];
        snprintf(layout, sizeof(layout), "layout %u %u %s %s", record->replica_placement,
                 record->ttl, record->disk_type, record->collection);
        add_job(r, sweep, is_explicit, request->threshold, &nodes, volume, layout,
                record->collection);
    }
    vacuum_plan_fini(&plan);
    vacuum_snapshot_fini(&snapshot, &nodes);
    cluster_unlock(cluster);
}

/* ---- Empty copies ---------------------------------------------------------------------------- */

static bool is_deletable(const struct volume_record *record, bool is_marked, int64_t before_s,
                         bool *ret_only_empty)
{
    if (record->read_only || is_marked || record->modified_at_second > before_s)
        return false;
    *ret_only_empty = record->size <= 8;
    return *ret_only_empty ||
           (record->file_count > 0 && record->delete_count == record->file_count);
}

static void queue_empty_copies_of(struct vacuum_runner *r, struct sweep *sweep,
                                  const struct layout_volume *volume, int64_t before_s)
{
    struct layout_volume_info info;
    layout_volume_info(volume, &info);
    struct ticket *ticket;
    HASH_FIND(hh, r->by_volume, &info.id, sizeof(info.id), ticket);
    if (ticket)
        return;
    for (size_t i = 0; i < info.replica_count; i++) {
        struct layout_replica_info replica;
        layout_volume_replica(volume, i, &replica);
        bool only_empty;
        if (!is_deletable(replica.record, replica.is_marked_read_only, before_s, &only_empty))
            continue;
        struct data_node_info node;
        data_node_info(replica.node, &node);
        char address[320];
        cluster_node_grpc_address(replica.node, address, sizeof(address));
        if (!ticket)
            ticket = ticket_create(r, info.id, replica.record->collection, 0);
        vacuum_task_add_empty(ticket->job, node.url, address, only_empty);
        vacuum_claim_add(&r->limits, &ticket->claim, node.url, r->config.per_server);
    }
    if (!ticket)
        return;
    enqueue(r, ticket, false);
    join_sweep(ticket, sweep);
}

void vacuum_queue_add_empty_copies(struct vacuum_runner *r, struct sweep *sweep)
{
    if (r->config.delete_empty_after_seconds == 0)
        return;
    struct cluster *cluster = r->config.cluster;
    int64_t before_s =
        cluster_now_ns(cluster) / 1000000000 - (int64_t)r->config.delete_empty_after_seconds;
    cluster_lock(cluster);
    for (size_t i = 0; i < topology_layout_count(cluster->topology); i++) {
        const struct volume_layout *layout = topology_layout(cluster->topology, i);
        for (const struct layout_volume *volume = volume_layout_first(layout); volume;
             volume = layout_volume_next(volume))
            queue_empty_copies_of(r, sweep, volume, before_s);
    }
    cluster_unlock(cluster);
}
