/* One task is one request: volumes are made one after another, the first failure ends it. Runs on
 * the grower's threads as plain sequential code; the topology's lock is taken between the rpcs
 * only. */
#include "master/grower.h"

#include "common/check.h"
#include "common/log.h"
#include "master/placement.h"
#include "master/volume_growth.h"
#include "proto/volume_server.pb-c.h"

#include <stdatomic.h>
#include <time.h>

#define WARM_UP_POLL_NS INT64_C(500000000)
#define ROLL_BACK_MS    10000u

struct grower {
    struct grower_config config;
    struct worker_pool *pool;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    size_t pending; /* requests that wait or run */
    struct grow_task *running;
    struct held_collection *held;
    bool is_stopping;
};

/* A collection that is being deleted: it is not grown. */
struct held_collection {
    struct held_collection *next;
    char name[];
};

struct grow_task {
    struct worker_task task;
    struct grower *grower;
    struct grow_request request;
    char *texts[5];
    struct grow_task *next_running;
};

/* What is needed of a chosen node once the lock is gone. */
struct grow_target {
    char grpc_address[320];
    char place[600]; /* "topo:<dc>:<rack>:<node id>" */
};

int grower_create(struct grower **ret, const struct grower_config *config, struct error *err)
{
    struct grower *grower = must(calloc(1, sizeof(*grower)));
    grower->config = *config;
    int code = worker_pool_create(&grower->pool, "grow", GROWER_THREADS, GROWER_QUEUE_MAX, err);
    if (code) {
        free(grower);
        return code;
    }
    pthread_mutex_init(&grower->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&grower->changed, &attr);
    pthread_condattr_destroy(&attr);
    *ret = grower;
    return 0;
}

void grower_stop(struct grower *grower, unsigned grace_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + (int64_t)grace_ms * 1000000;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&grower->lock);
    grower->is_stopping = true;
    pthread_cond_broadcast(&grower->changed);
    int rc = 0;
    while (grower->pending > 0 && rc == 0)
        rc = pthread_cond_timedwait(&grower->changed, &grower->lock, &until);
    pthread_mutex_unlock(&grower->lock);
}

void grower_destroy(struct grower *grower)
{
    if (!grower)
        return;
    grower_stop(grower, 0);
    worker_pool_destroy(grower->pool);
    pthread_cond_destroy(&grower->changed);
    pthread_mutex_destroy(&grower->lock);
    free(grower);
}

static const char *keep(struct grow_task *task, size_t slot, const char *text)
{
    task->texts[slot] = must(strdup(text ? text : ""));
    return task->texts[slot];
}

static void free_task(struct grow_task *task)
{
    for (size_t i = 0; i < sizeof(task->texts) / sizeof(task->texts[0]); i++)
        free(task->texts[i]);
    free(task);
}

static void end_growth(struct grow_task *task)
{
    if (!task->request.is_begun)
        return;
    struct cluster *cluster = task->grower->config.cluster;
    cluster_lock(cluster);
    volume_growth_end(cluster->topology, &task->request.option);
    cluster_unlock(cluster);
    task->request.is_begun = false;
}

/* Returns early when the grower is being stopped. */
static void wait_for_warm_up(struct grower *grower)
{
    struct cluster *cluster = grower->config.cluster;
    for (;;) {
        cluster_lock(cluster);
        int64_t left_ns = topology_warm_up_left_ns(cluster->topology);
        cluster_unlock(cluster);
        if (left_ns > WARM_UP_POLL_NS)
            left_ns = WARM_UP_POLL_NS;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        int64_t ns = until.tv_nsec + left_ns;
        until.tv_sec += ns / 1000000000;
        until.tv_nsec = ns % 1000000000;
        pthread_mutex_lock(&grower->lock);
        if (left_ns > 0 && !grower->is_stopping)
            pthread_cond_timedwait(&grower->changed, &grower->lock, &until);
        bool is_ending = grower->is_stopping;
        pthread_mutex_unlock(&grower->lock);
        if (is_ending || left_ns <= 0)
            return;
    }
}

/* ---- The rpcs -------------------------------------------------------------------------------- */

