/* volume.vacuum, volume.vacuum.disable, volume.vacuum.enable.
 *
 * VacuumVolume answers when all is done; a thread waits for it, while this one follows the master's list
 * of jobs (/kelp/vacuum/jobs) and shows how far they are. At the end each job that ran for us is told in
 * one line. A master of the peer has no such list: then only the end is told. */
#include "cli/shell_commands.h"

#include "cli/flag_values.h"
#include "cli/json_member.h"
#include "cli/shell_vacuum_page.h"
#include "common/check.h"
#include "proto/master.pb-c.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define POLL_MS        200
#define IDS_MAX        1000
#define VACUUM_TIMEOUT 0 /* as long as it takes */

static const char *collection, *volume_ids;
static double garbage_threshold;

static const struct config_flag flags[] = {
    {"garbageThreshold", CONFIG_FLOAT, &garbage_threshold, "0.3",
     "vacuum volumes whose garbage is at least this part of them; 0: all"},
    {"collection", CONFIG_STRING, &collection, NULL, "only this collection"},
    {"volumeId", CONFIG_STRING, &volume_ids, NULL, "only these volumes, comma separated"},
};

/* ---- the jobs of the master ---- */

/* NULL where the master has no such list. The caller puts it. */
static struct json_object *read_jobs(struct shell *shell)
{
    struct json_object *document = NULL;
    return vacuum_page_ask(shell, "GET", "jobs", &document, NULL) == 0 ? document : NULL;
}

/* The highest job id so far, so that older jobs are left out afterwards. */
static uint64_t last_job(struct json_object *document)
{
    static const char *const lists[] = {"running", "queued", "history"};
    uint64_t last = 0;
    for (size_t l = 0; l < 3; l++) {
        struct json_object *list = json_member(document, lists[l]);
        for (size_t i = 0; list && i < json_object_array_length(list); i++) {
            uint64_t id = json_number(json_object_array_get_idx(list, i), "id");
            if (id > last)
                last = id;
        }
    }
    return last;
}

static void show_progress(struct json_object *document)
{
    struct json_object *running = json_member(document, "running");
    size_t count = running ? json_object_array_length(running) : 0;
    struct json_object *queued = json_member(document, "queued");
    fprintf(stderr, "\r\033[K");
    for (size_t i = 0; i < count && i < 3; i++) {
        struct json_object *job = json_object_array_get_idx(running, i);
        struct json_object *replicas = json_member(job, "replicas");
        uint64_t done = 0, total = 0;
        for (size_t r = 0; replicas && r < json_object_array_length(replicas); r++) {
            struct json_object *replica = json_object_array_get_idx(replicas, r);
            done += json_number(replica, "processedBytes");
            total += json_number(replica, "sizeBefore");
        }
        fprintf(stderr, "%svolume %" PRIu64 " %s", i ? ", " : "", json_number(job, "volumeId"),
                json_text(job, "state"));
        if (done > 0 && total > 0)
            fprintf(stderr, " %.0f %%", fmin(100, 100 * (double)done / (double)total));
    }
    if (queued && json_object_array_length(queued) > 0)
        fprintf(stderr, " (%zu more wait)", json_object_array_length(queued));
    fflush(stderr);
}

static void print_replica(struct shell *shell, struct json_object *job, struct json_object *replica)
{
    double ratio = json_object_get_double(json_member(replica, "garbageRatio"));
    const char *result = json_text(replica, "result");
    fprintf(shell->out, "volume %" PRIu64 " on %s: garbage %.1f %%, ", json_number(job, "volumeId"),
            json_text(replica, "server"), 100 * ratio);
    if (strcmp(result, "done") == 0)
        fprintf(shell->out, "%" PRIu64 " -> %" PRIu64 " bytes\n",
                json_number(replica, "sizeBefore"), json_number(replica, "sizeAfter"));
    else
        fprintf(shell->out, "%s\n", *result ? result : "left as it is");
}

/* Prints the jobs that ran since; returns how many failed. */
static int print_jobs(struct shell *shell, struct json_object *document, uint64_t after)
{
    struct json_object *history = json_member(document, "history");
    int failures = 0;
    size_t told = 0;
    for (size_t i = 0; history && i < json_object_array_length(history); i++) {
        struct json_object *job = json_object_array_get_idx(history, i);
        if (json_number(job, "id") <= after)
            continue;
        bool has_failed = strcmp(json_text(job, "result"), "failed") == 0;
        failures += has_failed;
        told++;
        if (shell->is_json) {
            fprintf(shell->out, "%s\n",
                    json_object_to_json_string_ext(job, JSON_C_TO_STRING_PLAIN));
            continue;
        }
        struct json_object *replicas = json_member(job, "replicas");
        for (size_t r = 0; replicas && r < json_object_array_length(replicas); r++)
            print_replica(shell, job, json_object_array_get_idx(replicas, r));
        if (has_failed)
            fprintf(shell->out, "volume %" PRIu64 " failed: %s\n", json_number(job, "volumeId"),
                    json_text(job, "message"));
    }
    if (told == 0 && !shell->is_json)
        fprintf(shell->out, "no volume has that much garbage\n");
    return failures;
}

/* ---- the call ---- */

struct vacuum_call {
    struct shell *shell;
    uint32_t ids[IDS_MAX];
    size_t id_count; /* 0: all that qualify */
    atomic_bool is_done;
    int code;
    struct error err;
};

