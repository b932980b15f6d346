/* volume.vacuum.jobs, volume.vacuum.pause, volume.vacuum.resume, volume.vacuum.cancel.
 *
 * They speak to the leader's routes under /kelp/vacuum/; a master of the peer has none of them. */
#include "cli/shell_commands.h"

#include "cli/json_member.h"
#include "cli/shell_vacuum_page.h"

#include <inttypes.h>
#include <stdlib.h>

static int64_t job_id, history_count;

static const struct config_flag job_flags[] = {
    {"job", CONFIG_INT, &job_id, NULL, "the number of the job, as volume.vacuum.jobs shows it"},
};
static const struct config_flag jobs_flags[] = {
    {"history", CONFIG_INT, &history_count, "10", "show so many of the jobs that have ended"},
};

/* ---- the list ---- */

static void print_progress(struct shell *shell, struct json_object *replica)
{
    struct json_object *progress = json_member(replica, "progress");
    if (*json_text(replica, "result") || (!progress && json_number(replica, "processedBytes") == 0))
        return;
    fprintf(shell->out, "    %s: ", json_text(replica, "server"));
    if (!progress) {
        fprintf(shell->out, "%" PRIu64 " bytes\n", json_number(replica, "processedBytes"));
        return;
    }
    uint64_t total = json_number(progress, "bytesTotal");
    fprintf(shell->out,
            "%s, %" PRIu64 " of %" PRIu64 " MB (%.0f %%), %.1f MB/s, %.0f s left, %" PRIu64 " of %" PRIu64
            " records, %" PRIu64 " MB reclaimed",
            json_text(progress, "phase"), json_number(progress, "bytesDone") / 1000000,
            total / 1000000,
            total ? 100 * (double)json_number(progress, "bytesDone") / (double)total : 0,
            (double)json_number(progress, "bytesPerSecond") / 1e6,
            json_object_get_double(json_member(progress, "secondsLeft")),
            json_number(progress, "recordsDone"), json_number(progress, "recordsTotal"),
            json_number(progress, "bytesReclaimed") / 1000000);
    if (json_number(progress, "damaged") > 0)
        fprintf(shell->out, ", %" PRIu64 " damaged", json_number(progress, "damaged"));
    fputc('\n', shell->out);
}

static void print_job(struct shell *shell, struct json_object *job)
{
    bool has_ended = strcmp(json_text(job, "state"), "ended") == 0;
    fprintf(shell->out, "  job %" PRIu64 ", volume %" PRIu64 ": %s", json_number(job, "id"),
            json_number(job, "volumeId"), json_text(job, has_ended ? "result" : "state"));
    if (!has_ended && json_member(job, "paused"))
        fprintf(shell->out, ", paused");
    if (has_ended)
        fprintf(shell->out, ", %" PRIu64 " bytes in %.1f s", json_number(job, "reclaimedBytes"),
                json_object_get_double(json_member(job, "durationSeconds")));
    if (*json_text(job, "message"))
        fprintf(shell->out, ": %s", json_text(job, "message"));
    if (*json_text(job, "note"))
        fprintf(shell->out, " (%s)", json_text(job, "note"));
    fputc('\n', shell->out);
    struct json_object *replicas = json_member(job, "replicas");
    for (size_t i = 0; replicas && i < json_object_array_length(replicas); i++)
        print_progress(shell, json_object_array_get_idx(replicas, i));
}

static void print_list(struct shell *shell, struct json_object *document, const char *name, size_t limit)
{
    struct json_object *list = json_member(document, name);
    size_t count = list ? json_object_array_length(list) : 0;
    size_t first = count > limit ? count - limit : 0;
    if (count > 0)
        fprintf(shell->out, "%s:\n", name);
    for (size_t i = first; i < count; i++)
        print_job(shell, json_object_array_get_idx(list, i));
}

static int run_jobs(struct shell *shell, struct error *err)
{
    struct json_object *document = NULL;
    if (history_count < 0)
        return error_set(err, KELP_E_INVALID, "-history must not be below 0");
    int code = vacuum_page_ask(shell, "GET", "jobs", &document, err);
    if (code != 0)
        return code;
    if (shell->is_json) {
        shell_print_json(shell, document);
        return 0;
    }
    fprintf(shell->out, "automatic vacuum is %s\n",
            json_object_get_boolean(json_member(document, "enabled")) ? "on" : "off");
    print_list(shell, document, "running", SIZE_MAX);
    print_list(shell, document, "queued", SIZE_MAX);
    print_list(shell, document, "history", (size_t)history_count);
    json_object_put(document);
    return 0;
}

/* ---- one job ---- */

static int change(struct shell *shell, const char *verb, const char *done, struct error *err)
{
    char path[96];
    if (job_id <= 0)
        return error_set(err, KELP_E_INVALID, "-job: which one? volume.vacuum.jobs lists them");
    snprintf(path, sizeof(path), "%s?job=%" PRId64, verb, job_id);
    int code = vacuum_page_ask(shell, "POST", path, NULL, err);
    if (code == 0)
        fprintf(shell->out, shell->is_json ? "{\"job\":%" PRId64 ",\"is\":\"%s\"}\n" : "job %" PRId64 " is %s\n",
                job_id, done);
    return code;
}

static int run_pause(struct shell *shell, struct error *err)
{
    return change(shell, "pause", "paused", err);
}

static int run_resume(struct shell *shell, struct error *err)
{
    return change(shell, "resume", "going on", err);
}

static int run_cancel(struct shell *shell, struct error *err)
{
    return change(shell, "cancel", "cancelled", err);
}

#define JOB_COMMAND(verb, text)                                                                    \
    {                                                                                              \
        .name = "volume.vacuum." verb, .summary = text, .usage = "-job=7", .flags = job_flags,     \
        .flag_count = 1, .ignores_environment = true,                                              \
    }
static const struct config_command jobs_config = {
    .name = "volume.vacuum.jobs",
    .summary = "show the vacuums that run, wait and have ended",
    .usage = "-history=10",
    .flags = jobs_flags,
    .flag_count = 1,
    .ignores_environment = true,
};
static const struct config_command pause_config = JOB_COMMAND("pause", "hold a vacuum still");
static const struct config_command resume_config = JOB_COMMAND("resume", "let a vacuum go on");
static const struct config_command cancel_config = JOB_COMMAND("cancel", "end a vacuum");

const struct shell_command shell_vacuum_jobs = {&jobs_config, false, run_jobs};
const struct shell_command shell_vacuum_pause = {&pause_config, false, run_pause};
const struct shell_command shell_vacuum_resume = {&resume_config, false, run_resume};
const struct shell_command shell_vacuum_cancel = {&cancel_config, false, run_cancel};
