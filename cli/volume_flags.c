/* From flags to a volume_server_config, with the checks that need no server. */
#include "cli/volume_flags.h"

#include "cli/command.h"
#include "cli/flag_values.h"
#include "cli/process.h"
#include "common/check.h"

#include <stdlib.h>

struct volume_flags volume_flags;

/* One of the lists that go with -dir. */
struct location_lists {
    struct flag_list directories, max, disks, tags, min_free;
};

static const char *pick(const struct flag_list *list, const char *name, size_t i, size_t count,
                        struct error *err)
{
    const char *item = flag_list_at(list, i, count);
    if (!item)
        error_set(err, KELP_E_INVALID,
                  "-%s has %zu entries, -dir has %zu: give one for all or one for each", name,
                  list->count, count);
    return item;
}

static int fill_location(const struct location_lists *lists, size_t i,
                         struct store_location_config *location, struct error *err)
{
    size_t count = lists->directories.count;
    const char *max = pick(&lists->max, "max", i, count, err);
    const char *disk = pick(&lists->disks, "disk", i, count, err);
    const char *min_free = pick(&lists->min_free, "minFreeSpace", i, count, err);
    if (!max || !disk || !min_free)
        return err->code;
    char *end;
    unsigned long volumes = strtoul(max, &end, 10);
    if (end == max || *end != '\0' || volumes > 1000000)
        return error_set(err, KELP_E_INVALID, "-max \"%s\" is no number of volumes", max);

    const char *tags = i < lists->tags.count ? lists->tags.items[i] : "";
    *location = (struct store_location_config){
        .directory = process_expand_path(lists->directories.items[i]),
        .max_volumes = (unsigned)volumes,
        .disk_type = strdup(strcasecmp(disk, "hdd") == 0 ? "" : disk),
        .tags = strdup(lists->tags.count == 1 ? lists->tags.items[0] : tags),
    };
    return flag_min_free("-minFreeSpace", min_free, &location->min_free_percent,
                         &location->min_free_bytes, err);
}

static int apply_locations(struct volume_server_config *config, struct error *err)
{
    const struct volume_flags *f = &volume_flags;
    struct location_lists lists;
    flag_list_init(&lists.directories, *f->directories ? f->directories : "/tmp");
    flag_list_init(&lists.max, f->max);
    flag_list_init(&lists.disks, f->disks);
    flag_list_init(&lists.tags, f->tags);
    flag_list_init(&lists.min_free, *f->min_free_space ? f->min_free_space : f->min_free_percent);

    size_t count = lists.directories.count;
    /* Like the other values of flags, for the life of the process. */
    static struct store_location_config *locations;
    CHECK(!locations);
    locations = must(calloc(count, sizeof(*locations)));
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = fill_location(&lists, i, &locations[i], err);
    config->locations = locations;
    config->location_count = count;

    flag_list_fini(&lists.directories);
    flag_list_fini(&lists.max);
    flag_list_fini(&lists.disks);
    flag_list_fini(&lists.tags);
    flag_list_fini(&lists.min_free);
    return code;
}

static int apply_numbers(struct volume_server_config *config, struct error *err)
{
    const struct volume_flags *f = &volume_flags;
    const struct {
        const char *name;
        int64_t value;
        uint16_t *port;
        uint32_t *number;
    } rows[] = {
        {"-port", f->port, &config->port, NULL},
        {"-port.grpc", f->grpc_port, &config->grpc_port, NULL},
        {"-port.public", f->public_port, &config->public_port, NULL},
        {"-metricsPort", f->metrics_port, &config->metrics_port, NULL},
        {"-fileSizeLimitMB", f->file_size_limit_mb, NULL, &config->file_size_limit_mb},
        {"-concurrentUploadLimitMB", f->upload_limit_mb, NULL, &config->upload_limit_mb},
        {"-concurrentDownloadLimitMB", f->download_limit_mb, NULL, &config->download_limit_mb},
        {"-readBufferSizeMB", f->read_buffer_mb, NULL, &config->read_buffer_mb},
        {"-idleTimeout", f->idle_timeout_seconds, NULL, &config->idle_timeout_seconds},
        {"-preStopSeconds", f->pre_stop_seconds, NULL, &config->pre_stop_seconds},
        {"-compactionMBps", f->compaction_mbps, NULL, &config->compaction_mbps},
        {"-pulseMilliseconds", f->pulse_ms, NULL, &config->pulse_ms},
    };
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(rows) / sizeof(rows[0]); i++)
        code = rows[i].port ? flag_port(rows[i].name, rows[i].value, rows[i].port, err)
                            : flag_u32(rows[i].name, rows[i].value, rows[i].number, err);
    return code;
}

static int apply_durability(struct volume_server_config *config, struct error *err)
{
    int64_t interval_ms = volume_flags.sync_interval_ns / 1000000;
    if (store_durability_parse(volume_flags.durability, &config->durability, err) != 0)
        return error_prefix(err, "-durability");
    if (interval_ms < 1 || interval_ms > 3600000)
        return error_set(err, KELP_E_INVALID,
                         "-durability.interval must be from 1ms to 1h: it is what a power cut may cost");
    config->sync_interval_ms = (uint32_t)interval_ms;
    return 0;
}

/* The peer's other port calls its kinds redb; what was set for it may stay. */
static int apply_index(struct volume_server_config *config, struct error *err)
{
    static const struct {
        const char *name, *alias;
        enum store_index index;
    } kinds[] = {
        {"memory", "memory", STORE_INDEX_MEMORY},
        {"leveldb", "redb", STORE_INDEX_LEVELDB},
        {"leveldbMedium", "redbMedium", STORE_INDEX_LEVELDB_MEDIUM},
        {"leveldbLarge", "redbLarge", STORE_INDEX_LEVELDB_LARGE},
    };
    const char *name = volume_flags.index;
    if (volume_flags.index_timeout_hours < 0)
        return error_set(err, KELP_E_INVALID, "-index.leveldbTimeout must be 0 or more hours");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(name, kinds[i].name) == 0 || strcmp(name, kinds[i].alias) == 0) {
            config->index = kinds[i].index;
            return 0;
        }
    }
    return error_set(err, KELP_E_INVALID,
                     "-index must be memory, leveldb, leveldbMedium or leveldbLarge, not \"%s\"",
                     name);
}

int volume_flags_apply(struct volume_server_config *config, struct error *err)
{
    const struct volume_flags *f = &volume_flags;
    volume_server_config_init(config);
    if (f->offset_bytes != 4 && f->offset_bytes != 5)
        return error_set(err, KELP_E_INVALID, "-offsetBytes must be 4 or 5");

    config->ip = f->ip;
    config->bind_address = f->bind;
    config->metrics_ip = f->metrics_ip;
    config->public_url = f->public_url;
    config->id = f->id;
    config->masters = *f->old_masters ? f->old_masters : f->masters;
    config->data_center = f->data_center;
    config->rack = f->rack;
    config->index_directory = *f->index_directory ? process_expand_path(f->index_directory) : "";
    config->offset_bytes = (uint8_t)f->offset_bytes;
    config->read_mode = f->read_mode;
    config->turns_upright = f->turns_upright;
    config->white_list = f->white_list;
    config->upload_timeout_ns = f->upload_timeout_ns;
    config->download_timeout_ns = f->download_timeout_ns;
    config->version = KELP_WIRE_VERSION;
    int code = apply_numbers(config, err);
    if (code == 0)
        code = apply_index(config, err);
    if (code == 0)
        code = apply_durability(config, err);
    return code == 0 ? apply_locations(config, err) : code;
}