/* *ret_may_exist: the volume may be there although the call failed. */
static int allocate(struct grow_task *task, const struct grow_target *target, uint32_t id,
                    bool *ret_may_exist, struct error *err)
{
    const struct volume_option *option = &task->request.option;
    char replication[10], ttl[8];
    replica_placement_format(option->placement, replication);
    ttl_format(option->ttl, ttl);
    VolumeServerPb__AllocateVolumeRequest request = VOLUME_SERVER_PB__ALLOCATE_VOLUME_REQUEST__INIT;
    request.volume_id = id;
    request.collection = (char *)option->collection;
    request.preallocate = option->preallocate_bytes;
    request.replication = replication;
    request.ttl = ttl;
    request.memory_map_max_size_mb = option->memory_map_max_size_mb;
    bool is_hdd = strcasecmp(option->disk_type, "hdd") == 0;
    request.disk_type = (char *)(is_hdd ? "" : option->disk_type);
    request.version = option->version ? option->version : 3;
    enum rpc_status status;
    struct error failure;
    int code = rpc_client_call(task->grower->config.rpc, target->grpc_address,
                               "/volume_server_pb.VolumeServer/AllocateVolume", &request.base,
                               &volume_server_pb__allocate_volume_response__descriptor,
                               GROWER_RPC_MS, NULL, &status, &failure);
    *ret_may_exist = code == 0 || status == RPC_DEADLINE_EXCEEDED || status == RPC_CANCELLED ||
                     status == RPC_UNAVAILABLE;
    if (code)
        return error_set(err, code,
                         "failed to assign volume %u on %s: rpc error: code = %s desc = %s", id,
                         target->place, rpc_status_name(status), failure.message);
    return 0;
}

/* Only empty ones: a server whose answer got lost may hold an older volume of this id, and a fresh
 * one is known, and may be written, as soon as its server reports it. */
static void roll_back(struct grow_task *task, const struct grow_target *targets, size_t count,
                      uint32_t id)
{
    for (size_t i = 0; i < count; i++) {
        VolumeServerPb__VolumeDeleteRequest request = VOLUME_SERVER_PB__VOLUME_DELETE_REQUEST__INIT;
        request.volume_id = id;
        request.only_empty = true;
        struct error err;
        if (rpc_client_call(task->grower->config.rpc, targets[i].grpc_address,
                            "/volume_server_pb.VolumeServer/VolumeDelete", &request.base,
                            &volume_server_pb__volume_delete_response__descriptor, ROLL_BACK_MS,
                            NULL, NULL, &err))
            log_warning("volume of a failed growth may stay", "volume=%u server=%s error=\"%s\"", id,
                        targets[i].grpc_address, err.message);
    }
}

/* ---- One volume ------------------------------------------------------------------------------ */

static int choose(struct grow_task *task, struct placement *placement, struct grow_target *targets,
                  struct error *err)
{
    struct cluster *cluster = task->grower->config.cluster;
    cluster_lock(cluster);
    int code = placement_choose(cluster->topology, &task->request.option, placement, err);
    for (size_t i = 0; !code && i < placement->count; i++) {
        struct data_node_info info;
        data_node_info(placement->nodes[i], &info);
        cluster_node_grpc_address(placement->nodes[i], targets[i].grpc_address,
                                  sizeof(targets[i].grpc_address));
        snprintf(targets[i].place, sizeof(targets[i].place), "topo:%s:%s:%s", info.data_center,
                 info.rack, info.id);
    }
    cluster_unlock(cluster);
    return code;
}

/* Registers it (id != 0) or not, and gives the reservations back. */
static int settle(struct grow_task *task, struct placement *placement, uint32_t id,
                  struct error *err)
{
    struct cluster *cluster = task->grower->config.cluster;
    struct location_updates updates;
    location_updates_init(&updates);
    int code = 0;
    cluster_lock(cluster);
    if (id)
        code = topology_register_grown_volume(cluster->topology, id, &task->request.option,
                                              placement->nodes, placement->count, &updates, err);
    placement_release(cluster->topology, placement);
    client_registry_publish_all(cluster->clients, &updates);
    cluster_unlock(cluster);
    location_updates_fini(&updates);
    return code;
}

static int grow_one(struct grow_task *task, uint32_t *ret_locations, struct error *err)
{
    struct cluster *cluster = task->grower->config.cluster;
    struct placement placement = {.count = 0};
    struct grow_target targets[PLACEMENT_COPIES_MAX];
    uint32_t id;
    int code = choose(task, &placement, targets, err);
    if (code)
        return code;
    size_t count = placement.count, done = 0;
    code = cluster_take_volume_id(cluster, &id, err);
    while (!code && done < count) {
        bool may_exist;
        code = allocate(task, &targets[done], id, &may_exist, err);
        done += may_exist;
    }
    if (code) {
        roll_back(task, targets, done, id);
        settle(task, &placement, 0, NULL);
        return code;
    }
    code = settle(task, &placement, id, err);
    if (code) {
        roll_back(task, targets, count, id);
        return code;
    }
    *ret_locations = (uint32_t)count;
    log_info("volume created", "volume=%u collection=\"%s\" replicas=%zu first=%s reason=\"%s\"", id,
             task->request.option.collection, count, targets[0].place, task->request.reason);
    return 0;
}

/* With the lock. */
static bool is_held(const struct grower *grower, const char *collection)
{
    const struct held_collection *held = grower->held;
    while (held && strcmp(held->name, collection) != 0)
        held = held->next;
    return held != NULL;
}

