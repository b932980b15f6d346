/* Vacuum of one volume: check, compact, commit, cleanup. Source: VACUUM rules,
 * spec/storage-format.md 16.
 *
 *            compact            copy done           commit             swapped
 *   idle ------------> copying ----------> copied ----------> committing --------> idle
 *     ^                   |                  |                    |
 *     +-------------------+------------------+--------------------+   cleanup, cancel or failure
 *
 *   state       old generation  new generation   who may change it
 *   idle        -               -                anybody
 *   copying     held            grows            the worker in compact
 *   copied      held            complete         anybody: commit, cleanup, another compact
 *   committing  held            takes the rest   the worker in commit
 *
 * A failure in any state leaves the old generation serving byte for byte as it was, and removes the
 * temporary files. Once the generation was swapped the commit is decided: whatever fails then, the
 * new generation serves, and the renames are completed by the next commit, compact or start.
 *
 * compact and commit are sequential code for a worker thread; reads, writes and deletes go on.
 * All functions may block. Any thread; but none after volume_close has returned. */
#pragma once

#include "volume/storage/vacuum_budget.h"
#include "volume/storage/volume.h"

enum vacuum_state { VACUUM_IDLE, VACUUM_COPYING, VACUUM_COPIED, VACUUM_COMMITTING };
const char *vacuum_state_name(enum vacuum_state state); /* "idle", ... */

struct vacuum_progress {
    uint64_t bytes_total;   /* .dat length when it began */
    uint64_t source_offset; /* how far the copy has read */
    uint64_t step_offset;   /* of the first live record beyond the last step of 128 MiB; 0: none yet */
    uint64_t bytes_copied, records_copied;
    uint64_t bytes_reclaimed; /* garbage passed by; after a commit: what the .dat shrank by */
    /* Only from volume_vacuum_progress: */
    enum vacuum_state state;
    bool is_waiting; /* for a place among the jobs of its disk */
    bool is_paused;
    uint64_t live_bytes, live_records; /* when it began: what the copied ones head for */
    uint64_t rows_replayed;
    uint64_t elapsed_ns; /* since the copy began, or all of it when it has ended */
    uint64_t bytes_per_second; /* of the .dat passed through, over the last seconds of work */
    uint64_t left_ns;    /* of the copy, at that rate; 0 while it is not known */
    uint64_t damaged;    /* records that failed their check */
    uint64_t pause_ns;   /* time that the last commit made writers wait */
    uint64_t longest_pause_ns; /* of all commits since the volume was opened */
};

struct vacuum_damage { /* a record that failed its check; its bytes were carried over as they are */
    uint64_t key, offset;
    char reason[96];
};
#define VACUUM_DAMAGE_MAX 1000u /* that many are kept, all are counted */

struct vacuum_options {
    uint64_t preallocate; /* bytes of the new .dat to reserve, as asked; 0: what is needed */
    uint64_t space_floor_bytes; /* of the disk, that must stay free */
    struct vacuum_budget *budget; /* NULL: no limit */
    /* Called on the copying thread, which lives inside of volume_vacuum_compact, about once a MiB,
     * and several times a second while it waits or is paused; non-zero cancels (KELP_E_CANCELLED).
     * May wait, which slows the copy down. */
    int (*on_progress)(void *ctx, const struct vacuum_progress *progress);
    void *ctx;
};

/* The free space that a vacuum of such a volume takes while it runs, in the folder of its data and,
 * if that is another one, of its index together. */
uint64_t volume_vacuum_needs(const struct volume_stat *stat);

/* Copies the live records to .cpd / .cpx, both synced. KELP_E_BUSY when a vacuum of it runs already
 * (the RPC answers success then). KELP_E_NO_SPACE says how much is missing. KELP_E_READ_ONLY for a
 * volume that is quarantined, corrupt or tiered, KELP_E_TOO_LARGE for one whose live records its
 * rows cannot address. A completed copy that was not committed is dropped first. */
int volume_vacuum_compact(struct volume *volume, const struct vacuum_options *options,
                          struct error *err);
/* Replays what was written meanwhile, checks the digest, swaps. KELP_E_PRECONDITION without a
 * completed copy: nothing is touched. KELP_E_BUSY while one runs. Longest time that writers waited
 * in *ret_pause_ns (may be NULL; set on failure too, once writers had to wait). */
int volume_vacuum_commit(struct volume *volume, uint64_t *ret_pause_ns, struct error *err);
/* Drops a completed copy; cancels a running one and waits for its end (below a second). Nothing to
 * drop is success. KELP_E_PRECONDITION while a commit that was decided waits for its renames. */
int volume_vacuum_cleanup(struct volume *volume, struct error *err);

/* Holds a running copy still, or lets it go on; it may be cancelled meanwhile. KELP_E_PRECONDITION
 * when none runs. */
int volume_vacuum_pause(struct volume *volume, bool is_paused, struct error *err);

/* Of the running vacuum, else of the last one; all zero when there was none. */
void volume_vacuum_progress(struct volume *volume, struct vacuum_progress *ret);

/* Damaged records found by the last copy, at most `max`; returns how many there were. */
size_t volume_vacuum_damaged(struct volume *volume, struct vacuum_damage *ret, size_t max);

/* Recovery at start: a pure function of the directory listing (spec 16.5), then its renames and
 * removals. Handles every base name in data_dir (and index_dir, may be NULL). Before volumes load.
 * A volume that fails does not keep the others from being recovered; the first error is
 * returned. */
int vacuum_recover_directory(struct os *os, const char *data_dir, const char *index_dir,
                             struct error *err);
