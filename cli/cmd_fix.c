/* kelp fix: rebuilds the .idx of volumes from their .dat. */
#include "cli/command.h"
#include "cli/offline_flags.h"
#include "volume/storage/index_rebuild.h"
#include "volume/storage/index_swap.h"

#include <inttypes.h>
#include <stdlib.h>

static const char *options;
static bool with_deleted, ignores_errors, is_applied;

static const struct config_flag flags[] = {
    OFFLINE_MANY_ROWS,
    {"includeDeleted", CONFIG_BOOL, &with_deleted, "true",
     "rows for deleted and overwritten needles, too: they tell a server how much garbage there is"},
    {"ignoreError", CONFIG_BOOL, &ignores_errors, NULL,
     "exit with 0 even if a volume could not be fixed"},
    {"apply", CONFIG_BOOL, &is_applied, NULL, "write; without it only what would change is said"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "fix",
    .summary = "rebuild the index files of volumes from their data",
    .usage = "[-volumeId=3] [-collection=photos] -apply folder or .dat ...",
    .description =
        "Reads each .dat from end to end, checks every record, and makes the .idx anew. The new "
        "file is\n"
        "complete and on the disk before it takes the old one's name; the old one is kept as "
        ".idx.bak.\n"
        "The .dat is not changed. Without -apply nothing is.\n\n"
        "Stop the volume server first. A kelp server repairs its volumes at each start on its own: "
        "this\n"
        "is for volumes that shall go to a SeaweedFS server, or were restored from somewhere.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

/* "; N things", when there are any. */
static void also(uint64_t count, const char *what)
{
    if (count > 0)
        printf("; %" PRIu64 " %s", count, what);
}

static void print_result(const struct offline_volume *volume,
                         const struct index_rebuild_result *result)
{
    printf("%s/%s: %" PRIu64 " rows (%" PRIu64 " puts, %" PRIu64 " deletes)", volume->directory,
           volume->files.base, result->puts + result->deletes, result->puts, result->deletes);
    also(result->empty_needles, "empty needles known from the old index");
    also(result->damaged_kept, "damaged records kept (see kelp check)");
    also(result->gap_bytes, "bytes between records are no record");
    also(result->torn_bytes, "bytes at the end are no record (a kelp server cuts them off)");
}

static int fix_volume(const struct offline_volume *volume, struct error *err)
{
    struct volume_generation *generation;
    struct index_rebuild_result result;
    const struct index_rebuild_options rebuild = {.is_live_only = !with_deleted};
    if (!volume->has_dat)
        return error_set(err, KELP_E_NOT_FOUND, "it has no .dat to make an index from");
    int code = index_swap_check(&volume->files, os_real(), err);
    if (code != 0)
        return code;
    const char *old = volume_files_path(&volume->files, VOLUME_FILE_IDX);
    struct volume_generation_owner owner = {.volume_id = volume->id,
                                            .collection = volume->collection};
    code = volume_generation_open(
        &generation, os_real(), &owner, volume_files_path(&volume->files, VOLUME_FILE_DAT),
        volume->has_idx ? old : "/dev/null", false, volume->offset_bytes, err);
    if (code != 0)
        return code;
    char *made = index_swap_made_path(&volume->files);
    code = index_rebuild(generation, is_applied ? made : NULL, &rebuild, &result, err);
    volume_generation_unref(generation);
    bool is_new = code == 0 && (!volume->has_idx || !result.is_unchanged);
    if (is_applied && is_new)
        code = index_swap(&volume->files, os_real(), made, err);
    if (is_applied && (code != 0 || !is_new))
        os_unlink(os_real(), made);
    if (code == 0) {
        print_result(volume, &result);
        if (!is_new)
            printf(": the .idx is right as it is\n");
        else if (!is_applied)
            printf(": the .idx would be %s (-apply writes it)\n",
                   volume->has_idx ? "replaced" : "made");
        else
            printf(volume->has_idx ? ": .idx replaced, the old one is %s.bak\n" : ": %s made\n",
                   old);
    }
    free(made);
    return code;
}

/* One folder or file; with -apply its folder stays locked meanwhile. */
static int fix_path(const char *path, bool *ret_has_failed, size_t *ret_count, struct error *err)
{
    struct offline_list list = {0};
    int lock = -1;
    int code = offline_flags_add(&list, path, err);
    if (code == 0 && list.count > 0 && is_applied)
        code = offline_lock(list.volumes[0].directory, &lock, err);
    for (size_t i = 0; code == 0 && i < list.count; i++) {
        struct error reason = {0};
        if (fix_volume(&list.volumes[i], &reason) != 0) {
            fprintf(stderr, "kelp fix: %s/%s: %s\n", list.volumes[i].directory,
                    list.volumes[i].files.base, reason.message);
            *ret_has_failed = true;
        }
    }
    *ret_count += list.count;
    if (lock >= 0)
        os_close(os_real(), lock);
    offline_list_fini(&list);
    return code;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    bool has_failed = false;
    size_t count = 0;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (offline_flags_check(&err) != 0)
        return command_fail(&config, &err) + 1;
    if (rest >= argc) {
        fprintf(stderr, "kelp fix: name a folder, or a .dat\n");
        return 2;
    }
    for (int i = rest; i < argc; i++)
        if (fix_path(argv[i], &has_failed, &count, &err) != 0) {
            command_fail(&config, &err);
            has_failed = true;
        }
    if (count == 0 && !has_failed) {
        fprintf(stderr, "kelp fix: no such volume there\n");
        return 2;
    }
    return has_failed && !ignores_errors;
}

const struct command command_fix = {&config, run};
