/* Counters are set when something happens; what describes the present is looked up when a page is
 * printed, on the thread that prints it. */
#include "volume/volume_metrics.h"

#include "common/check.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#define NAME(rest) "SeaweedFS_volumeServer_" rest
/* Collections beyond it are added up under one name. */
#define COLLECTIONS_MAX 1000u
#define FOREGROUND_WINDOW_NS 2000000000

static const double seconds_bounds[] = {
    0.0001, 0.0002, 0.0004, 0.0008,  0.0016,  0.0032,  0.0064,  0.0128,
    0.0256, 0.0512, 0.1024, 0.2048,  0.4096,  0.8192,  1.6384,  3.2768,
    6.5536, 13.1072, 26.2144, 52.4288, 104.8576, 209.7152, 419.4304, 838.8608};
#define SECONDS_BOUNDS (sizeof(seconds_bounds) / sizeof(seconds_bounds[0]))

enum { PHASES = 2 };
static const char *const phase_names[PHASES] = {"compact", "commit"};

/* Of one disk, while a page is put together. */
struct disk_sums {
    uint64_t index_memory, index_files;
};

struct collection_sums {
    char *name;
    uint64_t volumes, read_only, no_write_or_delete, no_write_can_delete, low_space;
    uint64_t bytes, deleted_bytes, damaged;
};

struct volume_metrics {
    struct metrics_collector collector;
    struct metrics *registry;
    struct store *store;
    struct metric_series *vacuum_count[PHASES][2]; /* by success */
    struct metric_series *vacuum_seconds[PHASES];
    struct metric_series *vacuum_pause;
    struct metric_family *vacuum_running, *vacuum_share, *vacuum_held;
    struct metric_family *volumes, *read_only, *disk_size, *resource, *damaged;
    struct metric_series *max_volumes, *loading, *not_loaded, *quarantined;
    struct metric_family *disk_errors, *disconnections, *scrub_time, *scrub_failures;
    struct metric_family *index_memory, *index_files, *foreground;
    pthread_mutex_t lock; /* collections: kept, so that a collection that is gone shows 0 */
    struct collection_sums *collections;
    size_t collection_count;
    struct disk_sums *disks; /* lock */
    uint64_t quarantined_count;
};

static struct collection_sums *sums_of(struct volume_metrics *metrics, const char *collection)
{
    for (size_t i = 0; i < metrics->collection_count; i++)
        if (strcmp(metrics->collections[i].name, collection) == 0)
            return &metrics->collections[i];
    if (metrics->collection_count >= COLLECTIONS_MAX && strcmp(collection, "other") != 0)
        return sums_of(metrics, "other");
    metrics->collections =
        must(realloc(metrics->collections,
                     (metrics->collection_count + 1) * sizeof(*metrics->collections)));
    struct collection_sums *sums = &metrics->collections[metrics->collection_count++];
    *sums = (struct collection_sums){.name = must(strdup(collection))};
    return sums;
}

static int add_volume(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct volume_metrics *metrics = ctx;
    struct volume_stat stat;
    volume_stat(volume, &stat);
    struct collection_sums *sums = sums_of(metrics, volume_collection(volume));
    unsigned can_delete = VOLUME_RO_OPERATOR_CAN_DELETE | VOLUME_RO_TIERED;
    sums->volumes++;
    sums->read_only += stat.read_only != 0;
    sums->no_write_or_delete += (stat.read_only & VOLUME_BLOCKS_DELETE_MASK) != 0;
    sums->no_write_can_delete += (stat.read_only & can_delete) != 0;
    sums->low_space += (stat.read_only & VOLUME_RO_LOW_SPACE) != 0;
    sums->bytes += stat.dat_bytes;
    sums->deleted_bytes += stat.deletion_bytes;
    sums->damaged += stat.damaged_count;
    metrics->quarantined_count += (stat.read_only & VOLUME_RO_IO_ERROR) != 0;
    struct disk_sums *disk = &metrics->disks[disk_location_id(location)];
    disk->index_memory += stat.index_memory_bytes;
    disk->index_files += stat.idx_bytes;
    return 0;
}

static void set(struct metric_family *family, const char *first, const char *second, uint64_t value)
{
    const char *values[] = {first, second};
    metric_set(metric_series(family, values), (double)value);
}

