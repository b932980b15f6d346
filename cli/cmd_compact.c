/* kelp compact: vacuums one volume without a server. */
#include "cli/command.h"
#include "cli/offline_flags.h"
#include "volume/storage/volume_vacuum.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *method, *options;
static int64_t preallocate_mb;
static bool is_applied;

static const struct config_flag flags[] = {
    OFFLINE_ONE_ROWS,
    {"method", CONFIG_STRING, &method, "data",
     "data or index, as the peer has it; both do the same here, see below"},
    {"preallocateMB", CONFIG_INT, &preallocate_mb, NULL, "disk space to reserve for the new .dat"},
    {"apply", CONFIG_BOOL, &is_applied, NULL,
     "do it; without it only what would be gained is said"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "compact",
    .summary = "vacuum one volume without a server",
    .usage = "-dir=/data -volumeId=3 -apply",
    .description = "Copies what is live into a new .dat and .idx, checks the copy, and puts it in "
                   "the place of the\n"
                   "old files, in such an order that a stop at any moment leaves the volume whole. "
                   "A record that\n"
                   "fails its check is carried over as it is. Nothing is left to be renamed by "
                   "hand; without -apply\n"
                   "nothing is changed at all.\n\n"
                   "Stop the volume server first. Opening the volume repairs an index that does "
                   "not fit the data,\n"
                   "which is what the peer has -method=data for.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

static void print_plan(const struct offline_volume *volume, const struct volume_stat *stat)
{
    printf("%s/%s: %" PRIu64
           " live needles in %s of a .dat of %s: %s to be gained (garbage ratio %.2f), "
           "%s of free space needed\n",
           volume->directory, volume->files.base, stat->live_count,
           offline_bytes(stat->live_record_bytes), offline_bytes(stat->dat_bytes),
           offline_bytes(stat->dat_bytes > stat->live_record_bytes
                             ? stat->dat_bytes - stat->live_record_bytes
                             : 0),
           stat->garbage_ratio, offline_bytes(volume_vacuum_needs(stat)));
}

/* From the files as they are, changing nothing. */
static int plan(const struct offline_volume *volume, struct error *err)
{
    struct volume_generation *generation;
    struct needle_index_stat index;
    int code = offline_open(volume, true, &generation, err);
    if (code != 0)
        return code;
    needle_index_stat(generation->index, &index);
    struct volume_stat stat = {
        .dat_bytes = volume_generation_end(generation),
        .idx_bytes = index_file_end(&generation->idx),
        .file_count = index.file_count,
        .file_bytes = index.file_bytes,
        .deletion_count = index.deletion_count,
        .deletion_bytes = index.deletion_bytes,
        .live_count = index.live_count,
        .live_record_bytes = index.live_record_bytes,
        .version = generation->version,
        .offset_bytes = generation->offset_bytes,
    };
    if (index.file_bytes > 0)
        stat.garbage_ratio = (double)index.deletion_bytes / (double)index.file_bytes;
    volume_generation_unref(generation);
    print_plan(volume, &stat);
    printf("nothing was changed; -apply does it\n");
    return 0;
}

static int show_progress(void *ctx, const struct vacuum_progress *progress)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K%s of %s read, %s copied", offline_bytes(progress->source_offset),
                offline_bytes(progress->bytes_total), offline_bytes(progress->bytes_copied));
    return 0;
}

static void print_damage(struct volume *volume)
{
    struct vacuum_damage *damages = calloc(VACUUM_DAMAGE_MAX, sizeof(*damages));
    size_t count = damages ? volume_vacuum_damaged(volume, damages, VACUUM_DAMAGE_MAX) : 0;
    for (size_t i = 0; i < count && i < VACUUM_DAMAGE_MAX; i++)
        fprintf(stderr,
                "kelp compact: needle %" PRIx64 " at %" PRIu64 " is damaged and was carried over: "
                "%s; fetch it from a replica\n",
                damages[i].key, damages[i].offset, damages[i].reason);
    if (count > VACUUM_DAMAGE_MAX)
        fprintf(stderr, "kelp compact: and %zu more\n", count - VACUUM_DAMAGE_MAX);
    free(damages);
}

static int compact(struct volume *volume, const struct offline_volume *offline, struct error *err)
{
    struct volume_stat before, after;
    const struct vacuum_options vacuum = {
        .preallocate = (uint64_t)preallocate_mb << 20,
        .on_progress = show_progress,
    };
    volume_stat(volume, &before);
    print_plan(offline, &before);
    int code = volume_vacuum_compact(volume, &vacuum, err);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    if (code == 0)
        code = volume_vacuum_commit(volume, NULL, err);
    if (code != 0)
        return code;
    volume_stat(volume, &after);
    print_damage(volume);
    printf("%s/%s: %s before, %s after\n", offline->directory, offline->files.base,
           offline_bytes(before.dat_bytes), offline_bytes(after.dat_bytes));
    return 0;
}

static int apply(const struct offline_volume *offline, struct error *err)
{
    struct volume *volume;
    char *note = NULL;
    int lock;
    const struct volume_place place = {
        .os = os_real(),
        .data_dir = offline->directory,
        .index_dir = offline_flags.index_directory,
        .collection = offline->collection,
        .id = offline->id,
    };
    int code = offline_lock(offline->directory, &lock, err);
    if (code != 0)
        return code;
    code = volume_open(&volume, &place, &note, err);
    if (code == 0) {
        if (note)
            printf("%s/%s: %s\n", offline->directory, offline->files.base, note);
        code = compact(volume, offline, err);
        volume_close(volume);
    }
    free(note);
    os_close(os_real(), lock);
    return code;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct offline_list list = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    int code = 0;
    if (strcmp(method, "data") != 0 && strcmp(method, "index") != 0)
        code = error_set(&err, KELP_E_INVALID, "-method is data or index, not \"%s\"", method);
    if (code == 0 && (preallocate_mb < 0 || preallocate_mb > 8 << 20))
        code = error_set(&err, KELP_E_INVALID, "-preallocateMB goes from 0 to %d", 8 << 20);
    if (code == 0)
        code = offline_flags_find_one(&list, &err);
    if (code != 0) {
        offline_list_fini(&list);
        return command_fail(&config, &err) + 1;
    }
    code = is_applied ? apply(&list.volumes[0], &err) : plan(&list.volumes[0], &err);
    offline_list_fini(&list);
    return code != 0 ? command_fail(&config, &err) : 0;
}

const struct command command_compact = {&config, run};
