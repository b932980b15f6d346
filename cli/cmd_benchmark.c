/* kelp benchmark: writes many small blobs, reads them back in random order, and tells rates and
 * latencies. What was written is listed in the file that -list names, so that reads can be
 * repeated. Ctrl-C ends a phase early; what was measured until then is told, and listed. */
#include "cli/benchmark.h"
#include "cli/command.h"
#include "cli/process.h"
#include "cli/process_rpc.h"
#include "common/buffer.h"
#include "common/check.h"
#include "common/os.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define CONCURRENCY_MAX 10000
#define BLOB_MAX        (1 << 30)
#define LIST_MAX        (4ull << 30)

static const char *masters, *list_path, *options_path;
static struct benchmark_options options;
static int64_t count, cpu_limit;
static bool write_only, read_only, is_json, uses_tcp;
static bool old_write, old_read;
static atomic_bool is_interrupted;

static const struct config_flag flags[] = {
    {"master", CONFIG_STRING, &masters, "localhost:9333", "the master"},
    {"n", CONFIG_INT, &count, "1048576", "number of blobs to write, and of reads"},
    {"c", CONFIG_INT, &options.concurrency, "16", "requests under way at a time"},
    {"size", CONFIG_INT, &options.size_bytes, "1024", "bytes a blob, plus 0 to 63 at random"},
    {"collection", CONFIG_STRING, &options.place.collection, "benchmark", "collection to write to"},
    {"replication", CONFIG_STRING, &options.place.replication, "000", "000, 001, 010, ..."},
    {"disk", CONFIG_STRING, &options.place.disk_type, NULL, "hdd, ssd or any word"},
    {"deletePercent", CONFIG_INT, &options.delete_percent, NULL,
     "percent of the writes that are deleted again"},
    {"list", CONFIG_STRING, &list_path, "/tmp/benchmark_list.txt", "list of the file ids written"},
    {"writeOnly", CONFIG_BOOL, &write_only, NULL, "only write"},
    {"readOnly", CONFIG_BOOL, &read_only, NULL, "only read what -list names"},
    {"write", CONFIG_BOOL, &old_write, "true", "older form: false is -readOnly"},
    {"read", CONFIG_BOOL, &old_read, "true", "older form: false is -writeOnly"},
    {"readSequentially", CONFIG_BOOL, &options.is_sequential, NULL,
     "read each blob of the list once, in its order"},
    {"fsync", CONFIG_BOOL, &options.is_durable, NULL,
     "each write is on disk before it is answered"},
    {"json", CONFIG_BOOL, &is_json, NULL, "print one JSON document a phase"},
    {"options", CONFIG_STRING, &options_path, NULL, "file with a flag per line, name=value"},
    {"maxCpu", CONFIG_INT, &cpu_limit, NULL, "threads at most; 0: one for each CPU"},
    {"useTcp", CONFIG_BOOL, &uses_tcp, NULL, "no longer there: blobs travel by HTTP"},
    {"cpuprofile", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"debug", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
};

static const struct config_command config = {
    .name = "benchmark",
    .summary = "measure writing and reading of many small blobs",
    .usage = "-master=localhost:9333 -c=16 -n=100000",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

/* ---- The list of file ids -------------------------------------------------------------------- */

static int save_list(const struct fid_list *list, struct error *err)
{
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(&text, "%s\n", list->items[i]);
    int code = os_replace_file(os_real(), list_path, text.data, text.length, err);
    buffer_fini(&text);
    return code == 0 ? 0 : error_prefix(err, "-list");
}

static int load_list(struct fid_list *list, struct error *err)
{
    char *data, *rest, *line;
    size_t size;
    int code = os_read_file(os_real(), list_path, LIST_MAX, &data, &size, err);
    if (code != 0)
        return error_prefix(err, "-list");
    list->items = must(calloc(size / 4 + 1, BENCHMARK_FID_SIZE));
    rest = data;
    while ((line = strsep(&rest, "\n"))) {
        size_t length = strcspn(line, " \t\r");
        if (length > 0 && length < BENCHMARK_FID_SIZE)
            memcpy(list->items[list->count++], line, length);
    }
    free(data);
    return list->count ? 0
                       : error_set(err, KELP_E_INVALID, "-list: %s lists no file id", list_path);
}

/* ---- Phases ---------------------------------------------------------------------------------- */

/* 0, or 1 with any failure. */
static int run_phase(struct benchmark_phase *phase)
{
    struct benchmark_result *result = must(malloc(sizeof(*result)));
    fprintf(options.progress, "\n------------ %s Benchmark ----------\n", phase->title);
    fflush(options.progress);
    benchmark_run(phase, result);
    (is_json ? benchmark_print_json : benchmark_print_text)(stdout, phase, result);
    int status = result->failures > 0;
    if (status)
        command_fail(&config, &result->first_error);
    free(result);
    return status;
}

/* The first assignment may have to wait for volumes, which is no part of what is measured; and
 * where the master is not there or has no room, this is what says so. */
static int write_phase(struct blob_client *client, struct fid_list *list, struct error *err)
{
    struct blob_target target;
    struct benchmark_phase phase = {
        .title = "Writing", .options = &options, .total = count, .written = list};
    int code = blob_place_check(&options.place, err);
    if (code == 0)
        code = blob_client_assign(client, &options.place, 1, (uint64_t)options.size_bytes, &target,
                                  err);
    if (code != 0)
        return code;
    list->items = calloc((size_t)count, BENCHMARK_FID_SIZE);
    if (!list->items)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to list %lld blobs; give a smaller -n",
                         (long long)count);
    int status = run_phase(&phase);
    code = save_list(list, err);
    return code == 0 ? status : code;
}

static int read_phase(struct blob_client *client, const struct fid_list *list)
{
    struct benchmark_volumes volumes;
    struct benchmark_phase phase = {.title = options.is_sequential ? "Reading" : "Randomly Reading",
                                    .options = &options,
                                    .total = options.is_sequential ? (int64_t)list->count : count,
                                    .to_read = list,
                                    .volumes = &volumes};
    benchmark_volumes_init(&volumes, client, list);
    int status = run_phase(&phase);
    benchmark_volumes_fini(&volumes);
    return status;
}

/* The exit status, or a negative code. */
static int run_phases(struct blob_client *client, struct error *err)
{
    struct fid_list list = {0};
    int status = read_only ? load_list(&list, err) : write_phase(client, &list, err);
    if (status >= 0 && !write_only && list.count > 0 && !atomic_load(&is_interrupted))
        status |= read_phase(client, &list);
    free(list.items);
    return status;
}

/* A master may well speak plain HTTP where the volume servers speak HTTPS: clients need no more of
 * it than gRPC, as a rule. */
static bool is_master_plain(struct blob_client *client)
{
    struct buffer url = BUFFER_INIT;
    struct http_client_response response;
    buffer_printf(&url, "https://%s/cluster/status", client->master_http);
    struct http_client_request request = {
        .method = "GET", .url = buffer_cstr(&url), .tls = options.tls};
    bool is_sealed = http_client_fetch(client->http, &request, &response, NULL) == 0;
    if (is_sealed)
        http_client_response_fini(&response);
    buffer_fini(&url);
    return !is_sealed;
}

static void on_interrupt(int number)
{
    atomic_store(&is_interrupted, true);
    signal(number, SIG_DFL); /* the second one ends it at once */
}

static bool is_usable(void)
{
    const char *reason = NULL;
    if (uses_tcp)
        reason = "-useTcp is no longer there: blobs travel by HTTP; leave it out";
    else if (count <= 0)
        reason = "-n must be 1 at least";
    else if (options.concurrency <= 0 || options.concurrency > CONCURRENCY_MAX)
        reason = "-c must be from 1 to 10000";
    else if (options.size_bytes <= 0 || options.size_bytes > BLOB_MAX)
        reason = "-size must be from 1 to 1073741824 bytes";
    else if (options.delete_percent < 0 || options.delete_percent > 100)
        reason = "-deletePercent must be from 0 to 100";
    else if (cpu_limit < 0)
        reason = "-maxCpu must be 0 or more";
    else if (read_only && write_only)
        reason = "-readOnly and -writeOnly leave nothing to do; give one of them";
    if (reason)
        fprintf(stderr, "kelp benchmark: %s\n", reason);
    return !reason;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct process_rpc rpc;
    struct blob_client client = {0};
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    read_only = read_only || !old_write;
    write_only = write_only || !old_read;
    if (!is_usable())
        return 2;
    if (process_rpc_open(&rpc, &err) != 0)
        return command_fail(&config, &err);
    process_raise_limits();
    signal(SIGINT, on_interrupt);
    int64_t cpus = sysconf(_SC_NPROCESSORS_ONLN);
    options.threads = cpu_limit > 0 && cpu_limit < cpus ? cpu_limit : cpus;
    options.progress = is_json ? stderr : stdout;
    options.is_interrupted = &is_interrupted;
    status = blob_client_init(&client, rpc.client, masters, &err);
    if (status == 0) {
        options.master = client.master_http;
        options.tls = security_client_tls(client.security.security);
        options.is_master_plain = options.tls && is_master_plain(&client);
        status = run_phases(&client, &err);
    }
    if (status < 0)
        status = command_fail(&config, &err);
    blob_client_fini(&client);
    process_rpc_close(&rpc);
    return status;
}

const struct command command_benchmark = {&config, run};