static void print_collections(struct volume_metrics *metrics)
{
    for (size_t i = 0; i < metrics->collection_count; i++) {
        const struct collection_sums *sums = &metrics->collections[i];
        set(metrics->volumes, sums->name, "volume", sums->volumes);
        set(metrics->read_only, sums->name, "IsReadOnly", sums->read_only);
        set(metrics->read_only, sums->name, "noWriteOrDelete", sums->no_write_or_delete);
        set(metrics->read_only, sums->name, "noWriteCanDelete", sums->no_write_can_delete);
        set(metrics->read_only, sums->name, "isDiskSpaceLow", sums->low_space);
        set(metrics->disk_size, sums->name, "normal", sums->bytes);
        set(metrics->disk_size, sums->name, "deleted_bytes", sums->deleted_bytes);
        const char *values[] = {sums->name};
        metric_set(metric_series(metrics->damaged, values), (double)sums->damaged);
    }
}

static void collect_vacuum(struct volume_metrics *metrics, struct vacuum_budget *budget,
                           const char *directory)
{
    unsigned jobs;
    double share;
    vacuum_budget_state(budget, &jobs, &share);
    metric_set(metric_series(metrics->vacuum_running, &directory), jobs);
    metric_set(metric_series(metrics->vacuum_share, &directory), jobs > 0 ? share : 1);
    metric_set(metric_series(metrics->vacuum_held, &directory), (double)vacuum_budget_held(budget));
}

static void collect_foreground(struct volume_metrics *metrics, size_t index, const char *directory)
{
    static const char *const kinds[FOREGROUND_KINDS] = {
        [FOREGROUND_READ] = "read", [FOREGROUND_WRITE] = "write"};
    const struct foreground *foreground = store_location_foreground(metrics->store, index);
    int64_t now_ns = os_monotonic_ns(os_real());
    for (unsigned kind = 0; kind < FOREGROUND_KINDS; kind++) {
        const char *values[] = {directory, kinds[kind]};
        int64_t p99_ns = foreground_p99_ns(foreground, kind, now_ns, FOREGROUND_WINDOW_NS);
        metric_set(metric_series(metrics->foreground, values), (double)p99_ns / 1e9);
    }
}

static void collect_disk(struct volume_metrics *metrics, size_t index)
{
    struct disk_location *location = store_location(metrics->store, index);
    const char *name = disk_location_directory(location);
    const struct disk_sums *sums = &metrics->disks[index];
    struct disk_space space;
    disk_location_space(location, &space);
    uint64_t reserve =
        space.reserve_bytes < space.free_bytes ? space.reserve_bytes : space.free_bytes;
    set(metrics->resource, name, "all", space.total_bytes);
    set(metrics->resource, name, "used", space.total_bytes - space.free_bytes);
    set(metrics->resource, name, "free", space.free_bytes);
    set(metrics->resource, name, "avail", space.free_bytes - reserve);
    set(metrics->disk_errors, name, "error", space.is_unavailable);
    metric_set(metric_series(metrics->index_memory, &name), (double)sums->index_memory);
    metric_set(metric_series(metrics->index_files, &name), (double)sums->index_files);
    collect_vacuum(metrics, store_location_budget(metrics->store, index), name);
    collect_foreground(metrics, index, name);
}

static void collect(struct metrics_collector *collector)
{
    struct volume_metrics *metrics = (struct volume_metrics *)collector;
    pthread_mutex_lock(&metrics->lock);
    for (size_t i = 0; i < metrics->collection_count; i++)
        metrics->collections[i] = (struct collection_sums){.name = metrics->collections[i].name};
    memset(metrics->disks, 0, store_location_count(metrics->store) * sizeof(*metrics->disks));
    metrics->quarantined_count = 0;
    store_for_each(metrics->store, add_volume, metrics);
    print_collections(metrics);
    metric_set(metrics->quarantined, (double)metrics->quarantined_count);
    uint64_t slots = 0;
    for (size_t i = 0; i < store_location_count(metrics->store); i++) {
        collect_disk(metrics, i);
        slots += store_location_max(metrics->store, store_location(metrics->store, i));
    }
    metric_set(metrics->max_volumes, (double)slots);
    metric_set(metrics->loading, (double)store_loading_count(metrics->store));
    metric_set(metrics->not_loaded, (double)store_not_loaded_count(metrics->store));
    pthread_mutex_unlock(&metrics->lock);
}

static struct metric_series *single(struct metrics *registry, enum metric_kind kind,
                                    const char *name, const char *help)
{
    return metric_series(metrics_add(registry, kind, name, help, NULL, NULL, 0), NULL);
}

