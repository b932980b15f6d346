/* kelp convert: changes the width of the offsets of volumes. */
#include "cli/command.h"
#include "cli/offline_flags.h"
#include "volume/storage/index_convert.h"

#include <inttypes.h>

static const char *options;
static int64_t offset_bytes;
static bool is_applied;

static const struct config_flag flags[] = {
    {"offsetBytes", CONFIG_INT, &offset_bytes, NULL, "the width that is wanted: 4 or 5"},
    OFFLINE_DIRECTORY_ROW("folder with the volumes"),
    OFFLINE_MANY_ROWS,
    {"apply", CONFIG_BOOL, &is_applied, NULL, "write; without it only what would change is said"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "convert",
    .summary = "change index files between 4-byte and 5-byte offsets",
    .usage = "-offsetBytes=5 -dir=/data [-volumeId=3] -apply",
    .description =
        "SeaweedFS comes in two builds, with 4-byte offsets (volumes up to 32 GiB) and 5-byte "
        "ones\n"
        "(\"large disk\", 8 TiB), neither of which reads the other's index files. kelp reads both. "
        "This\n"
        "makes the .idx and the .vif of volumes fit for the other build; the .dat is the same for "
        "both.\n"
        "A stop at any moment leaves volumes that kelp loads. The old .idx is kept as .idx.bak.\n\n"
        "Stop the volume server first. To 4 bytes, a volume with a needle beyond 32 GiB is "
        "refused.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

static int convert(const struct offline_volume *volume, struct error *err)
{
    struct index_convert_result result;
    uint8_t to = (uint8_t)offset_bytes;
    if (!volume->has_dat || !volume->has_idx)
        return error_set(err, KELP_E_NOT_FOUND, "it has no .%s", volume->has_dat ? "idx" : "dat");
    if (volume->is_info_foreign)
        return error_set(err, KELP_E_CORRUPT, "%s", volume->info_error.message);
    if (volume->offset_bytes == to && volume->info.bytes_offset == to) {
        printf("%s/%s: has %u bytes of offset already\n", volume->directory, volume->files.base,
               to);
        return 0;
    }
    int code = index_convert(&volume->files, os_real(), &volume->info, volume->offset_bytes, to,
                             is_applied, &result, err);
    if (code == KELP_E_EXISTS) { /* as its rows look; the .vif does not say */
        printf("%s/%s: has %u bytes of offset already\n", volume->directory, volume->files.base,
               to);
        return 0;
    }
    if (code != 0)
        return code;
    printf("%s/%s: %" PRIu64 " rows from %u to %u bytes of offset", volume->directory,
           volume->files.base, result.rows, volume->offset_bytes, to);
    if (result.resolved > 0)
        printf(", %" PRIu64 " of them past 32 GiB", result.resolved);
    printf(is_applied ? ": done\n" : ": would be converted (-apply does it)\n");
    return 0;
}

static int run(int argc, char **argv)
{
    int rest, status, lock = -1;
    struct error err = {0};
    struct offline_list list = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    int code = offline_flags_check(&err);
    if (code == 0 && offset_bytes != 4 && offset_bytes != 5)
        code = error_set(&err, KELP_E_INVALID, "-offsetBytes is needed: 4 or 5");
    if (code == 0)
        code = offline_flags_add(&list, offline_flags.directory, &err);
    if (code == 0 && list.count == 0)
        code = error_set(&err, KELP_E_NOT_FOUND, "no such volume in %s", offline_flags.directory);
    if (code != 0) {
        offline_list_fini(&list);
        return command_fail(&config, &err) + 1;
    }
    status = 0;
    if (is_applied && offline_lock(list.volumes[0].directory, &lock, &err) != 0)
        status = command_fail(&config, &err);
    bool is_ready = status == 0;
    for (size_t i = 0; is_ready && i < list.count; i++)
        if (convert(&list.volumes[i], &err) != 0) {
            error_prefix(&err, "%s/%s", list.volumes[i].directory, list.volumes[i].files.base);
            status = command_fail(&config, &err);
        }
    if (lock >= 0)
        os_close(os_real(), lock);
    offline_list_fini(&list);
    return status;
}

const struct command command_convert = {&config, run};
