/* The inside of a vacuum, for its files: volume_vacuum.c (states, entry points), volume_compact.c
 * (the copy), volume_replay.c (what was written meanwhile), volume_vacuum_commit.c (the swap),
 * vacuum_writer.c and vacuum_batch.c (how each of the first two writes), vacuum_read_back.c, and what
 * they need: vacuum_job.c, vacuum_space.c, vacuum_pace.c, vacuum_budget.c, vacuum_pages.c,
 * vacuum_digest.c.
 *
 * One struct per volume, made by its first compaction and kept until the volume closes, so that
 * progress and the list of damaged records outlive the job.
 *
 * Who owns what: `state` and all members marked (lock) are under volume->vacuum_lock. The members
 * marked (job) belong to the worker while the state is copying or committing; otherwise to whoever
 * holds vacuum_lock. */
#pragma once

#include "volume/storage/record_writer.h"
#include "volume/storage/vacuum_digest.h"
#include "volume/storage/volume_internal.h"
#include "volume/storage/volume_vacuum.h"

/* A record of the batch that is being written: where it comes from, where it goes. */
struct vacuum_written {
    struct needle_entry entry;
    const uint8_t *source;
};

struct vacuum {
    struct volume_vacuum base; /* first: see volume_internal.h */
    struct volume *volume;
    pthread_cond_t moved;     /* (lock) the state changed */
    enum vacuum_state state;  /* (lock) */
    atomic_bool is_cancelled; /* read by the worker, set by whoever wants it to end */
    atomic_bool is_paused;    /* likewise */
    bool is_swap_pending;     /* (job) a decided commit whose renames are not complete */

    struct volume_generation *old, *next; /* (job) one reference to each */
    uint64_t mark;                        /* (job) old's .idx up to here is in next */
    uint32_t cuts;                        /* (job) of old's .idx, when the copy began */
    uint64_t safe_end;                    /* (job) old's .dat up to here is in next, and synced */
    uint64_t reserved_bytes;              /* (job) of next's .dat, by fallocate */
    bool keeps_reservation;               /* (job) the request asked for it */
    struct vacuum_budget *budget;         /* (job) of the disk; may be NULL */
    uint64_t held_bytes;                  /* (job) of the disk, noted in the budget */
    pthread_t closer;                     /* (job) closes the generation that the last commit replaced */
    bool has_closer;
    struct needle_index *expired;         /* (job) dropped by the TTL, still in old; NULL: no TTL */
    struct vacuum_digest source, result;  /* (job) old's as read, next's as read back */

    struct record_writer *writer; /* (job) */
    struct vacuum_written written[RECORD_WRITER_RECORDS];
    size_t written_count;
    uint8_t *check_buffer; /* (job) VACUUM_CHECK_BYTES */

    pthread_mutex_t progress_lock; /* guards what follows; innermost */
    struct vacuum_progress progress;
    int64_t started_at_ns; /* monotonic */
    struct vacuum_damage *damages;
    size_t damage_count; /* may be above VACUUM_DAMAGE_MAX */
};

#define VACUUM_CHECK_BYTES (1u << 20)

/* KELP_E_CANCELLED once somebody wants the job to end. */
int vacuum_check_cancelled(struct vacuum *v, struct error *err);
/* Gives up the job's reference to the generation that was replaced. Where the disk has a budget
 * that is done on a thread of its own, behind the clients' backs, and the next vacuums of the disk
 * wait for it. */
void vacuum_close_old(struct vacuum *v);
/* Waits until the generation that the last commit replaced is closed. */
void vacuum_await_closer(struct vacuum *v);
/* Drops what the last job left: generations, index, files unless a decided swap needs them. */
void vacuum_drop_job(struct vacuum *v, bool keep_files);

/* ---- vacuum_batch.c: writing to the new generation and reading back ---- */

/* Adds one record as it is; `bytes` must stay until the next flush, which this may cause. `size` as
 * the row shall say it (-1: a tombstone). `source` is not touched. */
int vacuum_batch_add(struct vacuum *v, uint64_t key, int32_t size, const uint8_t *bytes,
                     struct error *err);
/* Writes the batch, reads it back, compares it byte by byte and with the new index, and adds its
 * live records to the digest of the result. */
int vacuum_batch_flush(struct vacuum *v, struct error *err);
/* Takes the key's live record, if it has one, out of both digests: it is about to be replaced. */
int vacuum_batch_forget(struct vacuum *v, uint64_t key, bool *ret_was_live, struct error *err);
/* Lists a record that failed its check. */
void vacuum_note_damage(struct vacuum *v, const struct needle_entry *entry, const char *reason);

