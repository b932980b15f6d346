/* From flags to a master_config, with the checks that need no server. */
#include "cli/master_flags.h"

#include "cli/command.h"
#include "cli/flag_values.h"
#include "cli/process.h"

#include <string.h>

struct master_flags master_flags;

#define SIZE_LIMIT_MAX_MB 8192000u /* what 5-byte offsets address */

static int apply_growth(struct master_config *config, struct error *err)
{
    unsigned minimums, disabled;
    int code = flag_setting("master.volume_growth.copy_1", config->growth_copy_1,
                            &config->growth_copy_1, err);
    if (code == 0)
        code = flag_setting("master.volume_growth.copy_2", config->growth_copy_2,
                            &config->growth_copy_2, err);
    if (code == 0)
        code = flag_setting("master.volume_growth.copy_3", config->growth_copy_3,
                            &config->growth_copy_3, err);
    if (code == 0)
        code = flag_setting("master.volume_growth.copy_other", config->growth_copy_other,
                            &config->growth_copy_other, err);
    if (code == 0)
        code = flag_setting("master.volume_growth.disable", 0, &disabled, err);
    if (code == 0)
        code = flag_setting("master.replication.treat_replication_as_minimums", 0, &minimums, err);
    if (code != 0)
        return code;
    config->growth_is_disabled = disabled != 0;
    config->treat_replication_as_minimums = minimums != 0;
    return 0;
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
    return code == 0 ? apply_growth(config, err) : code;
}
