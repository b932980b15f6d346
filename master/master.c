/* Wiring and life of the master. Things are made from the inside out (state, topology, workers,
 * ports) and taken down the other way round: first nobody new comes in, then what waits is
 * answered, then what is in flight is awaited. master_stop takes a half-made one, so a failed start
 * ends there too. */
#include "master/master_internal.h"

#include "common/check.h"

#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#define POOL_THREADS       8u
#define PATIENT_THREADS    32u
#define POOL_QUEUE         1000u
#define STOP_WORK_MS       2000u
#define GRPC_PORT_OFFSET   10000u

void master_config_init(struct master_config *config)
{
    *config = (struct master_config){
        .ip = "127.0.0.1",
        .port = 9333,
        .metadata_dir = "/tmp",
        .volume_size_limit_mb = 30720,
        .file_size_limit_mb = 256,
        .growth_copy_1 = 7,
        .growth_copy_2 = 6,
        .growth_copy_3 = 3,
        .growth_copy_other = 1,
        .growth_threshold = 0.9,
        .garbage_threshold = 0.3,
        .vacuum_interval_seconds = 840,
        .vacuum_jitter_seconds = 120,
        .max_parallel_vacuum_per_server = 1,
        .metrics_interval_seconds = 15,
        .maintenance_sleep_minutes = 17,
        .version = "8000GB 4.48 ",
    };
}

/* ---- The configuration ----------------------------------------------------------------------- */

static const char *keep(struct master *m, const char *text)
{
    CHECK(m->text_count < sizeof(m->texts) / sizeof(m->texts[0]));
    return m->texts[m->text_count++] = must(strdup(text ? text : ""));
}

static void keep_config(struct master *m, const struct master_config *config)
{
    struct master_config *c = &m->config;
    *c = *config;
    c->ip = keep(m, c->ip);
    c->bind_address = keep(m, c->bind_address && *c->bind_address ? c->bind_address : c->ip);
    c->metrics_ip = keep(m, c->metrics_ip && *c->metrics_ip ? c->metrics_ip : c->bind_address);
    c->white_list = keep(m, c->white_list);
    c->metadata_dir = keep(m, c->metadata_dir);
    c->default_replication = keep(m, c->default_replication);
    c->metrics_address = keep(m, c->metrics_address);
    c->maintenance_scripts = keep(m, c->maintenance_scripts);
    c->version = keep(m, c->version);
    m->os = c->os ? c->os : os_real();
    m->has_free_port = c->port == 0;
    m->has_free_grpc_port = c->port == 0 && c->grpc_port == 0;
    if (c->port > 0 && c->grpc_port == 0)
        c->grpc_port = (uint16_t)(c->port + GRPC_PORT_OFFSET);
}

static int check_config(const struct master_config *c, struct error *err)
{
    struct replica_placement placement;
    if (!*c->ip)
        return error_set(err, KELP_E_INVALID,
                         "the master needs an address that others reach it by; give -ip");
    if (c->volume_size_limit_mb == 0)
        return error_set(err, KELP_E_INVALID, "volumeSizeLimitMB must be at least 1");
    if (c->grpc_port < c->port && c->grpc_port == (uint16_t)(c->port + GRPC_PORT_OFFSET))
        return error_set(err, KELP_E_INVALID,
                         "port %u leaves no room for the gRPC port %u above it; give -port.grpc",
                         c->port, c->port + GRPC_PORT_OFFSET);
    return replica_placement_parse(slice_cstr(c->default_replication), &placement, err);
}

static int open_state(struct master *m, struct error *err)
{
    struct error ignored;
    struct os_stat st;
    char *directory;
    /* The parts of the path: the folder itself may be new, but not what it is in. */
    int rc = os_stat(m->os, m->config.metadata_dir, &st);
    if (rc == -ENOENT)
        rc = os_mkdir(m->os, m->config.metadata_dir, 0755);
    if (rc < 0 && rc != -EEXIST) {
        int code = error_set_errno(&ignored, -rc, "%s", m->config.metadata_dir);
        return error_set(err, code,
                         "metadata folder %s; make it, or choose another one with -mdir",
                         ignored.message);
    }
    CHECK(asprintf(&directory, "%s/m%u", m->config.metadata_dir, m->config.port) >= 0);
    int code = master_state_open(&m->state, m->os, directory, err);
    free(directory);
    return code;
}

/* ---- Callbacks between the parts ------------------------------------------------------------- */

/* Something happened that the control loop should look at: parked assigns, published changes. */
static void wake(void *ctx)
{
    struct master *m = ctx;
    if (!atomic_exchange(&m->is_wake_posted, true))
        loop_post(m->control, &m->wake_task);
}

