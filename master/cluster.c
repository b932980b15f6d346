/* Key blocks: the sequencer asks for a higher ceiling while the lock is held; the request goes to a
 * worker that syncs it and comes back with the lock. At most one is in flight, as the sequencer
 * promises. Volume ids that servers report go the same way. Any thread. */
#include "master/cluster.h"

#include "common/address.h"
#include "common/check.h"
#include "common/log.h"

struct raise_task {
    struct worker_task task;
    struct cluster *cluster;
    uint64_t ceiling;       /* 0: this is about ids */
    uint32_t max_volume_id; /* 0: this is about keys */
};

static int64_t topology_now(void *ctx)
{
    const struct cluster *cluster = ctx;
    return os_now_ns(cluster->os);
}

static uint64_t topology_random(void *ctx)
{
    const struct cluster *cluster = ctx;
    return os_random(cluster->os);
}

void cluster_lock(struct cluster *cluster) { pthread_mutex_lock(&cluster->lock); }
void cluster_unlock(struct cluster *cluster) { pthread_mutex_unlock(&cluster->lock); }
int64_t cluster_now_ns(const struct cluster *cluster) { return os_now_ns(cluster->os); }

/* Whether the disk's refusal is worth a line: the first one of a row is. Lock held. */
static bool note_outcome(struct cluster *cluster, int code)
{
    bool is_news = code != 0 && !cluster->is_state_failing;
    cluster->is_state_failing = code != 0;
    return is_news;
}

static void run_raise(struct worker_task *task)
{
    struct raise_task *raise = (struct raise_task *)task;
    struct cluster *cluster = raise->cluster;
    struct error err;
    int code = master_state_raise(cluster->state, 0, raise->ceiling, &err);
    cluster_lock(cluster);
    if (code)
        sequencer_persist_failed(&cluster->sequencer);
    else
        sequencer_persisted(&cluster->sequencer, raise->ceiling);
    bool is_news = note_outcome(cluster, code);
    cluster_unlock(cluster);
    if (is_news)
        log_error("file keys not reserved",
                  "ceiling=%llu error=\"%s\" effect=\"nothing can be assigned once the reserved "
                  "ones are used up\"",
                  (unsigned long long)raise->ceiling, err.message);
    free(raise);
    /* After a failure those who wait come back with their own clock: waking them here would ask the
     * full disk again and again without a pause. */
    if (!code)
        cluster->on_keys(cluster->ctx);
}

static void run_keep_ids(struct worker_task *task)
{
    struct raise_task *raise = (struct raise_task *)task;
    struct cluster *cluster = raise->cluster;
    struct error err;
    int code = master_state_raise(cluster->state, raise->max_volume_id, 0, &err);
    cluster_lock(cluster);
    cluster->is_keeping_ids = false;
    if (!code && raise->max_volume_id > cluster->kept_volume_id)
        cluster->kept_volume_id = raise->max_volume_id;
    bool is_news = note_outcome(cluster, code);
    cluster_unlock(cluster);
    if (is_news)
        log_error("highest volume id not saved", "id=%u error=\"%s\"", raise->max_volume_id,
                  err.message);
    free(raise);
}

void cluster_keep_volume_ids(struct cluster *cluster)
{
    uint32_t id = topology_max_volume_id(cluster->topology);
    if (id <= cluster->kept_volume_id || cluster->is_keeping_ids)
        return;
    struct raise_task *raise = must(calloc(1, sizeof(*raise)));
    *raise = (struct raise_task){
        .task.run = run_keep_ids, .cluster = cluster, .max_volume_id = id};
    cluster->is_keeping_ids = worker_pool_submit(cluster->state_pool, &raise->task) == 0;
    if (!cluster->is_keeping_ids)
        free(raise);
}

/* The sequencer calls this with the lock held. */
static void persist_ceiling(void *ctx, uint64_t ceiling)
{
    struct cluster *cluster = ctx;
    struct raise_task *raise = must(calloc(1, sizeof(*raise)));
    *raise = (struct raise_task){.task.run = run_raise, .cluster = cluster, .ceiling = ceiling};
    if (worker_pool_submit(cluster->state_pool, &raise->task)) {
        free(raise);
        sequencer_persist_failed(&cluster->sequencer);
    }
}

/* Keys below the old ceiling may be in use; the first block above it is made durable right here, so
 * that the first assign does not have to wait. */
