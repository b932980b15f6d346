/* kelp check: verifies every row and every record of volumes, several at a time, and changes
 * nothing.
 *
 * The files are opened for reading only, so a server may be at work on them. What it appends
 * meanwhile is not judged; and as it may swap the files of a volume between our two opens, damage
 * in a folder that is in use, or in files that change, counts only when another look from the
 * start finds it again. */
#include "cli/command.h"
#include "cli/check_report.h"
#include "cli/offline_flags.h"
#include "common/check.h"
#include "common/worker_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define LOOKS_MAX   5 /* at a volume that changes while it is looked at */

static const char *options;
static int64_t workers, limit;
static bool is_index_only, is_json, is_quiet;

static const struct config_flag flags[] = {
    OFFLINE_DIRECTORY_ROW("folder with the volumes; others may follow the flags"),
    OFFLINE_MANY_ROWS,
    {"index", CONFIG_BOOL, &is_index_only, NULL, "look at the .idx only, not at the records"},
    {"workers", CONFIG_INT, &workers, NULL,
     "volumes that are checked at a time; 0: one a core, at most 4"},
    {"limit", CONFIG_INT, &limit, "20", "problems that are listed for a volume; all are counted"},
    {"json", CONFIG_BOOL, &is_json, NULL, "one JSON document instead of lines"},
    {"quiet", CONFIG_BOOL, &is_quiet, NULL,
     "no progress, and no line for a volume without problems"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "check",
    .summary = "verify every record and index row of volumes",
    .usage = "-dir=/data [-volumeId=3] [-json] [folder or .dat ...]",
    .description =
        "Reads whole volumes: each index row against its record, each record's header, parts and\n"
        "checksum, and that the records follow each other without holes. Changes nothing. A server "
        "may\n"
        "have the volumes open: what it writes meanwhile is left out.\n\n"
        "Exit status: 0 no damage, 1 damage found, 2 something could not be checked (or wrong "
        "usage).\n"
        "What a crash left at the end of a volume is reported and is no damage: the next start of "
        "a\n"
        "server settles it.",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};

struct check_task {
    struct worker_task task;
    struct check_report *report;
    const struct offline_volume *volume;
    struct check_progress *progress;
    uint64_t reported; /* of this volume, in bytes */
};

/* What all tasks share. */
struct check_progress {
    pthread_mutex_t lock; /* all below, and standard output */
    pthread_cond_t ended;
    size_t left;
    uint64_t done_bytes, total_bytes;
    int64_t started_ns, shown_ns;
    bool is_shown; /* standard error is a terminal */
};

static void show_progress(struct check_progress *progress, bool is_end)
{
    int64_t now = os_monotonic_ns(os_real());
    if (!progress->is_shown || (!is_end && now - progress->shown_ns < 200000000))
        return;
    progress->shown_ns = now;
    double seconds = (double)(now - progress->started_ns) / 1e9;
    double share =
        progress->total_bytes ? (double)progress->done_bytes / (double)progress->total_bytes : 1;
    if (is_end)
        fprintf(stderr, "\r\033[K");
    else
        fprintf(stderr, "\r\033[K%3.0f %%  %s of %s, %s/s, %zu volumes to go", share * 100,
                offline_bytes(progress->done_bytes), offline_bytes(progress->total_bytes),
                offline_bytes(
                    (uint64_t)((double)progress->done_bytes / (seconds > 0.1 ? seconds : 0.1))),
                progress->left);
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    struct check_task *task = ctx;
    pthread_mutex_lock(&task->progress->lock);
    if (done > task->reported) { /* a second look begins at 0 again */
        task->progress->done_bytes += done - task->reported;
        task->reported = done;
    }
    show_progress(task->progress, false);
    pthread_mutex_unlock(&task->progress->lock);
    return 0;
}

static int on_problem(void *ctx, const struct volume_problem *problem)
{
    struct check_task *task = ctx;
    check_report_add(task->report, problem);
    return 0;
}

static int look(struct check_task *task, bool is_in_use, struct error *err)
{
    struct volume_generation *generation;
    struct check_report *report = task->report;
    const struct volume_verify_options verify = {
        .is_index_only = is_index_only,
        .is_in_use = is_in_use,
        .on_problem = on_problem,
        .on_progress = on_progress,
        .ctx = task,
    };
    check_report_begin(report);
    if (!task->volume->has_idx)
        return error_set(err, KELP_E_NOT_FOUND, "it has no .idx: kelp fix -apply makes one");
    int code = offline_open(task->volume, true, &generation, err);
    if (code != 0)
        return code;
    report->super_block = generation->super_block;
    needle_index_stat(generation->index, &report->index);
    code = volume_verify(generation, &verify, &report->result, err);
    volume_generation_unref(generation);
    return code;
}

/* Size and time of change of .dat and .idx, by their names; zero for what is not there. */
static void look_at_files(const struct offline_volume *volume, struct os_stat ret[2])
{
    static const enum volume_file files[2] = {VOLUME_FILE_DAT, VOLUME_FILE_IDX};
    memset(ret, 0, 2 * sizeof(*ret));
    for (size_t i = 0; i < 2; i++) {
        struct os_stat st;
        if (os_stat(os_real(), volume_files_path(&volume->files, files[i]), &st) < 0)
            continue;
        ret[i].size = st.size;
        ret[i].mtime_ns = st.mtime_ns;
    }
}

static void run_task(struct worker_task *base)
{
    struct check_task *task = (struct check_task *)base;
    struct check_progress *progress = task->progress;
    struct check_report *report = task->report;
    struct os_stat before[2], after[2];
    for (unsigned looks = 0; looks < LOOKS_MAX; looks++) {
        look_at_files(task->volume, before);
        report->code = look(task, report->is_in_use, &report->err);
        look_at_files(task->volume, after);
        bool is_good =
            report->code == 0 ? report->result.damage_count == 0 : report->code != KELP_E_CORRUPT;
        bool is_quiet_volume = memcmp(before, after, sizeof(before)) == 0;
        if (is_good || (is_quiet_volume && (looks > 0 || !report->is_in_use)))
            break;
    }
    pthread_mutex_lock(&progress->lock);
    show_progress(progress, true);
    if (!is_json)
        check_report_print(report, stdout, is_quiet);
    fflush(stdout);
    if (--progress->left == 0)
        pthread_cond_signal(&progress->ended);
    pthread_mutex_unlock(&progress->lock);
}

static uint64_t bytes_of(const struct offline_volume *volume)
{
    struct os_stat st;
    uint64_t bytes = 0;
    if (!is_index_only &&
        os_stat(os_real(), volume_files_path(&volume->files, VOLUME_FILE_DAT), &st) >= 0)
        bytes += st.size;
    if (os_stat(os_real(), volume_files_path(&volume->files, VOLUME_FILE_IDX), &st) >= 0)
        bytes += st.size;
    return bytes;
}

/* Volumes whose data lies elsewhere are named and left out. */
static bool is_here(const struct offline_volume *volume, struct check_report *report)
{
    if (volume->has_dat)
        return true;
    if (volume->has_info && (volume->info.file_count > 0 || volume->info.has_ec)) {
        report->skipped = volume->info.has_ec ? "its data is in erasure-coded shards"
                                              : "its data is in remote storage";
    } else {
        report->code = error_set(&report->err, KELP_E_NOT_FOUND,
                                 "it has an .idx and no .dat: fetch the volume from a replica");
    }
    if (!is_json)
        check_report_print(report, stdout, is_quiet);
    return false;
}

static int check_all(const struct offline_list *list, struct check_report *reports,
                     struct error *err)
{
    struct worker_pool *pool;
    struct check_progress progress = {
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
        .started_ns = os_monotonic_ns(os_real()),
        .is_shown = !is_quiet && isatty(STDERR_FILENO),
    };
    int code = worker_pool_create(&pool, "check", (unsigned)workers, list->count + 1, err);
    if (code != 0)
        return code;
    struct check_task *tasks = must(calloc(list->count + 1, sizeof(*tasks)));
    for (size_t i = 0; i < list->count; i++)
        progress.total_bytes += bytes_of(&list->volumes[i]);
    pthread_mutex_lock(&progress.lock);
    for (size_t i = 0; i < list->count; i++) {
        if (!is_here(&list->volumes[i], &reports[i]))
            continue;
        reports[i].is_in_use = offline_is_in_use(list->volumes[i].directory);
        tasks[i] = (struct check_task){.task = {.run = run_task},
                                       .report = &reports[i],
                                       .volume = &list->volumes[i],
                                       .progress = &progress};
        progress.left++;
        CHECK(worker_pool_submit(pool, &tasks[i].task) == 0);
    }
    while (progress.left > 0)
        pthread_cond_wait(&progress.ended, &progress.lock);
    pthread_mutex_unlock(&progress.lock);
    worker_pool_destroy(pool);
    free(tasks);
    return 0;
}

static int collect(struct offline_list *list, int argc, char **argv, int rest, struct error *err)
{
    if (rest == argc)
        return offline_flags_add(list, offline_flags.directory, err);
    int code = 0;
    for (int i = rest; code == 0 && i < argc; i++)
        code = offline_flags_add(list, argv[i], err);
    return code;
}

static int usage(const struct error *err)
{
    return command_fail(&config, err) + 1;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct offline_list list = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (workers == 0)
        workers = sysconf(_SC_NPROCESSORS_ONLN) < 4 ? sysconf(_SC_NPROCESSORS_ONLN) : 4;
    int code = offline_flags_check(&err);
    if (code == 0 && (workers < 1 || workers > WORKERS_MAX || limit < 0))
        code = error_set(&err, KELP_E_INVALID, "-workers goes from 1 to %d, -limit from 0 on",
                         WORKERS_MAX);
    if (code == 0)
        code = collect(&list, argc, argv, rest, &err);
    if (code == 0 && list.count == 0 && (offline_flags.volume_id > 0 || *offline_flags.collection))
        code = error_set(&err, KELP_E_NOT_FOUND, "no such volume there");
    if (code != 0) {
        offline_list_fini(&list);
        return usage(&err);
    }
    struct check_report *reports = must(calloc(list.count + 1, sizeof(*reports)));
    for (size_t i = 0; i < list.count; i++)
        check_report_init(&reports[i], &list.volumes[i], (size_t)limit);
    code = check_all(&list, reports, &err);
    if (code == 0)
        status = check_reports_end(reports, list.count, is_json, stdout);
    else
        status = usage(&err);
    for (size_t i = 0; i < list.count; i++)
        check_report_fini(&reports[i]);
    free(reports);
    offline_list_fini(&list);
    return status;
}

const struct command command_check = {&config, run};