/* ---- vacuum_read_back.c ---- */

struct vacuum_read_back {
    struct volume_generation *next;
    uint8_t *buffer; /* VACUUM_CHECK_BYTES */
    /* Told of each record that is there as it should be. */
    int (*is_there)(void *ctx, const struct needle_entry *entry, uint32_t checksum, struct error *err);
    void *ctx;
};
/* KELP_E_CORRUPT when a record of next's .dat is not what its source is. The records lie side by side,
 * in this order. */
int vacuum_read_back(const struct vacuum_read_back *, const struct vacuum_written *written,
                     size_t count, struct error *err);
/* KELP_E_CORRUPT: what is wrong with a record of next. */
int vacuum_fail_check(const struct volume_generation *next, const struct needle_entry *entry,
                      const char *what, struct error *err);
/* What the digest counts of a record. */
uint32_t vacuum_record_checksum(const uint8_t *record, int32_t size);

/* ---- vacuum_writer.c: the copy's way into the new generation ---- */

struct vacuum_writer;
/* Between here and the end v->next's index can be used by nobody else. After a failure of any call
 * v->next can only be dropped. */
int vacuum_writer_create(struct vacuum_writer **ret, struct vacuum *v, uint64_t expected,
                         struct error *err);
void vacuum_writer_destroy(struct vacuum_writer *writer); /* NULL is fine */
/* Adds one live record as it is, of a key that was not added yet; `bytes` must stay until the next
 * flush, which this may cause. */
int vacuum_writer_add(struct vacuum_writer *writer, uint64_t key, int32_t size, const uint8_t *bytes,
                      struct needle_entry *ret, struct error *err);
/* Writes what was added, reads it back and compares it byte by byte. */
int vacuum_writer_flush(struct vacuum_writer *writer, struct error *err);
/* All is added: rows and index are complete and checked, v->result counts what was read back. */
int vacuum_writer_end(struct vacuum_writer *writer, struct error *err);

/* ---- vacuum_space.c ---- */

/* Creates v->next, with its space reserved, or refuses. `live`: what will be copied. */
int vacuum_make_next(struct vacuum *v, const struct vacuum_options *options,
                     const struct needle_index_stat *live, struct error *err);

/* ---- vacuum_pages.c: the page cache during a copy; both calls with offsets that grow ---- */

struct vacuum_pages *vacuum_pages_create(struct volume_generation *);
/* Drops what was read ahead, too; the generation must still be open. */
void vacuum_pages_destroy(struct vacuum_pages *);
/* [from, to) is about to be read. */
void vacuum_pages_want(struct vacuum_pages *, uint64_t from, uint64_t to);
/* All below `to` has been. */
void vacuum_pages_done(struct vacuum_pages *, uint64_t to);

/* ---- vacuum_pace.c: waiting, and telling how far it is ---- */

struct vacuum_pace {
    struct vacuum *v;
    const struct vacuum_options *options;
    bool has_place;
    int64_t worked_since_ns, told_at_ns, measured_at_ns;
    uint64_t measured_offset;
};

/* Waits for a place among the jobs of the disk. vacuum_pace_end in any case. */
int vacuum_pace_begin(struct vacuum_pace *pace, struct vacuum *v,
                      const struct vacuum_options *options, struct error *err);
void vacuum_pace_end(struct vacuum_pace *pace);
/* A piece of work is done: the copy has passed source_offset, and has read and written `moved`
 * bytes for it. Tells, waits as it must. KELP_E_CANCELLED. */
int vacuum_pace_step(struct vacuum_pace *pace, uint64_t source_offset, uint64_t moved,
                     struct error *err);

/* ---- the phases ---- */

int vacuum_copy(struct vacuum *v, const struct vacuum_options *options, struct error *err);
/* Brings the rows of old's .idx in [mark, to) into next. */
int vacuum_replay(struct vacuum *v, uint64_t to, struct error *err);
int vacuum_commit(struct vacuum *v, uint64_t *ret_pause_ns, struct error *err);
/* Makes the swap durable: see volume_internal.h. Any thread, with append_lock held or by the committer. */
int vacuum_settle(struct volume *volume, struct error *err);
/* Completes the renames of a decided commit. */
int vacuum_finish_swap(struct vacuum *v, struct error *err);
