/* The HTTP data path alone, without master and gRPC, to see what a read or a write of a blob
 * costs:
 *
 *     data_port_bench directory [port [loops [volumes]]]
 *     wrk -t2 -c64 -d5 -s get.lua http://127.0.0.1:8080/
 *
 * Serves the volumes 1 to `volumes` (made if they are not there), placement 000. Ends on a
 * signal and says what it cost. */
#include "common/check.h"
#include "volume/volume_http.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>

static void make_volumes(struct store *store, unsigned count)
{
    struct error err;
    for (uint32_t id = 1; id <= count; id++) {
        struct store_allocate allocate = {.id = id, .collection = "", .disk_type = ""};
        struct volume *volume = store_acquire(store, id);
        if (volume) {
            store_release(store, volume);
        } else if (store_allocate_volume(store, &allocate, &err) != 0) {
            fprintf(stderr, "data_port_bench: %s\n", err.message);
            exit(1);
        }
    }
}

/* Stands for the master: every volume up to the last is here. */
struct table {
    const char *own_url;
    unsigned volumes;
};

static void ask_table(void *ctx, uint32_t volume_id, struct volume_lookup_question *question)
{
    const struct table *table = ctx;
    bool is_here = volume_id >= 1 && volume_id <= table->volumes;
    struct volume_locations *locations = volume_locations_create(is_here);
    if (is_here) {
        locations->items[0].url = must(strdup(table->own_url));
        locations->items[0].public_url = must(strdup(table->own_url));
    }
    volume_lookup_answer(question, locations, NULL);
}

static void fail(const struct error *err)
{
    fprintf(stderr, "data_port_bench: %s\n", err->message);
    exit(1);
}

struct served {
    struct store *store;
    struct loop *loops[64];
    unsigned loop_count;
    struct metrics *metrics;
    struct table table;
    char own_url[32];
    struct volume_lookup *lookup;
    struct volume_http *http;
    struct http_server *server;
};

static void start(struct served *served, const char *directory, uint16_t port)
{
    struct error err;
    struct store_location_config location = {
        .directory = directory, .max_volumes = served->table.volumes, .disk_type = ""};
    struct store_config store_config = {
        .os = os_real(), .locations = &location, .location_count = 1, .offset_bytes = 5};
    if (store_open(&served->store, &store_config, &err) != 0)
        fail(&err);
    make_volumes(served->store, served->table.volumes);
    for (unsigned i = 0; i < served->loop_count; i++)
        CHECK(loop_create(&served->loops[i], "http", &err) == 0);
    served->metrics = metrics_create();
    served->table.own_url = served->own_url;
    struct volume_lookup_source source = {ask_table, &served->table};
    struct volume_http_config config = {.store = served->store,
                                        .loops = served->loops,
                                        .loop_count = served->loop_count,
                                        .own_url = served->own_url,
                                        .server_text = "SeaweedFS Volume 8000GB 4.48",
                                        .version_text = "8000GB 4.48 bench",
                                        .file_size_limit_bytes = 256u << 20,
                                        .metrics = served->metrics};
    if (volume_lookup_create(&served->lookup, &source, &err) != 0)
        fail(&err);
    config.lookup = served->lookup;
    if (volume_http_create(&served->http, &config, &err) != 0)
        fail(&err);
    struct http_server_config server_config = {.bind_address = "127.0.0.1",
                                               .port = port,
                                               .loops = served->loops,
                                               .loop_count = served->loop_count,
                                               .handler = volume_http_handler(served->http),
                                               .body_limit_bytes =
                                                   volume_http_body_limit(served->http)};
    if (http_server_create(&served->server, &server_config, &err) != 0)
        fail(&err);
    snprintf(served->own_url, sizeof(served->own_url), "127.0.0.1:%u",
             http_server_port(served->server));
}

static void stop(struct served *served)
{
    http_server_destroy(served->server, 1000);
    volume_http_destroy(served->http);
    for (unsigned i = 0; i < served->loop_count; i++)
        loop_destroy(served->loops[i]);
    volume_lookup_destroy(served->lookup);
    store_close(served->store);
    metrics_destroy(served->metrics);
}

static void report(const struct served *served)
{
    struct http_server_stats stats;
    struct rusage usage;
    http_server_stats(served->server, &stats);
    getrusage(RUSAGE_SELF, &usage);
    double cpu_us = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e6 +
                    (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    printf("%llu requests, %.2f us of CPU each\n", (unsigned long long)stats.requests,
           stats.requests ? cpu_us / (double)stats.requests : 0);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: data_port_bench directory [port [loops [volumes]]]\n");
        return 2;
    }
    static struct served served;
    served.loop_count = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
    served.table.volumes = argc > 4 ? (unsigned)atoi(argv[4]) : 7;
    if (served.loop_count < 1 || served.loop_count > 64)
        served.loop_count = 1;
    sigset_t signals;
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    start(&served, argv[1], argc > 2 ? (uint16_t)atoi(argv[2]) : 0);
    printf("serving volumes 1 to %u on %s\n", served.table.volumes, served.own_url);
    fflush(stdout);
    int signal_number;
    sigwait(&signals, &signal_number);
    report(&served);
    stop(&served);
    return 0;
}