static int start_sequencer(struct cluster *cluster, const struct cluster_config *config,
                           const struct master_values *values, struct error *err)
{
    if (config->is_snowflake) {
        sequencer_init_snowflake(&cluster->sequencer, config->snowflake_id, config->address);
        sequencer_start(&cluster->sequencer, 0);
        return 0;
    }
    uint64_t first = values->key_ceiling;
    if (UINT64_MAX - first < SEQUENCER_BLOCK)
        return error_set(err, KELP_E_LIMIT, "all file keys are used up");
    uint64_t ceiling = first + SEQUENCER_BLOCK;
    int code = master_state_raise(cluster->state, 0, ceiling, err);
    if (code)
        return code;
    sequencer_init(&cluster->sequencer, persist_ceiling, cluster);
    sequencer_start(&cluster->sequencer, first);
    sequencer_persisted(&cluster->sequencer, ceiling);
    return 0;
}

int cluster_create(struct cluster **ret, const struct cluster_config *config, struct error *err)
{
    struct cluster *cluster = must(calloc(1, sizeof(*cluster)));
    cluster->os = config->os;
    cluster->state = config->state;
    cluster->metrics = config->metrics;
    cluster->address = config->address;
    cluster->on_keys = config->on_keys;
    cluster->ctx = config->ctx;
    pthread_mutex_init(&cluster->lock, NULL);
    struct master_values values;
    master_state_read(config->state, &values);
    int code = worker_pool_create(&cluster->state_pool, "master-state", 1, 16, err);
    if (!code)
        code = start_sequencer(cluster, config, &values, err);
    if (code) {
        worker_pool_destroy(cluster->state_pool);
        pthread_mutex_destroy(&cluster->lock);
        free(cluster);
        return code;
    }
    struct topology_env env = {
        .now_ns = topology_now, .random = topology_random, .ctx = cluster};
    cluster->topology = topology_create(&config->topology, env);
    topology_raise_max_volume_id(cluster->topology, values.max_volume_id);
    cluster->kept_volume_id = values.max_volume_id;
    topology_begin_leadership(cluster->topology, values.max_volume_id > 0);
    *ret = cluster;
    return 0;
}

void cluster_stop(struct cluster *cluster)
{
    if (!cluster)
        return;
    worker_pool_destroy(cluster->state_pool);
    cluster->state_pool = NULL;
}

void cluster_destroy(struct cluster *cluster)
{
    if (!cluster)
        return;
    cluster_stop(cluster);
    struct error err;
    uint32_t max_volume_id = topology_max_volume_id(cluster->topology);
    if (master_state_raise(cluster->state, max_volume_id, 0, &err))
        log_warning("volume ids not saved at stop", "error=\"%s\"", err.message);
    if (cluster->sequencer.kind == SEQUENCER_COUNTER &&
        master_state_settle(cluster->state, cluster->sequencer.next, &err))
        log_warning("file keys not saved at stop", "error=\"%s\"", err.message);
    topology_destroy(cluster->topology);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster);
}

int cluster_take_keys(struct cluster *cluster, uint64_t n, uint64_t *ret_first,
                      uint32_t *ret_cookie, struct error *err)
{
    int code = sequencer_take(&cluster->sequencer, n, os_now_ns(cluster->os), ret_first, err);
    if (!code)
        *ret_cookie = (uint32_t)os_random(cluster->os);
    return code;
}

void cluster_give_back_keys(struct cluster *cluster, uint64_t first, uint64_t n)
{
    sequencer_give_back(&cluster->sequencer, first, n);
}

int cluster_take_volume_id(struct cluster *cluster, uint32_t *ret, struct error *err)
{
    cluster_lock(cluster);
    uint32_t last = topology_max_volume_id(cluster->topology);
    if (last < UINT32_MAX)
        topology_raise_max_volume_id(cluster->topology, last + 1);
    cluster_unlock(cluster);
    if (last == UINT32_MAX)
        return error_set(err, KELP_E_LIMIT, "all volume ids are used up");
    int code = master_state_raise(cluster->state, last + 1, 0, err);
    if (code)
        return code;
    *ret = last + 1;
    return 0;
}

void cluster_node_grpc_address(const struct data_node *node, char *text, size_t size)
{
    struct data_node_info info;
    data_node_info(node, &info);
    struct address address;
    char formatted[ADDRESS_TEXT_SIZE] = "";
    if (address_init(&address, info.ip, info.port, info.grpc_port) == 0)
        address_format_grpc(&address, formatted);
    snprintf(text, size, "%s", formatted);
}

static void describe_below(struct cluster *cluster, const struct place *place,
                           struct location_updates *ret)
{
    if (place_kind(place) == PLACE_NODE) {
        topology_describe_node(cluster->topology, place_node(place), location_updates_add(ret));
        return;
    }
    for (size_t i = 0; i < place_child_count(place); i++)
        describe_below(cluster, place_child(place, i), ret);
}

void cluster_describe(struct cluster *cluster, struct location_updates *ret)
{
    cluster_lock(cluster);
    describe_below(cluster, topology_root(cluster->topology), ret);
    cluster_unlock(cluster);
}
