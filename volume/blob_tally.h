/* What a lane has counted of its requests: how many began and ended, how long they took, how they
 * were answered. One writer, the lane's loop, so that counting is an ordinary addition and no two
 * loops fight for a cache line; whoever prints the metrics reads and adds up. A row is a method or
 * a phase: blob_metrics.c says which. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#define BLOB_TALLY_ROWS    10u
#define BLOB_TALLY_BUCKETS 25u  /* of time: up to 0.1 ms, 0.2 ms, 0.4 ms, ...; the last one holds the rest */
#define BLOB_TALLY_STATUS  600u /* statuses below it */

#define BLOB_TALLY_FIRST_NS 100000u

struct blob_tally_row {
    _Atomic uint64_t begun, ended, total_ns;
    _Atomic uint64_t buckets[BLOB_TALLY_BUCKETS];
    _Atomic uint64_t statuses[BLOB_TALLY_STATUS];
};

struct blob_tally {
    struct blob_tally_row rows[BLOB_TALLY_ROWS];
} __attribute__((aligned(64)));

/* ---- the loop's side ---- */

static inline void blob_tally_add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + amount, memory_order_relaxed);
}

static inline void blob_tally_begin(struct blob_tally_row *row) { blob_tally_add(&row->begun, 1); }

static inline unsigned blob_tally_bucket(uint64_t took_ns)
{
    uint64_t steps = took_ns > 0 ? (took_ns - 1) / BLOB_TALLY_FIRST_NS : 0;
    unsigned bucket = steps > 0 ? 64u - (unsigned)__builtin_clzll(steps) : 0;
    return bucket < BLOB_TALLY_BUCKETS ? bucket : BLOB_TALLY_BUCKETS - 1;
}

static inline void blob_tally_end(struct blob_tally_row *row, uint64_t took_ns)
{
    blob_tally_add(&row->buckets[blob_tally_bucket(took_ns)], 1);
    blob_tally_add(&row->total_ns, took_ns);
    blob_tally_add(&row->ended, 1);
}

static inline void blob_tally_status(struct blob_tally_row *row, int status)
{
    if (status >= 0 && (unsigned)status < BLOB_TALLY_STATUS)
        blob_tally_add(&row->statuses[status], 1);
}
