/* A volume server's life: config in, parts put together, the wait for a master, and the way out. */
#include "volume/volume_server.h"

#include "common/check.h"
#include "common/log.h"
#include "volume/master_calls.h"
#include "volume/volume_server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Between two rounds of asking all masters, as the peer has it. */
#define MASTER_ROUND_MS    1790u
#define MASTER_COMPLAIN_MS 10000u
#define MASTERS_MAX        64u
/* For so long the first beat waits for volumes that are still being loaded: mostly it can then tell them
 * all at once. Those that take longer are told when they are ready. */
#define LOAD_GRACE_MS 1000u

void volume_server_config_init(struct volume_server_config *config)
{
    *config = (struct volume_server_config){
        .ip = "127.0.0.1",
        .port = 8080,
        .masters = "localhost:9333",
        .offset_bytes = 5,
        .read_mode = "proxy",
        .file_size_limit_mb = 256,
        .upload_timeout_ns = 60000000000,
        .download_timeout_ns = 60000000000,
        .read_buffer_mb = 4,
        .idle_timeout_seconds = 30,
        .pre_stop_seconds = 10,
        .version = "8000GB 4.48 kelp",
    };
}

/* ---- config ---- */

static const char *keep(struct arena *arena, const char *text)
{
    return text ? arena_strndup(arena, text, strlen(text)) : "";
}

static void keep_config(struct volume_server *server, const struct volume_server_config *config)
{
    struct arena *arena = &server->arena;
    struct volume_server_config *own = &server->config;
    *own = *config;
    const char **strings[] = {
        &own->ip,      &own->bind_address, &own->public_url,      &own->id,        &own->metrics_ip,
        &own->masters, &own->data_center,  &own->rack,            &own->read_mode, &own->white_list,
        &own->version, &own->index_directory,
    };
    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
        *strings[i] = keep(arena, *strings[i]);
    struct store_location_config *locations =
        arena_alloc(arena, (config->location_count + 1) * sizeof(*locations));
    for (size_t i = 0; i < config->location_count; i++) {
        locations[i] = config->locations[i];
        locations[i].directory = keep(arena, locations[i].directory);
        locations[i].disk_type = keep(arena, locations[i].disk_type);
        locations[i].tags = keep(arena, locations[i].tags);
    }
    own->locations = locations;
    if (own->offset_bytes == 0)
        own->offset_bytes = 5;
    server->os = config->os ? config->os : os_real();
}

static int parse_masters(struct volume_server *server, struct error *err)
{
    server->masters = arena_alloc(&server->arena, MASTERS_MAX * sizeof(*server->masters));
    struct slice rest = slice_cstr(server->config.masters), one;
    while (slice_take_item(&rest, &one)) {
        if (server->master_count == MASTERS_MAX)
            return error_set(err, KELP_E_LIMIT, "-master names more than %u masters", MASTERS_MAX);
        if (address_parse(one, &server->masters[server->master_count], err))
            return error_prefix(err, "-master \"%.*s\"", (int)one.len, one.ptr);
        server->master_count++;
    }
    return server->master_count > 0
               ? 0
               : error_set(err, KELP_E_INVALID,
                           "no master: name at least one, as in -master=localhost:9333");
}

static int settle_security(struct volume_server *server, struct error *err)
{
    server->security = server->config.security;
    if (server->security)
        return 0;
    int code =
        security_create(&server->own_security, NULL, server->config.white_list, server->os, err);
    server->security = server->own_security;
    return code;
}

/* ---- the parts ---- */

static void on_volume_added(void *ctx, const struct disk_location *location, struct volume *volume)
{
    struct volume_server *server = ctx;
    struct heartbeat *heartbeat = atomic_load(&server->heartbeat);
    if (heartbeat) /* else its first beat will tell of it */
        heartbeat_volume_added(heartbeat, location, volume);
}

static void on_volume_removed(void *ctx, const struct disk_location *location,
                              struct volume *volume)
{
    struct volume_server *server = ctx;
    heartbeat_volume_removed(atomic_load(&server->heartbeat), location, volume);
}

static void on_loaded(void *ctx)
{
    struct volume_server *server = ctx;
    pthread_mutex_lock(&server->wake_lock);
    server->is_loaded = true;
    pthread_cond_broadcast(&server->wake);
    pthread_mutex_unlock(&server->wake_lock);
}

static void on_refused(void *ctx, const struct error *err)
{
    struct volume_server *server = ctx;
    if (server->config.on_failed)
        server->config.on_failed(server->config.ctx, err);
}

static void on_lost(void *ctx, const char *master)
{
    struct volume_server *server = ctx;
    volume_metrics_disconnected(server->metrics, master);
}