static void add_vacuum(struct volume_metrics *metrics, struct metrics *registry)
{
    static const char *const by_success[] = {"success", NULL};
    static const char *const by_type[] = {"type", NULL};
    static const double pause_bounds[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01,
                                          0.025,  0.05,   0.1,   0.25,   0.5,   1};
    static const char *const success_values[2][1] = {{"false"}, {"true"}};
    struct metric_family *counts[PHASES] = {
        metrics_add(registry, METRIC_COUNTER, NAME("vacuuming_compact_count"),
                    "Vacuum copies that ended.", by_success, NULL, 0),
        metrics_add(registry, METRIC_COUNTER, NAME("vacuuming_commit_count"),
                    "Vacuum commits that ended.", by_success, NULL, 0),
    };
    struct metric_family *seconds =
        metrics_add(registry, METRIC_HISTOGRAM, NAME("vacuuming_seconds"),
                    "Time that vacuum phases took.", by_type, seconds_bounds, SECONDS_BOUNDS);
    for (int phase = 0; phase < PHASES; phase++) {
        for (int success = 0; success < 2; success++)
            metrics->vacuum_count[phase][success] =
                metric_series(counts[phase], success_values[success]);
        metrics->vacuum_seconds[phase] = metric_series(seconds, &phase_names[phase]);
    }
    struct metric_family *pause =
        metrics_add(registry, METRIC_HISTOGRAM, "kelp_vacuum_writer_pause_seconds",
                    "Longest time that writers waited for a vacuum commit.", NULL, pause_bounds,
                    sizeof(pause_bounds) / sizeof(pause_bounds[0]));
    metrics->vacuum_pause = metric_series(pause, NULL);
    static const char *const by_name[] = {"name", NULL};
    metrics->vacuum_running = metrics_add(registry, METRIC_GAUGE, "kelp_vacuum_running",
                                          "Vacuum copies at work, by directory.", by_name, NULL, 0);
    metrics->vacuum_share =
        metrics_add(registry, METRIC_GAUGE, "kelp_vacuum_share",
                    "Part of the time that copies work; below 1 they yield to clients.", by_name,
                    NULL, 0);
    metrics->vacuum_held = metrics_add(registry, METRIC_GAUGE, "kelp_vacuum_held_bytes",
                                       "Space that vacuums hold until they end.", by_name, NULL, 0);
}

/* By disk. */
static void add_disks(struct volume_metrics *metrics, struct metrics *registry)
{
    static const char *const by_name[] = {"name", NULL};
    static const char *const by_name_type[] = {"name", "type", NULL};
    metrics->resource = metrics_add(registry, METRIC_GAUGE, NAME("resource"),
                                    "Disk space by directory.", by_name_type, NULL, 0);
    metrics->disk_errors = metrics_add(registry, METRIC_GAUGE, NAME("disk_error_status"),
                                       "1: the disk does not answer.", by_name_type, NULL, 0);
    metrics->index_memory =
        metrics_add(registry, METRIC_GAUGE, "kelp_index_memory_bytes",
                    "Memory that the needle indexes of a disk take.", by_name, NULL, 0);
    metrics->index_files = metrics_add(registry, METRIC_GAUGE, "kelp_index_file_bytes",
                                       "Bytes of .idx files.", by_name, NULL, 0);
    metrics->foreground = metrics_add(
        registry, METRIC_GAUGE, "kelp_foreground_p99_seconds",
        "What 99 % of the writes, and of the reads that wait for the disk, stayed below in the "
        "last two seconds; 0: there were too few.",
        by_name_type, NULL, 0);
}

/* By collection, and of all volumes. */
static void add_volumes(struct volume_metrics *metrics, struct metrics *registry)
{
    static const char *const by_collection_type[] = {"collection", "type", NULL};
    static const char *const by_collection[] = {"collection", NULL};
    metrics->volumes = metrics_add(registry, METRIC_GAUGE, NAME("volumes"), "Volumes served.",
                                   by_collection_type, NULL, 0);
    metrics->read_only = metrics_add(registry, METRIC_GAUGE, NAME("read_only_volumes"),
                                     "Read-only volumes by reason.", by_collection_type, NULL, 0);
    metrics->disk_size = metrics_add(registry, METRIC_GAUGE, NAME("total_disk_size"),
                                     "Bytes in volumes.", by_collection_type, NULL, 0);
    metrics->damaged =
        metrics_add(registry, METRIC_GAUGE, "kelp_damaged_records",
                    "Records that failed their check since their volume was opened.",
                    by_collection, NULL, 0);
    metrics->max_volumes =
        single(registry, METRIC_GAUGE, NAME("max_volumes"), "Volume slots of all disks.");
    metrics->loading = single(registry, METRIC_GAUGE, "kelp_volumes_loading",
                              "Volumes that the start has found and not yet loaded.");
    metrics->not_loaded = single(registry, METRIC_GAUGE, "kelp_volumes_not_loaded",
                                 "Volumes that could not be loaded; the log says why.");
}