static void *call_vacuum(void *arg)
{
    struct vacuum_call *call = arg;
    size_t calls = call->id_count ? call->id_count : 1;
    for (size_t i = 0; call->code == 0 && i < calls; i++) {
        MasterPb__VacuumVolumeRequest request = MASTER_PB__VACUUM_VOLUME_REQUEST__INIT;
        request.garbage_threshold = (float)garbage_threshold;
        request.volume_id = call->id_count ? call->ids[i] : 0;
        request.collection = (char *)(uintptr_t)collection;
        call->code = shell_call_master(call->shell, "VacuumVolume", &request.base,
                                       &master_pb__vacuum_volume_response__descriptor, VACUUM_TIMEOUT,
                                       NULL, &call->err);
    }
    atomic_store(&call->is_done, true);
    return NULL;
}

static int parse_ids(struct vacuum_call *call, struct error *err)
{
    struct flag_list list;
    if (!*volume_ids)
        return 0;
    flag_list_init(&list, volume_ids);
    int code = list.count > IDS_MAX ? error_set(err, KELP_E_LIMIT, "-volumeId: at most %d", IDS_MAX) : 0;
    for (size_t i = 0; code == 0 && i < list.count; i++) {
        char *end;
        unsigned long id = strtoul(list.items[i], &end, 10);
        if (end == list.items[i] || *end != '\0' || id == 0 || id > UINT32_MAX)
            code = error_set(err, KELP_E_INVALID, "-volumeId: \"%s\" is no volume", list.items[i]);
        else
            call->ids[call->id_count++] = (uint32_t)id;
    }
    flag_list_fini(&list);
    return code;
}

static void follow(struct vacuum_call *call)
{
    bool shows = isatty(STDERR_FILENO);
    while (!atomic_load(&call->is_done)) {
        usleep(POLL_MS * 1000);
        struct json_object *document = shows ? read_jobs(call->shell) : NULL;
        if (document)
            show_progress(document);
        json_object_put(document);
    }
    if (shows)
        fprintf(stderr, "\r\033[K");
}

static int run_vacuum(struct shell *shell, struct error *err)
{
    if (garbage_threshold < 0 || garbage_threshold > 1)
        return error_set(err, KELP_E_INVALID, "-garbageThreshold must be from 0 to 1");
    struct vacuum_call *call = must(calloc(1, sizeof(*call)));
    pthread_t thread;
    call->shell = shell;
    int code = parse_ids(call, err);
    if (code != 0)
        goto out;
    struct json_object *before = read_jobs(shell);
    CHECK(pthread_create(&thread, NULL, call_vacuum, call) == 0);
    follow(call);
    pthread_join(thread, NULL);
    code = call->code;
    if (code != 0) {
        error_set(err, code, "%s", call->err.message);
    } else if (before) {
        struct json_object *after = read_jobs(shell);
        int failures = after ? print_jobs(shell, after, last_job(before)) : 0;
        json_object_put(after);
        if (failures > 0)
            code = error_set(err, KELP_E_UNKNOWN, "%d volumes could not be vacuumed", failures);
    }
    json_object_put(before);
out:
    free(call);
    return code;
}

/* ---- the switch ---- */

static void print_switch(struct shell *shell, bool is_on)
{
    fprintf(shell->out, shell->is_json ? "{\"automaticVacuum\":%s}\n" : "automatic vacuum is %s\n",
            shell->is_json ? (is_on ? "true" : "false") : (is_on ? "on" : "off"));
}

static int run_disable(struct shell *shell, struct error *err)
{
    MasterPb__DisableVacuumRequest request = MASTER_PB__DISABLE_VACUUM_REQUEST__INIT;
    int code = shell_call_master(shell, "DisableVacuum", &request.base,
                                 &master_pb__disable_vacuum_response__descriptor, SHELL_TIMEOUT_MS, NULL,
                                 err);
    if (code == 0)
        print_switch(shell, false);
    return code;
}

static int run_enable(struct shell *shell, struct error *err)
{
    MasterPb__EnableVacuumRequest request = MASTER_PB__ENABLE_VACUUM_REQUEST__INIT;
    int code = shell_call_master(shell, "EnableVacuum", &request.base,
                                 &master_pb__enable_vacuum_response__descriptor, SHELL_TIMEOUT_MS, NULL,
                                 err);
    if (code == 0)
        print_switch(shell, true);
    return code;
}

static const struct config_command vacuum_config = {
    .name = "volume.vacuum",
    .summary = "give back the space of deleted blobs",
    .usage = "-garbageThreshold=0.3 -volumeId=3",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
    .ignores_environment = true,
};
static const struct config_command disable_config = {
    .name = "volume.vacuum.disable",
    .summary = "stop the automatic vacuum; by hand goes on",
    .usage = "",
    .ignores_environment = true,
};
static const struct config_command enable_config = {
    .name = "volume.vacuum.enable",
    .summary = "start the automatic vacuum again",
    .usage = "",
    .ignores_environment = true,
};

const struct shell_command shell_volume_vacuum = {&vacuum_config, true, run_vacuum};
const struct shell_command shell_vacuum_disable = {&disable_config, true, run_disable};
const struct shell_command shell_vacuum_enable = {&enable_config, true, run_enable};
