/* volume.vacuum.jobs, volume.vacuum.pause, volume.vacuum.resume, volume.vacuum.cancel.
 *
 * They speak to the leader's routes under /kelp/vacuum/; a master of the peer has none of them. */
#include "cli/shell_commands.h"

#include "common/http_client.h"

#include <inttypes.h>
#include <stdlib.h>

static int64_t job_id, history_count;

static const struct config_flag job_flags[] = {
    {"job", CONFIG_INT, &job_id, NULL, "the number of the job, as volume.vacuum.jobs shows it"},
};
static const struct config_flag jobs_flags[] = {
    {"history", CONFIG_INT, &history_count, "10", "show so many of the jobs that have ended"},
};

/* One request; on success *ret_body (may be NULL) is the parsed answer, the caller's to put. */
static int ask_master(struct shell *shell, const char *method, const char *path,
                      struct json_object **ret_body, struct error *err)
{
    char address[ADDRESS_TEXT_SIZE], url[ADDRESS_TEXT_SIZE + 128];
    struct http_client_response response = {0};
    struct http_client *http = NULL;
    address_format_http(&shell->master, address);
    snprintf(url, sizeof(url), "http://%s%s", address, path);
    struct http_client_request request = {.method = method, .url = url};
    int code = http_client_create(&http, NULL, err);
    if (code == 0)
        code = http_client_fetch(http, &request, &response, err);
    if (code == 0 && response.status / 100 != 2) {
        struct json_object *answer = json_tokener_parse(response.body), *text = NULL;
        json_object_object_get_ex(answer, "error", &text);
        code = error_set(err, response.status == 404 ? KELP_E_NOT_FOUND : KELP_E_UNKNOWN,
                         "the master answers %d%s%s", response.status, text ? ": " : "",
                         text ? json_object_get_string(text) : "");
        json_object_put(answer);
    }
    if (code == 0 && ret_body && !(*ret_body = json_tokener_parse(response.body)))
        code = error_set(err, KELP_E_CORRUPT, "the master's answer is no JSON");
    http_client_response_fini(&response);
    http_client_destroy(http);
    return code;
}

/* ---- the list ---- */

static struct json_object *member(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

static uint64_t number(struct json_object *object, const char *key)
{
    return json_object_get_uint64(member(object, key));
}

static const char *text(struct json_object *object, const char *key)
{
    const char *value = json_object_get_string(member(object, key));
    return value ? value : "";
}

static void print_progress(struct shell *shell, struct json_object *replica)
{
    struct json_object *progress = member(replica, "progress");
    if (*text(replica, "result") || (!progress && number(replica, "processedBytes") == 0))
        return;
    fprintf(shell->out, "    %s: ", text(replica, "server"));
    if (!progress) {
        fprintf(shell->out, "%" PRIu64 " bytes\n", number(replica, "processedBytes"));
        return;
    }
    uint64_t total = number(progress, "bytesTotal");
    fprintf(shell->out,
            "%s, %" PRIu64 " of %" PRIu64 " MB (%.0f %%), %.1f MB/s, %.0f s left, %" PRIu64 " of %" PRIu64
            " records, %" PRIu64 " MB reclaimed",
            text(progress, "phase"), number(progress, "bytesDone") / 1000000, total / 1000000,
            total ? 100 * (double)number(progress, "bytesDone") / (double)total : 0,
            (double)number(progress, "bytesPerSecond") / 1e6,
            json_object_get_double(member(progress, "secondsLeft")), number(progress, "recordsDone"),
            number(progress, "recordsTotal"), number(progress, "bytesReclaimed") / 1000000);
    if (number(progress, "damaged") > 0)
        fprintf(shell->out, ", %" PRIu64 " damaged", number(progress, "damaged"));
    fputc('\n', shell->out);
}

static void print_job(struct shell *shell, struct json_object *job)
{
    bool has_ended = strcmp(text(job, "state"), "ended") == 0;
    fprintf(shell->out, "  job %" PRIu64 ", volume %" PRIu64 ": %s", number(job, "id"),
            number(job, "volumeId"), has_ended ? text(job, "result") : text(job, "state"));
    if (!has_ended && member(job, "paused"))
        fprintf(shell->out, ", paused");
    if (has_ended)
        fprintf(shell->out, ", %" PRIu64 " bytes in %.1f s", number(job, "reclaimedBytes"),
                json_object_get_double(member(job, "durationSeconds")));
    if (*text(job, "message"))
        fprintf(shell->out, ": %s", text(job, "message"));
    if (*text(job, "note"))
        fprintf(shell->out, " (%s)", text(job, "note"));
    fputc('\n', shell->out);
    struct json_object *replicas = member(job, "replicas");
    for (size_t i = 0; replicas && i < json_object_array_length(replicas); i++)
        print_progress(shell, json_object_array_get_idx(replicas, i));
}

static void print_list(struct shell *shell, struct json_object *document, const char *name, size_t limit)
{
    struct json_object *list = member(document, name);
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
    int code = ask_master(shell, "GET", "/kelp/vacuum/jobs", &document, err);
    if (code != 0)
        return code;
    if (shell->is_json) {
        shell_print_json(shell, document);
        return 0;
    }
    fprintf(shell->out, "automatic vacuum is %s\n",
            json_object_get_boolean(member(document, "enabled")) ? "on" : "off");
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
    snprintf(path, sizeof(path), "/kelp/vacuum/%s?job=%" PRId64, verb, job_id);
    int code = ask_master(shell, "POST", path, NULL, err);
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