static void add_events(struct volume_metrics *metrics, struct metrics *registry)
{
    static const char *const by_kind[] = {"kind", NULL};
    static const char *const by_address[] = {"address", NULL};
    static const char *const by_mode[] = {"mode", NULL};
    static const char *const kinds[] = {"volume", "ec_shard"};
    struct metric_family *quarantine =
        metrics_add(registry, METRIC_GAUGE, NAME("io_quarantine"),
                    "Volumes that take no writes since their disk failed.", by_kind, NULL, 0);
    metrics->quarantined = metric_series(quarantine, &kinds[0]);
    metric_set(metric_series(quarantine, &kinds[1]), 0); /* there are none here */
    metrics->disconnections = metrics_add(registry, METRIC_COUNTER, NAME("master_disconnections"),
                                          "Heartbeat streams that broke or did not come about.",
                                          by_address, NULL, 0);
    metrics->scrub_time = metrics_add(registry, METRIC_GAUGE, NAME("scrub_last_time_seconds"),
                                      "When volumes were last scrubbed, in unix time.", by_mode,
                                      NULL, 0);
    metrics->scrub_failures =
        metrics_add(registry, METRIC_COUNTER, NAME("scrub_volume_failures"),
                    "Volumes in which a scrub found damage.", by_mode, NULL, 0);
}

/* "8000GB 4.48 kelp": the limit of volumes, the version, the commit. */
static void add_build(struct metrics *registry, const char *version)
{
    static const char *const labels[] = {"version", "commit", "sizelimit", "goos", "goarch", NULL};
    char limit[32] = "", number[32] = "", commit[64] = "";
    struct utsname machine;
    sscanf(version, "%31s %31s %63s", limit, number, commit);
    bool is_known = uname(&machine) == 0;
    /* The peer's words for it. */
    const char *cpu = !is_known                                 ? ""
                      : strcmp(machine.machine, "x86_64") == 0  ? "amd64"
                      : strcmp(machine.machine, "aarch64") == 0 ? "arm64"
                                                                : machine.machine;
    const char *const values[] = {number, commit, limit, "linux", cpu};
    metric_set(metric_series(metrics_add(registry, METRIC_GAUGE, "SeaweedFS_build_info",
                                         "What this is.", labels, NULL, 0),
                             values),
               1);
}

struct volume_metrics *volume_metrics_create(struct metrics *registry, struct store *store,
                                             const char *version)
{
    struct volume_metrics *metrics = must(calloc(1, sizeof(*metrics)));
    metrics->store = store;
    metrics->registry = registry;
    metrics->disks = must(calloc(store_location_count(store), sizeof(*metrics->disks)));
    pthread_mutex_init(&metrics->lock, NULL);
    add_vacuum(metrics, registry);
    add_volumes(metrics, registry);
    add_disks(metrics, registry);
    add_events(metrics, registry);
    metric_set(single(registry, METRIC_GAUGE, NAME("start_time_seconds"),
                      "When the server started, in unix time."),
               (double)time(NULL));
    add_build(registry, version);
    metrics->collector.collect = collect;
    metrics_add_collector(registry, &metrics->collector);
    return metrics;
}

void volume_metrics_destroy(struct volume_metrics *metrics)
{
    if (!metrics)
        return;
    metrics_remove_collector(metrics->registry, &metrics->collector);
    for (size_t i = 0; i < metrics->collection_count; i++)
        free(metrics->collections[i].name);
    free(metrics->collections);
    free(metrics->disks);
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

void volume_metrics_vacuum(struct volume_metrics *metrics, enum volume_metrics_phase phase,
                           bool is_success, double seconds)
{
    if (!metrics)
        return;
    metric_add(metrics->vacuum_count[phase][is_success], 1);
    metric_observe(metrics->vacuum_seconds[phase], seconds);
}

void volume_metrics_vacuum_pause(struct volume_metrics *metrics, double seconds)
{
    if (metrics)
        metric_observe(metrics->vacuum_pause, seconds);
}

void volume_metrics_disconnected(struct volume_metrics *metrics, const char *master)
{
    if (metrics)
        metric_add(metric_series(metrics->disconnections, &master), 1);
}

void volume_metrics_scrub(struct volume_metrics *metrics, const char *mode, size_t broken_volumes)
{
    if (!metrics)
        return;
    metric_set(metric_series(metrics->scrub_time, &mode), (double)time(NULL));
    metric_add(metric_series(metrics->scrub_failures, &mode), (double)broken_volumes);
}
