/* Measuring a cluster: phases of many small requests by a few threads. Internal to `kelp
 * benchmark`.
 *
 * A phase is shared by its threads; each runs an event loop with its share of the requests that are
 * under way at a time (benchmark_worker.c). The main thread waits and tells how far it is. */
#pragma once

#include "cli/blob_client.h"
#include "cli/latency_histogram.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define BENCHMARK_FID_SIZE    40
#define BENCHMARK_PADDING_MAX 64

struct benchmark_options {
    const char *master;   /* host:port of its HTTP */
    bool is_master_plain; /* it speaks no TLS, whatever the volume servers do */
    struct blob_place place;
    int64_t concurrency, threads, size_bytes, delete_percent;
    bool is_durable, is_sequential;
    const struct http_client_tls *tls;
    FILE *progress;
    const atomic_bool *is_interrupted;
};

struct fid_list {
    char (*items)[BENCHMARK_FID_SIZE];
    size_t count;
};

struct benchmark_volume {
    uint32_t id;
    struct blob_replicas replicas; /* none: `err` is why */
    struct error err;
};

struct benchmark_volumes {
    struct benchmark_volume *items; /* by id */
    size_t count;
};

struct benchmark_phase {
    const char *title;
    const struct benchmark_options *options;
    int64_t total;
    const struct fid_list *to_read;          /* NULL: write */
    const struct benchmark_volumes *volumes; /* of what is read */
    struct fid_list *written;                /* has room for `total`; its count is set at the end */

    /* What the threads share. */
    atomic_llong next;
    atomic_size_t written_count;
    atomic_ullong completed, bytes, failures_in_a_row;
};

struct benchmark_result {
    struct latency_histogram latencies; /* of what has not failed */
    uint64_t completed, failures, bytes, deleted;
    double seconds;
    bool has_given_up;        /* nothing but failures for a long time */
    struct error first_error; /* with failures */
};

struct benchmark_worker { /* one thread */
    struct benchmark_phase *phase;
    int64_t slot_count;
    struct benchmark_result result; /* all but seconds */
    pthread_t thread;
};
/* A thread's body; arg is its struct benchmark_worker. */
void *benchmark_work(void *arg);
/* So many failures in a row, and nothing else is to be expected. */
bool benchmark_has_given_up(const struct benchmark_phase *phase);

/* Blocks until it is over, or interrupted. */
void benchmark_run(struct benchmark_phase *phase, struct benchmark_result *ret);

/* Where the volumes of `list` are, as the master tells. */
void benchmark_volumes_init(struct benchmark_volumes *volumes, struct blob_client *client,
                            const struct fid_list *list);
const struct benchmark_volume *benchmark_volumes_find(const struct benchmark_volumes *volumes,
                                                      const char *fid);
void benchmark_volumes_fini(struct benchmark_volumes *volumes);

void benchmark_print_text(FILE *out, const struct benchmark_phase *phase,
                          const struct benchmark_result *result);
void benchmark_print_json(FILE *out, const struct benchmark_phase *phase,
                          const struct benchmark_result *result);
