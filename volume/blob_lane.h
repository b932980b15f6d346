/* A lane: what one loop has for itself. Appends that a turn collects and their way back, the
 * clients that talk to other servers, a scratch buffer, a source of cheap random bits. Loop
 * thread only, except where it says otherwise. */
#pragma once

#include "common/buffer.h"
#include "common/http_client.h"
#include "common/metrics.h"
#include "common/worker_pool.h"
#include "volume/blob_tally.h"
#include "volume/disk_location.h"
#include "volume/replicator.h"
#include "volume/storage/append_queue.h"

#include <pthread.h>

/* Appends of this turn for one disk. */
struct blob_lane_batch {
    struct append_queue *queue;
    struct append_request *first, *last;
};

/* A big blob whose CRC was found right of late, so that each of many ranges of one need not be preceded by
 * a reading of all of it. */
struct blob_lane_checked {
    uint64_t serial, offset; /* of the generation, in it; serial 0: none */
};
#define BLOB_LANE_CHECKED 1024u /* that many, each in a place of its own */

/* What a middle-sized blob holds, block by block, as it was when its CRC was found right; blob_part.c's. */
#define BLOB_LANE_SUMS_OF_ONE 64u
struct blob_lane_sums {
    uint64_t serial, offset; /* of the generation, in it; serial 0: none */
    uint32_t data_size, checksum;
    uint32_t block_size; /* 0: the rest is not known yet */
    uint32_t items[BLOB_LANE_SUMS_OF_ONE];
};
#define BLOB_LANE_SUMS 4096u /* that many, 1.2 MB */

#define BLOB_LANE_BATCHES 16 /* disks; beyond it the oldest batch is handed over early */

struct blob_lane {
    struct loop *loop;
    struct worker_pool *pool; /* borrowed: for blob_lane_offload */
    struct worker_pool *const *disk_pools; /* likewise, one a disk: a disk that hangs takes its own down */
    struct append_sink sink;
    struct blob_lane_batch batches[BLOB_LANE_BATCHES];
    unsigned batch_count;
    bool is_turn_end_due;
    struct loop_task turn_end;

    /* Completions on their way from the writer threads to the loop. */
    struct metric_family *upload_errors; /* of the replicator; may be NULL */
    struct metric_series *group_sizes; /* of completions that come together; NULL: nobody counts */
    pthread_mutex_t lock;
    struct append_request *completed_first, *completed_last;
    bool is_posted;
    struct loop_task completed;

    struct blob_tally *tally;        /* borrowed; NULL: nobody counts */
    struct replicator *replicator;   /* made on first use */
    struct http_client *http_client; /* made on first use */
    struct buffer scratch;
    struct blob_lane_checked *checked; /* made on first use */
    struct blob_lane_sums *sums;       /* made on first use */
    uint64_t random_state;
} __attribute__((aligned(64)));

/* `seed` must differ from lane to lane. */
void blob_lane_init(struct blob_lane *lane, struct loop *loop, struct worker_pool *pool,
                    struct worker_pool *const *disk_pools, uint64_t seed);
/* Not on a loop: lets the loop drop what it made, waits for that. */
void blob_lane_fini(struct blob_lane *lane);
/* The one of this loop. */
struct blob_lane *blob_lane_of(struct blob_lane *lanes, unsigned count, const struct loop *loop);
uint64_t blob_lane_random(struct blob_lane *lane);

/* The place of a record in a table of `count`. */
size_t blob_lane_slot(const struct volume_read *read, size_t count);
bool blob_lane_has_checked(const struct blob_lane *lane, const struct volume_read *read);
void blob_lane_remember_checked(struct blob_lane *lane, const struct volume_read *read);

/* NULL (and err) when it cannot be made. */
struct replicator *blob_lane_replicator(struct blob_lane *lane, struct error *err);
struct http_client *blob_lane_http_client(struct blob_lane *lane, struct error *err);

/* An append and what happens after it, on the loop; the request's code and err are set then.
 * Caller's memory until `done`. */
struct blob_append {
    struct append_request request;
    void (*done)(struct blob_append *append);
};
/* Fills in sink; the request is handed over at the end of the turn. */
void blob_lane_append(struct blob_lane *lane, struct append_queue *queue,
                      struct blob_append *append);

/* Work that may block or takes long: `work` on a thread of the pool, then `done` back on the
 * loop. */
struct blob_offload {
    struct worker_task worker_task;
    struct loop_task loop_task;
    struct loop *loop;
    void (*work)(struct blob_offload *offload);
    void (*done)(struct blob_offload *offload);
};
/* KELP_E_LIMIT when too much waits already: neither will be called. */
int blob_lane_offload(struct blob_lane *lane, struct blob_offload *offload);
/* The same for work that waits for this disk. */
int blob_lane_offload_to_disk(struct blob_lane *lane, const struct disk_location *location,
                              struct blob_offload *offload);