static void run_wake(struct loop_task *task)
{
    struct master *m = (struct master *)((char *)task - offsetof(struct master, wake_task));
    atomic_store(&m->is_wake_posted, false);
    client_registry_flush(m->clients);
    assigner_retry(m->services.assigner);
}

static int send_to_client(void *stream, const MasterPb__KeepConnectedResponse *message)
{
    return rpc_call_send(stream, &message->base);
}

static void cut_off_client(void *stream)
{
    rpc_call_fail(stream, RPC_RESOURCE_EXHAUSTED,
                  "the client does not read; connect again to learn all locations anew");
}

static void describe_cluster(void *ctx, struct location_updates *ret)
{
    struct master *m = ctx;
    cluster_describe(m->cluster, ret);
}

static int64_t client_now_ns(void *ctx)
{
    struct master *m = ctx;
    return os_now_ns(m->os);
}

static bool is_admin_server_here(void *ctx)
{
    struct master *m = ctx;
    char client[ADMIN_LOCK_CLIENT_SIZE];
    return admin_lock_is_held(m->services.locks, "admin-server", os_now_ns(m->os), client);
}

/* ---- Making the parts ------------------------------------------------------------------------ */

static int make_cluster(struct master *m, struct error *err)
{
    const struct master_config *c = &m->config;
    struct cluster_config config = {
        .os = m->os,
        .state = m->state,
        .metrics = m->metrics,
        .is_snowflake = c->is_snowflake,
        .snowflake_id = c->snowflake_id,
        .address = m->address,
        .on_keys = wake,
        .ctx = m,
        .topology = {.volume_size_limit_bytes = (uint64_t)c->volume_size_limit_mb << 20,
                     .growth_threshold = c->growth_threshold,
                     .growth_copies = {c->growth_copy_other, c->growth_copy_1, c->growth_copy_2,
                                       c->growth_copy_3},
                     .growth_disabled = c->growth_is_disabled,
                     .treat_replication_as_minimums = c->treat_replication_as_minimums},
    };
    m->client_ops = (struct client_registry_ops){.send = send_to_client,
                                                 .cut_off = cut_off_client,
                                                 .describe = describe_cluster,
                                                 .wake = wake,
                                                 .now_ns = client_now_ns,
                                                 .ctx = m};
    m->clients = client_registry_create(&m->client_ops, m->address);
    int code = cluster_create(&m->cluster, &config, err);
    if (!code)
        m->cluster->clients = m->clients;
    return code;
}

static int make_workers(struct master *m, struct error *err)
{
    const struct master_config *c = &m->config;
    struct services *s = &m->services;
    int code = rpc_client_create_tls(&m->rpc, c->rpc_tls, err);
    if (!code)
        code = worker_pool_create(&s->pool, "master-http", POOL_THREADS, POOL_QUEUE, err);
    if (!code)
        code = worker_pool_create(&s->patient_pool, "master-wait", PATIENT_THREADS, POOL_QUEUE,
                                  err);
    if (code)
        return code;
    s->assigner = assigner_create(m->cluster);
    struct grower_config grower = {
        .cluster = m->cluster, .rpc = m->rpc, .on_progress = wake, .ctx = m};
    code = grower_create(&s->grower, &grower, err);
    if (code)
        return code;
    assigner_set_grower(s->assigner, s->grower);
    vacuum_rpc_ops(m->rpc, &m->vacuum_ops);
    struct vacuum_runner_config vacuum = {
        .cluster = m->cluster,
        .ops = &m->vacuum_ops,
        .threshold = c->garbage_threshold,
        .interval_seconds = c->vacuum_interval_seconds,
        .jitter_seconds = c->vacuum_jitter_seconds,
        .per_server = c->max_parallel_vacuum_per_server,
        .delete_empty_after_seconds = c->vacuum_delete_empty_after_seconds,
        .is_preallocating = c->is_preallocating,
        .volume_size_limit_mb = c->volume_size_limit_mb,
        .is_admin_server_here = is_admin_server_here,
        .ctx = m,
    };
    s->streams = stream_list_create();
    s->locks = admin_locks_create();
    s->vacuum = vacuum_runner_create(&vacuum);
    s->security = c->security;
    if (s->security)
        return 0;
    code = security_create(&m->own_security, NULL, c->white_list, m->os, err);
    s->security = m->own_security;
    return code;
}

