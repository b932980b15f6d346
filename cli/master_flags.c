/* From flags to a master_config, with the checks that need no server. */
#include "cli/master_flags.h"

#include "cli/command.h"
#include "cli/flag_values.h"
#include "cli/process.h"
#include "common/settings.h"

#include <string.h>

struct master_flags master_flags;

#define SIZE_LIMIT_MAX_MB 8192000u /* what 5-byte offsets address */

/* master.toml, for the life of the process: the config borrows texts from it. */
static struct settings *settings;

static int apply_growth(struct master_config *config, struct error *err)
{
    const struct {
        const char *key;
        unsigned *target;
    } rows[] = {
        {"master.volume_growth.copy_1", &config->growth_copy_1},
        {"master.volume_growth.copy_2", &config->growth_copy_2},
        {"master.volume_growth.copy_3", &config->growth_copy_3},
        {"master.volume_growth.copy_other", &config->growth_copy_other},
        {"master.sequencer.sequencer_snowflake_id", &config->snowflake_id},
        {"master.maintenance.sleep_minutes", &config->maintenance_sleep_minutes},
    };
    int code = 0;
    for (size_t i = 0; code == 0 && i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t value;
        code = settings_int(settings, rows[i].key, *rows[i].target, &value, err);
        if (code == 0 && value < 0 && rows[i].target == &config->maintenance_sleep_minutes)
            value = 0; /* the default, as with the peer */
        if (code == 0 && (value < 0 || value > UINT32_MAX))
            code = error_set(err, KELP_E_INVALID, "%s = %lld must be 0 or more", rows[i].key,
                             (long long)value);
        if (code == 0)
            *rows[i].target = (unsigned)value;
    }
    if (code == 0)
        code = settings_number(settings, "master.volume_growth.threshold", config->growth_threshold,
                               &config->growth_threshold, err);
    if (code == 0 && (config->growth_threshold < 0 || config->growth_threshold > 1))
        code = error_set(err, KELP_E_INVALID, "master.volume_growth.threshold must be from 0 to 1");
    if (code == 0)
        code = settings_bool(settings, "master.volume_growth.disable", false,
                             &config->growth_is_disabled, err);
    if (code == 0)
        code = settings_bool(settings, "master.replication.treat_replication_as_minimums", false,
                             &config->treat_replication_as_minimums, err);
    return code;
}

static int apply_settings(struct master_config *config, struct error *err)
{
    int code = settings ? settings_reload(settings, err)
                        : settings_open(&settings, "master", command_config_folder, err);
    if (code != 0)
        return code;
    const char *folder = settings_text(settings, "master.mdir");
    if (*folder)
        config->metadata_dir = process_expand_path(folder);
    config->maintenance_scripts = settings_text(settings, "master.maintenance.scripts");
    config->is_snowflake =
        strcmp(settings_text(settings, "master.sequencer.type"), "snowflake") == 0;
    return apply_growth(config, err);
}

int master_flags_apply(struct master_config *config, struct error *err)
{
    const struct master_flags *f = &master_flags;
    master_config_init(config);
    if (f->volume_size_limit_mb == 0 || f->volume_size_limit_mb > SIZE_LIMIT_MAX_MB)
        return error_set(err, KELP_E_INVALID, "-volumeSizeLimitMB must be from 1 to %u",
                         SIZE_LIMIT_MAX_MB);
    if (*f->peers && strcmp(f->peers, "none") != 0 && strchr(f->peers, ','))
        return error_set(err, KELP_E_INVALID,
                         "-peers: this kelp runs a single master; leave -peers out or say none");
    if (f->garbage_threshold < 0 || f->garbage_threshold > 1)
        return error_set(err, KELP_E_INVALID, "-garbageThreshold must be from 0 to 1");
    if (!f->resume_state)
        return error_set(err, KELP_E_INVALID,
                         "-resumeState=false would hand out ids twice; to start afresh, move the "
                         "metadata folder away");

    config->ip = f->ip;
    config->bind_address = f->bind;
    config->metrics_ip = f->metrics_ip;
    config->white_list = f->white_list;
    config->disable_http = f->disable_http;
    config->metadata_dir = process_expand_path(*f->directory ? f->directory : "/tmp");
    config->default_replication = f->default_replication;
    config->volume_size_limit_mb = (uint32_t)f->volume_size_limit_mb;
    config->is_preallocating = f->is_preallocating;
    config->garbage_threshold = f->garbage_threshold;
    config->metrics_address = f->metrics_address;
    config->version = KELP_WIRE_VERSION;

    int code = flag_port("-port", f->port, &config->port, err);
    if (code == 0)
        code = flag_port("-port.grpc", f->grpc_port, &config->grpc_port, err);
    if (code == 0)
        code = flag_port("-metricsPort", f->metrics_port, &config->metrics_port, err);
    if (code == 0)
        code = flag_u32("-fileSizeLimitMB", f->file_size_limit_mb, &config->file_size_limit_mb, err);
    if (code == 0)
        code = flag_u32("-vacuumIntervalSeconds", f->vacuum_interval_seconds,
                         &config->vacuum_interval_seconds, err);
    if (code == 0)
        code = flag_u32("-vacuumJitterSeconds", f->vacuum_jitter_seconds,
                         &config->vacuum_jitter_seconds, err);
    if (code == 0)
        code = flag_u32("-vacuumDeleteEmptyAfterSeconds", f->vacuum_delete_empty_seconds,
                         &config->vacuum_delete_empty_after_seconds, err);
    if (code == 0)
        code = flag_u32("-maxParallelVacuumPerServer", f->parallel_vacuum,
                         &config->max_parallel_vacuum_per_server, err);
    if (code == 0)
        code = flag_u32("-metrics.intervalSeconds", f->metrics_interval_seconds,
                         &config->metrics_interval_seconds, err);
    return code == 0 ? apply_settings(config, err) : code;
}