static int open_store(struct volume_server *server, struct error *err)
{
    const struct volume_server_config *config = &server->config;
    struct store_config store = {
        .os = server->os,
        .locations = config->locations,
        .location_count = config->location_count,
        .index_directory = config->index_directory,
        .offset_bytes = config->offset_bytes,
        .index = config->index,
        .durability = config->durability,
        .sync_interval_ms = config->sync_interval_ms,
        .compaction_bytes_per_second = (uint64_t)config->compaction_mbps << 20,
        .loads_in_background = true,
        .on_loaded = on_loaded,
        .on_volume_added = on_volume_added,
        .on_volume_removed = on_volume_removed,
        .ctx = server,
    };
    int code = store_open(&server->store, &store, err);
    if (code)
        return code;
    const struct disk_location *first = store_location(server->store, 0);
    return server_state_open(&server->state, server->os, disk_location_index_directory(first), err);
}

static int create_heartbeat(struct volume_server *server, struct error *err)
{
    struct heartbeat_config config = {
        .identity = &server->identity,
        .store = server->store,
        .state = server->state,
        .client = server->client,
        .masters = server->masters,
        .master_count = server->master_count,
        .pulse_ms = server->config.pulse_ms,
        .on_refused = on_refused,
        .on_lost = on_lost,
        .ctx = server,
    };
    struct heartbeat *heartbeat;
    int code = heartbeat_create(&heartbeat, &config, err);
    if (!code)
        atomic_store(&server->heartbeat, heartbeat);
    return code;
}

/* Whom lookups ask: the master of the heartbeat, or the first seed before there is one. */
static bool lookup_address(void *ctx, char *address, size_t size)
{
    struct volume_server *server = ctx;
    struct address master;
    if (!heartbeat_master(atomic_load(&server->heartbeat), &master))
        master = server->masters[0];
    char text[ADDRESS_TEXT_SIZE];
    address_format_grpc(&master, text);
    return snprintf(address, size, "%s", text) < (int)size;
}

static int create_lookup(struct volume_server *server, struct error *err)
{
    struct volume_lookup_master_config config = {
        .client = server->client,
        .master = lookup_address,
        .ctx = server,
    };
    int code = volume_lookup_master_create(&server->lookup_master, &config, err);
    if (code)
        return code;
    struct volume_lookup_source source = volume_lookup_master_source(server->lookup_master);
    return volume_lookup_create(&server->lookup, &source, err);
}

static void create_rpc(struct volume_server *server)
{
    struct volume_rpc_config config = {
        .store = server->store,
        .state = server->state,
        .heartbeat = atomic_load(&server->heartbeat),
        .client = server->client,
        .security = server->security,
        .identity = &server->identity,
        .masters = server->masters,
        .master_count = server->master_count,
        .version = server->config.version,
        .metrics = server->metrics,
    };
    volume_rpc_create(&server->rpc, &config);
}

/* ---- starting ---- */

/* Until the flag (of wake_lock) is set; false when it is. */
static bool wait_ms(struct volume_server *server, uint64_t ms, const bool *is_over)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&server->wake_lock);
    int rc = 0;
    while (!*is_over && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&server->wake, &server->wake_lock, &until);
    bool goes_on = !*is_over;
    pthread_mutex_unlock(&server->wake_lock);
    return goes_on;
}

static bool ask_masters(struct volume_server *server, struct error *err)
{
    for (size_t i = 0; i < server->master_count; i++) {
        MasterPb__GetMasterConfigurationResponse *response;
        enum rpc_status status;
        if (master_fetch_configuration(server->client, &server->masters[i], &response, &status,
                                       err))
            continue;
        /* Known this early, the first beat tells already what an automatic disk takes. */
        store_set_limits(server->store, (uint64_t)response->volume_size_limit_m_b << 20,
                         response->volume_preallocate);
        server->gateway = keep(&server->arena, response->metrics_address);
        server->gateway_interval_seconds = response->metrics_interval_seconds;
        master_pb__get_master_configuration_response__free_unpacked(response, NULL);
        return true;
    }
    return false;
}

/* Until a master has answered, a stop may close the client: hung masters must not hold it. */
static bool set_asking(struct volume_server *server, bool is_asking)
{
    pthread_mutex_lock(&server->wake_lock);
    server->is_asking_masters = is_asking;
    bool goes_on = !server->is_stop_asked;
    pthread_mutex_unlock(&server->wake_lock);
    return goes_on;
}

/* False when asked to stop before any master has answered. */
static bool wait_for_master(struct volume_server *server)
{
    if (!set_asking(server, true))
        return false;
    /* Scaled with the pulse, as all waits of the heartbeat are. */
    uint32_t pulse_ms = server->config.pulse_ms;
    uint64_t round_ms = pulse_ms ? (uint64_t)pulse_ms * MASTER_ROUND_MS / 5000 : MASTER_ROUND_MS;
    uint64_t complain_in = 0;
    for (;;) {
        struct error err = {0};
        if (ask_masters(server, &err))
            return set_asking(server, false);
        if (complain_in == 0) {
            log_warning("waiting for a master",
                        "masters=%s error=\"%s\" next=\"the ports open once one answers\"",
                        server->config.masters, err.message);
            complain_in = MASTER_COMPLAIN_MS / MASTER_ROUND_MS + 1;
        }
        complain_in--;
        if (!wait_ms(server, round_ms, &server->is_stop_asked))
            return false;
    }
}