/* Why this task must not make another volume. */
static int check_going(struct grow_task *task, struct error *err)
{
    struct grower *grower = task->grower;
    pthread_mutex_lock(&grower->lock);
    const char *reason = NULL;
    if (grower->is_stopping)
        reason = "the master is stopping";
    else if (is_held(grower, task->request.option.collection))
        reason = "the collection is being deleted";
    pthread_mutex_unlock(&grower->lock);
    return reason ? error_set(err, KELP_E_CANCELLED, "%s", reason) : 0;
}

static bool is_still_wanted(struct grow_task *task)
{
    if (!task->request.is_optional)
        return true;
    struct cluster *cluster = task->grower->config.cluster;
    cluster_lock(cluster);
    bool is_needed = volume_growth_is_needed(cluster->topology, &task->request.option);
    cluster_unlock(cluster);
    return is_needed;
}

static void grow(struct grow_task *task, struct grow_result *result)
{
    struct grower *grower = task->grower;
    for (uint32_t i = 0; i < task->request.count && !result->code; i++) {
        uint32_t locations = 0;
        wait_for_warm_up(grower);
        result->code = check_going(task, &result->err);
        if (result->code)
            return;
        result->code = grow_one(task, &locations, &result->err);
        master_metrics_count_growth(grower->config.cluster->metrics, !result->code);
        if (result->code)
            return;
        result->created++;
        result->locations += locations;
        grower->config.on_progress(grower->config.ctx);
    }
}

static void begin_running(struct grow_task *task)
{
    struct grower *grower = task->grower;
    pthread_mutex_lock(&grower->lock);
    task->next_running = grower->running;
    grower->running = task;
    pthread_mutex_unlock(&grower->lock);
}

static void end_running(struct grow_task *task)
{
    struct grower *grower = task->grower;
    pthread_mutex_lock(&grower->lock);
    struct grow_task **link = &grower->running;
    while (*link != task)
        link = &(*link)->next_running;
    *link = task->next_running;
    pthread_cond_broadcast(&grower->changed);
    pthread_mutex_unlock(&grower->lock);
}

static bool is_growing(const struct grower *grower, const char *collection)
{
    const struct grow_task *task = grower->running;
    while (task && strcmp(task->request.option.collection, collection) != 0)
        task = task->next_running;
    return task != NULL;
}

void grower_hold_collection(struct grower *grower, const char *collection)
{
    size_t size = strlen(collection) + 1;
    struct held_collection *held = must(malloc(sizeof(*held) + size));
    memcpy(held->name, collection, size);
    pthread_mutex_lock(&grower->lock);
    held->next = grower->held;
    grower->held = held;
    while (is_growing(grower, collection))
        pthread_cond_wait(&grower->changed, &grower->lock);
    pthread_mutex_unlock(&grower->lock);
}

void grower_release_collection(struct grower *grower, const char *collection)
{
    pthread_mutex_lock(&grower->lock);
    struct held_collection **link = &grower->held;
    while (strcmp((*link)->name, collection) != 0)
        link = &(*link)->next;
    struct held_collection *held = *link;
    *link = held->next;
    pthread_mutex_unlock(&grower->lock);
    free(held);
}

static void run_grow(struct worker_task *base)
{
    struct grow_task *task = (struct grow_task *)base;
    struct grower *grower = task->grower;
    struct grow_result result = {.code = 0};
    begin_running(task);
    if (is_still_wanted(task))
        grow(task, &result);
    end_running(task);
    if (result.code)
        log_warning("volume growth failed", "reason=\"%s\" created=%u error=\"%s\"",
                    task->request.reason, result.created, result.err.message);
    end_growth(task);
    grower->config.on_progress(grower->config.ctx);
    if (task->request.done)
        task->request.done(task->request.ctx, &result);
    free_task(task);
    pthread_mutex_lock(&grower->lock);
    grower->pending--;
    pthread_cond_broadcast(&grower->changed);
    pthread_mutex_unlock(&grower->lock);
}

int grower_submit(struct grower *grower, const struct grow_request *request, struct error *err)
{
    struct grow_task *task = must(calloc(1, sizeof(*task)));
    task->task.run = run_grow;
    task->grower = grower;
    task->request = *request;
    struct volume_option *option = &task->request.option;
    option->collection = keep(task, 0, option->collection);
    option->disk_type = keep(task, 1, option->disk_type);
    option->data_center = keep(task, 2, option->data_center);
    option->rack = keep(task, 3, option->rack);
    option->data_node = keep(task, 4, option->data_node);
    pthread_mutex_lock(&grower->lock);
    bool is_queued =
        !grower->is_stopping && worker_pool_submit(grower->pool, &task->task) == 0;
    grower->pending += is_queued;
    pthread_mutex_unlock(&grower->lock);
    if (!is_queued) {
        end_growth(task);
        free_task(task);
        return error_set(err, KELP_E_LIMIT,
                         "%u volume growth requests wait already; try again later",
                         GROWER_QUEUE_MAX);
    }
    return 0;
}