static void fill_services(struct master *m)
{
    const struct master_config *c = &m->config;
    struct services *s = &m->services;
    s->cluster = m->cluster;
    s->rpc = m->rpc;
    s->control = m->control;
    s->address = m->address;
    s->http_address = m->http_address;
    s->version = c->version;
    s->default_replication = c->default_replication;
    s->metrics_address = c->metrics_address;
    s->maintenance_scripts = c->maintenance_scripts;
    s->metrics_interval_seconds = c->metrics_interval_seconds;
    s->maintenance_sleep_minutes = c->maintenance_sleep_minutes;
    s->volume_size_limit_mb = c->volume_size_limit_mb;
    s->file_size_limit_mb = c->file_size_limit_mb;
    s->garbage_threshold = c->garbage_threshold;
    s->is_preallocating = c->is_preallocating;
    s->is_http_disabled = c->disable_http;
    s->start_ns = os_now_ns(m->os);
}

/* ---- Start and stop -------------------------------------------------------------------------- */

static int make_loops(struct master *m, struct error *err)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned count = m->config.http_threads;
    if (count == 0)
        count = cores > 0 ? (unsigned)cores : 1;
    if (count > MASTER_HTTP_LOOPS_MAX)
        count = MASTER_HTTP_LOOPS_MAX;
    int code = loop_create(&m->control, "master-control", err);
    while (!code && m->loop_count < count) {
        code = loop_create(&m->loops[m->loop_count], "master-http", err);
        m->loop_count += !code;
    }
    return code;
}

/* ---- Life ------------------------------------------------------------------------------------ */

static int start(struct master *m, struct error *err)
{
    int code = check_config(&m->config, err);
    if (!code)
        code = open_state(m, err);
    if (!code)
        code = make_loops(m, err);
    if (!code)
        code = master_settle_address(m, err);
    if (code)
        return code;
    m->metrics = master_metrics_create(m->config.version, (double)os_now_ns(m->os) / 1e9);
    code = make_cluster(m, err);
    if (!code)
        code = make_workers(m, err);
    if (code)
        return code;
    fill_services(m);
    code = periodic_create(&m->periodic, &m->services, err);
    if (!code)
        code = master_open_ports(m, err);
    return code;
}

int master_start(struct master **ret, const struct master_config *config, struct error *err)
{
    struct master *m = must(calloc(1, sizeof(*m)));
    m->wake_task.run = run_wake;
    keep_config(m, config);
    int code = start(m, err);
    if (code) {
        master_stop(m, 0);
        return code;
    }
    *ret = m;
    return 0;
}

/* Nobody comes in any more; what waits is answered. */
static void stop_serving(struct master *m, unsigned grace_ms)
{
    if (m->services.streams)
        stream_list_close(m->services.streams, "the master is stopping");
    if (m->services.assigner)
        assigner_stop(m->services.assigner);
    unsigned work_ms = grace_ms < STOP_WORK_MS ? grace_ms : STOP_WORK_MS;
    atomic_store(&m->services.give_up_ns,
                 (unsigned long long)os_monotonic_ns(m->os) + grace_ms * UINT64_C(1000000));
    if (m->services.vacuum)
        vacuum_runner_stop(m->services.vacuum, work_ms);
    if (m->services.grower)
        grower_stop(m->services.grower, work_ms);
    /* Whoever still waits for a volume server waits for one that hangs. */
    if (m->rpc)
        rpc_client_close(m->rpc);
    master_close_ports(m, grace_ms);
}

void master_stop(struct master *m, unsigned grace_ms)
{
    if (!m)
        return;
    stop_serving(m, grace_ms);
    periodic_destroy(m->periodic);
    worker_pool_destroy(m->services.pool);
    worker_pool_destroy(m->services.patient_pool);
    grower_destroy(m->services.grower);
    rpc_client_destroy(m->rpc);
    for (unsigned i = 0; i < m->loop_count; i++)
        loop_destroy(m->loops[i]);
    cluster_stop(m->cluster);
    loop_destroy(m->control); /* runs the last leaves of clients */
    vacuum_runner_destroy(m->services.vacuum);
    assigner_destroy(m->services.assigner);
    admin_locks_destroy(m->services.locks);
    stream_list_destroy(m->services.streams);
    security_destroy(m->own_security);
    cluster_destroy(m->cluster);
    client_registry_destroy(m->clients);
    master_metrics_destroy(m->metrics);
    master_state_close(m->state);
    for (size_t i = 0; i < m->text_count; i++)
        free(m->texts[i]);
    free(m);
}

uint16_t master_port(const struct master *m) { return m->config.port; }
uint16_t master_grpc_port(const struct master *m) { return m->config.grpc_port; }
uint16_t master_metrics_port(const struct master *m) { return m->config.metrics_port; }
struct metrics *master_metrics(struct master *m) { return m->metrics->registry; }