static void *start_main(void *arg)
{
    struct volume_server *server = arg;
    if (!wait_for_master(server))
        return NULL;
    struct error err = {0};
    int code = volume_server_open_ports(server, &err);
    if (!code) {
        wait_ms(server, LOAD_GRACE_MS, &server->is_loaded);
        code = heartbeat_begin(atomic_load(&server->heartbeat), &err);
    }
    if (code) {
        if (server->config.on_failed)
            server->config.on_failed(server->config.ctx, &err);
        return NULL;
    }
    server->has_served = true;
    log_info("volume server ready", "id=%s http=%u grpc=%u volumes=%zu loading=%zu",
             server->identity.id, server->identity.port, server->identity.grpc_port,
             store_volume_count(server->store), store_loading_count(server->store));
    if (server->config.on_serving)
        server->config.on_serving(server->config.ctx);
    return NULL;
}

static void destroy(struct volume_server *server)
{
    volume_lookup_destroy(server->lookup);
    rpc_client_destroy(server->client);
    volume_lookup_master_destroy(server->lookup_master);
    volume_rpc_destroy(server->rpc);
    store_close(server->store);
    heartbeat_destroy(atomic_load(&server->heartbeat));
    server_state_close(server->state);
    volume_metrics_destroy(server->metrics);
    metrics_destroy(server->registry);
    security_destroy(server->own_security);
    pthread_cond_destroy(&server->wake);
    pthread_mutex_destroy(&server->wake_lock);
    arena_fini(&server->arena);
    free(server);
}

static struct volume_server *create_bare(const struct volume_server_config *config)
{
    struct volume_server *server = must(calloc(1, sizeof(*server)));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&server->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&server->wake_lock, NULL);
    arena_init(&server->arena);
    keep_config(server, config);
    server->started_second = os_now_ns(server->os) / 1000000000;
    return server;
}

int volume_server_start(struct volume_server **ret, const struct volume_server_config *config,
                        struct error *err)
{
    struct volume_server *server = create_bare(config);
    int code = parse_masters(server, err);
    if (!code)
        code = settle_security(server, err);
    if (!code)
        code = rpc_client_create_tls(&server->client, server->config.rpc_tls, err);
    if (!code)
        code = open_store(server, err);
    if (!code)
        code = create_heartbeat(server, err);
    if (!code)
        code = create_lookup(server, err);
    if (!code) {
        server->registry = metrics_create();
        server->metrics =
            volume_metrics_create(server->registry, server->store, server->config.version);
        create_rpc(server);
        int rc = pthread_create(&server->start_thread, NULL, start_main, server);
        if (rc)
            code = error_set_errno(err, rc, "start a thread");
    }
    if (code) {
        destroy(server);
        return code;
    }
    server->has_start_thread = true;
    *ret = server;
    return 0;
}

/* ---- stopping ---- */

void volume_server_hurry(struct volume_server *server)
{
    pthread_mutex_lock(&server->wake_lock);
    server->is_hurried = true;
    pthread_cond_broadcast(&server->wake);
    pthread_mutex_unlock(&server->wake_lock);
}

void volume_server_stop(struct volume_server *server, unsigned grace_ms)
{
    if (!server)
        return;
    pthread_mutex_lock(&server->wake_lock);
    server->is_stop_asked = true;
    server->is_loaded = true; /* nobody waits for it any more */
    store_stop_loading(server->store);
    if (server->is_asking_masters)
        rpc_client_close(server->client);
    pthread_cond_broadcast(&server->wake);
    pthread_mutex_unlock(&server->wake_lock);
    if (server->has_start_thread)
        pthread_join(server->start_thread, NULL);

    struct heartbeat *heartbeat = atomic_load(&server->heartbeat);
    bool had_left = heartbeat_has_left(heartbeat);
    heartbeat_leave(heartbeat);
    atomic_store(&server->is_stopping, true);
    volume_rpc_set_stopping(server->rpc);
    if (server->has_served && !had_left)
        wait_ms(server, (uint64_t)server->config.pre_stop_seconds * 1000, &server->is_hurried);
    volume_server_close_ports(server, grace_ms);
    destroy(server);
}

void volume_server_rescan(struct volume_server *server) { store_rescan(server->store); }

uint16_t volume_server_port(const struct volume_server *server)
{
    return (uint16_t)atomic_load(&server->port);
}

uint16_t volume_server_grpc_port(const struct volume_server *server)
{
    return (uint16_t)atomic_load(&server->grpc_port);
}

uint16_t volume_server_metrics_port(const struct volume_server *server)
{
    return (uint16_t)atomic_load(&server->metrics_port);
}

struct metrics *volume_server_metrics(struct volume_server *server) { return server->registry; }
