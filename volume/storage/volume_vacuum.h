/* Vacuum of one volume: check, compact, commit, cleanup. Source: VACUUM rules, spec/storage-format.md 16.
 *
 *   idle -> copying -> copied -> committing -> idle, and -> idle by cleanup or failure from any of them.
 *
 * A failure in any state leaves the old generation serving byte for byte as it was, and removes the
 * temporary files. Runs on a worker thread as sequential code; reads, writes and deletes go on. */
#pragma once

#include "volume/storage/volume.h"

/* A rate budget over bytes read and written, shared by all jobs of a disk. Any thread. */
struct vacuum_budget;
int vacuum_budget_create(struct vacuum_budget **ret, struct os *os, uint64_t bytes_per_second);
void vacuum_budget_destroy(struct vacuum_budget *budget);

struct vacuum_progress {
    uint64_t bytes_total;  /* .dat length when it began */
    uint64_t source_offset; /* how far the copy has read */
    uint64_t bytes_copied, records_copied;
    uint64_t bytes_reclaimed;
};

struct vacuum_damage { /* a record that failed its check; its bytes were carried over as they are */
    uint64_t key, offset;
    char reason[96];
};

struct vacuum_options {
    uint64_t preallocate; /* bytes to reserve for the new .dat, as the request asks; 0: what is needed */
    uint64_t space_floor_bytes; /* of the disk, that must stay free */
    struct vacuum_budget *budget; /* NULL: no limit */
    /* Called on the worker thread as the copy moves on; non-zero cancels (KELP_E_CANCELLED). */
    int (*on_progress)(void *ctx, const struct vacuum_progress *progress);
    void *ctx;
};

/* Copies the live records to .cpd / .cpx. KELP_E_BUSY when a vacuum of it runs already (the RPC answers
 * success then). KELP_E_NO_SPACE says how much is missing. */
int volume_vacuum_compact(struct volume *volume, const struct vacuum_options *options,
                          struct error *err);
/* Replays what was written meanwhile, checks the digest, swaps. KELP_E_PRECONDITION without a completed
 * copy: nothing is touched. KELP_E_BUSY while one runs. Longest time that writers waited in
 * *ret_pause_ns (may be NULL). */
int volume_vacuum_commit(struct volume *volume, uint64_t *ret_pause_ns, struct error *err);
/* Drops a completed copy; cancels a running one. Nothing to drop is success. */
int volume_vacuum_cleanup(struct volume *volume, struct error *err);

/* Damaged records found by the last copy, at most `max`; returns how many there were. */
size_t volume_vacuum_damaged(struct volume *volume, struct vacuum_damage *ret, size_t max);

/* Recovery at start: a pure function of the directory listing (spec 16.5), then its renames and
 * removals. Handles every base name in data_dir (and index_dir, may be NULL). Before volumes load. */
int vacuum_recover_directory(struct os *os, const char *data_dir, const char *index_dir,
                             struct error *err);
