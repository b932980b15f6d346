/* One timer on the control loop. Passes that walk all volumes go to a worker, one of a kind at a
 * time. */
#include "master/periodic.h"

#include "common/check.h"
#include "common/loop.h"
#include "master/volume_growth.h"
#include "master/volume_layout.h"

#include <stdatomic.h>

#define TICK_MS          200u
#define SECOND_NS        INT64_C(1000000000)
#define SCAN_NS          (5 * SECOND_NS)
#define GROWTH_NS        (300 * SECOND_NS)
#define GROWTH_JITTER_S  30u

struct pass {
    struct worker_task task;
    struct periodic *periodic;
    int64_t next_ns;
    bool is_running; /* under the lock */
};

struct periodic {
    struct services *services;
    uv_timer_t timer; /* control loop */
    struct loop_task open, close;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_closed;
    struct pass scan, growth;
};

static uint64_t chance(struct periodic *p) { return os_random(p->services->cluster->os); }

/* ---- The passes; worker thread --------------------------------------------------------------- */

static void end_pass(struct pass *pass)
{
    struct periodic *p = pass->periodic;
    pthread_mutex_lock(&p->lock);
    pass->is_running = false;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void set_layout_gauges(struct periodic *p)
{
    struct cluster *cluster = p->services->cluster;
    struct master_metrics *m = cluster->metrics;
    for (size_t i = 0; i < topology_layout_count(cluster->topology); i++) {
        const struct volume_layout *layout = topology_layout(cluster->topology, i);
        struct volume_layout_info info;
        volume_layout_info(layout, &info);
        char replication[10], ttl[8];
        replica_placement_format(info.placement, replication);
        ttl_format(info.ttl, ttl);
        const char *const labels[] = {info.collection, info.disk_type, replication, ttl};
        metric_set(metric_series(m->layout_writable, labels), (double)info.writable_count);
        metric_set(metric_series(m->layout_crowded, labels), (double)info.crowded_count);
        metric_set(metric_series(m->under_replicated, labels),
                   (double)volume_layout_under_replicated_count(layout));
    }
}

static size_t count_nodes(const struct place *place)
{
    if (place_kind(place) == PLACE_NODE)
        return 1;
    size_t count = 0;
    for (size_t i = 0; i < place_child_count(place); i++)
        count += count_nodes(place_child(place, i));
    return count;
}

static void set_gauges(struct periodic *p)
{
    struct services *s = p->services;
    struct cluster *cluster = s->cluster;
    struct master_metrics *m = cluster->metrics;
    struct client_registry_stats clients;
    struct vacuum_runner_stats vacuum;
    client_registry_stats(cluster->clients, &clients);
    vacuum_runner_stats(s->vacuum, &vacuum);
    metric_set(m->is_leader, 1);
    metric_set(m->clients, (double)clients.clients);
    metric_set(m->broadcast_to_full, (double)clients.cut_off);
    metric_set(m->vacuum_running, vacuum.running);
    metric_set(m->vacuum_queued, vacuum.queued);
    metric_set(m->vacuum_enabled, vacuum.is_enabled);
    cluster_lock(cluster);
    const struct place *root = topology_root(cluster->topology);
    metric_set(m->max_volume_id, topology_max_volume_id(cluster->topology));
    metric_set(m->data_nodes, (double)count_nodes(root));
    metric_set(m->free_slots, (double)place_free_slots(root));
    cluster_unlock(cluster);
}

static void run_scan(struct worker_task *task)
{
    struct pass *pass = (struct pass *)task;
    struct periodic *p = pass->periodic;
    cluster_lock(p->services->cluster);
    topology_scan_capacity(p->services->cluster->topology);
    cluster_unlock(p->services->cluster);
    set_gauges(p);
    end_pass(pass);
}

static void submit_growth(struct periodic *p, const struct growth_request *wanted)
{
    struct services *s = p->services;
    struct cluster *cluster = s->cluster;
    struct grow_request request = {
        .option = wanted->option,
        .count = wanted->count,
        .reason = wanted->reason,
        .is_begun = true,
    };
    request.option.preallocate_bytes = services_preallocate_bytes(s);
    cluster_lock(cluster);
    bool is_ours =
        volume_growth_check_slots(cluster->topology, &wanted->option, wanted->count, NULL) == 0 &&
        volume_growth_begin(cluster->topology, &wanted->option);
    cluster_unlock(cluster);
    if (is_ours)
        grower_submit(s->grower, &request, NULL); /* a full queue: the next pass asks again */
}

static void run_growth(struct worker_task *task)
{
    struct pass *pass = (struct pass *)task;
    struct periodic *p = pass->periodic;
    struct cluster *cluster = p->services->cluster;
    struct growth_plan plan = {.items = NULL};
    cluster_lock(cluster);
    set_layout_gauges(p);
    volume_growth_plan(cluster->topology, &plan);
    cluster_unlock(cluster);
    for (size_t i = 0; i < plan.count; i++)
        submit_growth(p, &plan.items[i]);
    growth_plan_fini(&plan);
    end_pass(pass);
}

/* ---- The timer; control loop ----------------------------------------------------------------- */

static void start_pass(struct pass *pass, int64_t now_ns, int64_t pause_ns)
{
    struct periodic *p = pass->periodic;
    pthread_mutex_lock(&p->lock);
    bool may_start = now_ns >= pass->next_ns && !pass->is_running && !p->is_closed;
    if (may_start && worker_pool_submit(p->services->pool, &pass->task) == 0) {
        pass->is_running = true;
        pass->next_ns = now_ns + pause_ns;
    }
    pthread_mutex_unlock(&p->lock);
}

static void on_tick(uv_timer_t *timer)
{
    struct periodic *p = timer->data;
    struct services *s = p->services;
    int64_t now_ns = cluster_now_ns(s->cluster);
    assigner_retry(s->assigner);
    vacuum_runner_tick(s->vacuum);
    client_registry_tick(s->cluster->clients);
    start_pass(&p->scan, now_ns, SCAN_NS + (int64_t)(chance(p) % (uint64_t)SCAN_NS));
    start_pass(&p->growth, now_ns,
               GROWTH_NS + (int64_t)(chance(p) % GROWTH_JITTER_S) * SECOND_NS);
}

static void run_open(struct loop_task *task)
{
    struct periodic *p = (struct periodic *)((char *)task - offsetof(struct periodic, open));
    CHECK(uv_timer_init(loop_uv(p->services->control), &p->timer) == 0);
    p->timer.data = p;
    uv_timer_start(&p->timer, on_tick, TICK_MS, TICK_MS);
}

static void on_closed(uv_handle_t *handle)
{
    struct periodic *p = handle->data;
    pthread_mutex_lock(&p->lock);
    p->is_closed = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static void run_close(struct loop_task *task)
{
    struct periodic *p = (struct periodic *)((char *)task - offsetof(struct periodic, close));
    uv_close((uv_handle_t *)&p->timer, on_closed);
}

int periodic_create(struct periodic **ret, struct services *services, struct error *err)
{
    (void)err;
    struct periodic *p = must(calloc(1, sizeof(*p)));
    p->services = services;
    p->open.run = run_open;
    p->close.run = run_close;
    p->scan = (struct pass){.task.run = run_scan, .periodic = p};
    p->growth = (struct pass){.task.run = run_growth, .periodic = p};
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    *ret = p;
    loop_post(services->control, &p->open);
    return 0;
}

void periodic_destroy(struct periodic *p)
{
    if (!p)
        return;
    loop_post(p->services->control, &p->close);
    pthread_mutex_lock(&p->lock);
    while (!p->is_closed || p->scan.is_running || p->growth.is_running)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
