/* kelp benchmark: writes many small blobs, reads them back in random order, and tells rates and
 * latencies. Each of the -c workers has a thread and a connection of its own; what was written is listed
 * in the file that -list names, so that reads can be repeated. */
#include "cli/blob_client.h"
#include "cli/command.h"
#include "cli/latency_histogram.h"
#include "cli/process_rpc.h"
#include "common/buffer.h"
#include "common/check.h"
#include "common/os.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define FID_SIZE    40
#define PADDING_MAX 64

static const char *masters, *list_path, *options;
static struct blob_place place;
static int64_t count, workers, size_bytes, delete_percent;
static bool write_only, read_only, is_durable, is_sequential, is_json;
static bool old_write, old_read;

static const struct config_flag flags[] = {
    {"master", CONFIG_STRING, &masters, "localhost:9333", "the master"},
    {"n", CONFIG_INT, &count, "1048576", "number of blobs to write"},
    {"c", CONFIG_INT, &workers, "16", "concurrent writers or readers"},
    {"size", CONFIG_INT, &size_bytes, "1024", "bytes a blob, plus 0 to 63 at random"},
    {"collection", CONFIG_STRING, &place.collection, "benchmark", "collection to write to"},
    {"replication", CONFIG_STRING, &place.replication, "000", "000, 001, 010, ..."},
    {"disk", CONFIG_STRING, &place.disk_type, NULL, "hdd, ssd or any word"},
    {"deletePercent", CONFIG_INT, &delete_percent, NULL, "percent of the writes that are deleted again"},
    {"list", CONFIG_STRING, &list_path, "/tmp/benchmark_list.txt", "list of the file ids written"},
    {"writeOnly", CONFIG_BOOL, &write_only, NULL, "only write"},
    {"readOnly", CONFIG_BOOL, &read_only, NULL, "only read what -list names"},
    {"write", CONFIG_BOOL, &old_write, "true", "older form: false is -readOnly"},
    {"read", CONFIG_BOOL, &old_read, "true", "older form: false is -writeOnly"},
    {"readSequentially", CONFIG_BOOL, &is_sequential, NULL, "read in the order of the list"},
    {"fsync", CONFIG_BOOL, &is_durable, NULL, "each write is on disk before it is answered"},
    {"json", CONFIG_BOOL, &is_json, NULL, "print one JSON document a phase"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
    {"maxCpu", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
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

struct fid_list {
    char (*items)[FID_SIZE];
    size_t count;
};

struct worker {
    pthread_t thread;
    struct rpc_client *rpc;
    const struct fid_list *to_read; /* NULL: write */
    struct latency_histogram latencies;
    struct fid_list written;
    uint64_t failures, bytes, seed;
    struct error first_error;
};

static atomic_llong next_blob;

/* splitmix64: cheap, and good enough to choose sizes and keys. */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void note_failure(struct worker *worker, const struct error *err)
{
    if (worker->failures++ == 0)
        worker->first_error = *err;
}

static int write_one(struct worker *worker, struct blob_client *client, char *data, struct error *err)
{
    struct blob_target target;
    size_t length = (size_t)size_bytes + draw(&worker->seed) % PADDING_MAX;
    uint64_t stamp = draw(&worker->seed);
    memcpy(data, &stamp, length < sizeof(stamp) ? length : sizeof(stamp));
    int code = blob_client_assign(client, &place, 1, length, &target, err);
    if (code == 0)
        code = blob_client_put(client, target.url, target.fid, target.token,
                               is_durable ? "?fsync=true" : "", slice_of(data, length), err);
    if (code != 0)
        return code;
    worker->bytes += length;
    if (draw(&worker->seed) % 100 < (uint64_t)delete_percent)
        return blob_client_delete(client, target.url, target.fid, target.token, err);
    snprintf(worker->written.items[worker->written.count++], FID_SIZE, "%.*s", FID_SIZE - 1, target.fid);
    return 0;
}

static int read_one(struct worker *worker, struct blob_client *client, int64_t i, struct error *err)
{
    const struct fid_list *list = worker->to_read;
    size_t index = is_sequential ? (size_t)i % list->count : draw(&worker->seed) % list->count;
    struct blob_target target;
    struct http_client_response response;
    int code = blob_client_lookup_cached(client, list->items[index], &target, err);
    if (code == 0)
        code = blob_client_fetch(client, target.url, list->items[index], "", &response, err);
    if (code != 0)
        return code;
    worker->bytes += response.body_size;
    http_client_response_fini(&response);
    return 0;
}

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct blob_client client;
    struct error err = {0};
    char *data = must(calloc(1, (size_t)size_bytes + PADDING_MAX));
    if (blob_client_init(&client, worker->rpc, masters, &err) != 0) {
        note_failure(worker, &err);
    } else {
        int64_t total = worker->to_read && read_only ? (int64_t)worker->to_read->count : count, i;
        while ((i = atomic_fetch_add(&next_blob, 1)) < total) {
            int64_t start = os_monotonic_ns(os_real());
            int code = worker->to_read ? read_one(worker, &client, i, &err)
                                       : write_one(worker, &client, data, &err);
            latency_add(&worker->latencies, (uint64_t)(os_monotonic_ns(os_real()) - start) / 1000);
            if (code != 0)
                note_failure(worker, &err);
        }
    }
    blob_client_fini(&client);
    free(data);
    return NULL;
}

static void print_text(const char *what, const struct latency_histogram *h, uint64_t failures,
                       uint64_t bytes, double seconds)
{
    static const double parts[] = {0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1};
    printf("\n------------ %s benchmark ----------\n", what);
    printf("Concurrency Level:      %lld\n", (long long)workers);
    printf("Time taken for tests:   %.3f seconds\n", seconds);
    printf("Completed requests:     %llu\n", (unsigned long long)(h->count - failures));
    printf("Failed requests:        %llu\n", (unsigned long long)failures);
    printf("Total transferred:      %llu bytes\n", (unsigned long long)bytes);
    printf("Requests per second:    %.2f [#/sec]\n", (double)h->count / seconds);
    printf("Transfer rate:          %.2f [Kbytes/sec]\n", (double)bytes / 1024 / seconds);
    printf("\nConnection Times (ms)\n              min      avg        max      std\n");
    printf("Total:        %.1f      %.1f       %.1f      %.1f\n", (double)h->min_us / 1000,
           latency_mean(h) / 1000, (double)h->max_us / 1000, latency_deviation(h) / 1000);
    printf("\nPercentage of the requests served within a certain time (ms)\n");
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        printf("  %5.1f%%  %8.2f ms\n", 100 * parts[i], (double)latency_percentile(h, parts[i]) / 1000);
}

static void print_json(const char *what, const struct latency_histogram *h, uint64_t failures,
                       uint64_t bytes, double seconds)
{
    printf("{\"phase\":\"%s\",\"concurrency\":%lld,\"seconds\":%.3f,\"requests\":%llu,\"failures\":%llu,"
           "\"bytes\":%llu,\"requestsPerSecond\":%.1f,\"latencyMs\":{\"min\":%.3f,\"mean\":%.3f,"
           "\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"p999\":%.3f,\"max\":%.3f}}\n",
           what, (long long)workers, seconds, (unsigned long long)h->count,
           (unsigned long long)failures, (unsigned long long)bytes, (double)h->count / seconds,
           (double)h->min_us / 1000, latency_mean(h) / 1000, (double)latency_percentile(h, 0.5) / 1000,
           (double)latency_percentile(h, 0.9) / 1000, (double)latency_percentile(h, 0.99) / 1000,
           (double)latency_percentile(h, 0.999) / 1000, (double)h->max_us / 1000);
}

/* Runs all workers; moves what they wrote to *written where they write. 0, or 1 with any failure. */
static int run_phase(const char *what, struct rpc_client *rpc, const struct fid_list *to_read,
                     struct fid_list *written)
{
    struct worker *all = must(calloc((size_t)workers, sizeof(*all)));
    struct latency_histogram *total = must(calloc(1, sizeof(*total)));
    uint64_t failures = 0, bytes = 0;
    atomic_store(&next_blob, 0);
    int64_t start = os_monotonic_ns(os_real());
    for (int64_t i = 0; i < workers; i++) {
        all[i].rpc = rpc;
        all[i].to_read = to_read;
        all[i].seed = os_random(os_real());
        if (!to_read)
            all[i].written.items = must(calloc((size_t)count, FID_SIZE));
        CHECK(pthread_create(&all[i].thread, NULL, work, &all[i]) == 0);
    }
    for (int64_t i = 0; i < workers; i++) {
        struct worker *w = &all[i];
        pthread_join(w->thread, NULL);
        latency_merge(total, &w->latencies);
        bytes += w->bytes;
        if (w->failures > 0 && failures == 0)
            command_fail(&config, &w->first_error);
        failures += w->failures;
        if (written && w->written.count > 0)
            memcpy(written->items + written->count, w->written.items, w->written.count * FID_SIZE);
        if (written)
            written->count += w->written.count;
        free(w->written.items);
    }
    double seconds = (double)(os_monotonic_ns(os_real()) - start) / 1e9;
    (is_json ? print_json : print_text)(what, total, failures, bytes, seconds);
    free(total);
    free(all);
    return failures > 0;
}

static int save_list(const struct fid_list *list, struct error *err)
{
    struct buffer text = BUFFER_INIT;
    for (size_t i = 0; i < list->count; i++)
        buffer_printf(&text, "%s\n", list->items[i]);
    int code = os_replace_file(os_real(), list_path, text.data, text.length, err);
    buffer_fini(&text);
    return code;
}

static int load_list(struct fid_list *list, struct error *err)
{
    char *data, *rest, *line;
    size_t size;
    int code = os_read_file(os_real(), list_path, 4u << 30, &data, &size, err);
    if (code != 0)
        return error_prefix(err, "-list");
    list->items = must(calloc(size / 4 + 1, FID_SIZE));
    rest = data;
    while ((line = strsep(&rest, "\n")))
        if (*line)
            snprintf(list->items[list->count++], FID_SIZE, "%.*s", FID_SIZE - 1, line);
    free(data);
    return list->count ? 0 : error_set(err, KELP_E_INVALID, "%s lists no file id", list_path);
}

static int run_phases(struct rpc_client *rpc, struct error *err)
{
    struct fid_list list = {0};
    int code = 0, status = 0;
    if (read_only) {
        code = load_list(&list, err);
    } else {
        list.items = must(calloc((size_t)count, FID_SIZE));
        status = run_phase("Writing", rpc, NULL, &list);
        code = save_list(&list, err);
    }
    if (code == 0 && !write_only && list.count > 0)
        status |= run_phase(is_sequential ? "Reading" : "Randomly Reading", rpc, &list, NULL);
    free(list.items);
    return code == 0 ? status : command_fail(&config, err);
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct process_rpc rpc;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    read_only = read_only || !old_write;
    write_only = write_only || !old_read;
    if (count <= 0 || workers <= 0 || workers > 10000 || size_bytes <= 0 || size_bytes > 1 << 30 ||
        delete_percent < 0 || delete_percent > 100 || (read_only && write_only)) {
        fprintf(stderr, "kelp benchmark: -n, -c and -size must be positive (at most 10000 workers and "
                        "1 GiB), -deletePercent from 0 to 100, and something must be left to do\n");
        return 2;
    }
    if (process_rpc_open(&rpc, &err) != 0)
        return command_fail(&config, &err);
    status = run_phases(rpc.client, &err);
    process_rpc_close(&rpc);
    return status;
}

const struct command command_benchmark = {&config, run};
