/* A volume: one .dat with many needles, its .idx, its .vif; the unit of placement and of vacuum.
 *
 * Identity + current generation + append queue + state. A *generation* is one immutable pairing of an
 * open .dat, an open .idx, a needle index and a compaction revision. Readers take a reference to it and
 * never wait for writers or for a commit; a vacuum swaps it with one pointer store, and the old one is
 * closed when its last reader leaves.
 *
 * Threads: reading and volume_stat from any thread. Appends are carried out by the disk's writer thread
 * (append_queue.h), one batch at a time per volume. State changes (mark, vacuum) from any worker thread;
 * they take the volume's lock. */
#pragma once

#include "common/os.h"
#include "common/replica_placement.h"
#include "common/ttl.h"
#include "volume/storage/format/needle.h"

#include <stdatomic.h>

struct volume;
struct foreground;

/* Why a volume is read-only: a set. Any bit stops writes; VOLUME_BLOCKS_DELETE_MASK stops deletes too.
 * Full and low-space volumes may be vacuumed, and become writable when the cause is gone. */
enum volume_read_only {
    VOLUME_RO_OPERATOR = 1 << 0,            /* marked, no deletes either */
    VOLUME_RO_OPERATOR_CAN_DELETE = 1 << 1, /* marked, deletes go on */
    VOLUME_RO_LOW_SPACE = 1 << 2,           /* the disk is below its reserve */
    VOLUME_RO_IO_ERROR = 1 << 3,            /* a failed fsync or repeated EIO; only mark-writable ends it */
    VOLUME_RO_CORRUPT = 1 << 4,             /* could not be repaired at load */
    VOLUME_RO_FILE_MODE = 1 << 5,           /* the .dat is not writable for us */
    VOLUME_RO_TIERED = 1 << 6,
    VOLUME_RO_FULL = 1 << 7, /* the next record could not be addressed; a vacuum ends it */
};
#define VOLUME_BLOCKS_DELETE_MASK                                                                  \
    (VOLUME_RO_OPERATOR | VOLUME_RO_IO_ERROR | VOLUME_RO_CORRUPT | VOLUME_RO_FILE_MODE)
#define VOLUME_READ_ONLY_REASONS 8u
/* "operator", "io-error", ...: of the bit 1 << index. */
const char *volume_read_only_name(unsigned index);

/* Where a volume lives. The strings are copied. */
struct volume_place {
    struct os *os;
    const char *data_dir;  /* D of the spec */
    const char *index_dir; /* I of the spec; NULL or equal to data_dir */
    const char *collection;
    uint32_t id;
    struct index_store *index_store; /* of the disk; must outlive the volume; NULL: index in memory */
    struct foreground *foreground;   /* of the disk, likewise: learns how long its clients wait; may be NULL */
    const atomic_bool *is_stopping;  /* once set, volume_open ends soon, with KELP_E_CANCELLED; may be NULL */
};

struct volume_options {
    struct replica_placement replica_placement;
    struct ttl ttl;
    uint8_t offset_bytes;    /* 4 or 5 */
    uint64_t preallocate;    /* bytes to reserve, size stays; 0: none */
};

/* Makes the files, durably, and opens the volume. Fails if any of them exists, but
 * for what a creation that was cut off has left. */
int volume_create(struct volume **ret, const struct volume_place *place,
                  const struct volume_options *options, struct error *err);
/* Finishes or rolls back a vacuum that was cut off, loads the index, repairs the tail (whole records
 * without a row are re-added, a torn one is cut), checks. What was repaired is in *ret_note (malloc'd
 * text, NULL when nothing was; may be NULL). A volume that cannot be repaired opens read-only with
 * VOLUME_RO_CORRUPT if its blobs can still be served, else this fails and touches nothing. */
int volume_open(struct volume **ret, const struct volume_place *place, char **ret_note,
                struct error *err);
/* Waits for a running vacuum to stop (it is cancelled) and for queued appends; syncs; closes. Readers
 * that still hold a generation finish on their own. NULL is fine. */
void volume_close(struct volume *volume);
/* volume_close, then removes all of the volume's files. KELP_E_BUSY while it compacts. */
int volume_delete_files(struct volume *volume, struct error *err);

/* A word for whoever keeps the volume. Set before other threads see it; NULL before that. */
void volume_set_keeper(struct volume *volume, void *keeper);
void *volume_keeper(const struct volume *volume);
uint32_t volume_id(const struct volume *volume);
const char *volume_collection(const struct volume *volume);
struct replica_placement volume_replica_placement(const struct volume *volume); /* as volume_stat, but free */

struct volume_stat {
    uint64_t dat_bytes; /* logical length of the .dat */
    uint64_t idx_bytes;
    uint64_t index_memory_bytes; /* of its own; not caches that the indexes of a disk share */
    uint64_t file_count, file_bytes;         /* index counters, spec 9: they only grow until a reload */
    uint64_t deletion_count, deletion_bytes;
    uint64_t live_count, live_record_bytes;  /* exact; what a vacuum would copy */
    uint64_t max_key;
    uint64_t last_append_at_ns;
    uint64_t modified_at_second;
    uint64_t damaged_count; /* records that failed their check since the volume was opened */
    double garbage_ratio;   /* spec 16.1 */
    unsigned read_only;     /* enum volume_read_only */
    struct replica_placement replica_placement;
    struct ttl ttl;
    uint16_t compact_revision;
    uint8_t version, offset_bytes;
    bool is_compacting;
    bool is_data_missing; /* the .dat's name has vanished (checked at most every 30 s) */
};
void volume_stat(struct volume *volume, struct volume_stat *ret);

/* ---- reading ---- */

/* One needle that was found; caller's memory. Holds a reference to the generation between
 * volume_read_begin and volume_read_end. */
struct volume_read {
    struct volume *volume;
    struct volume_generation *generation;
    uint64_t serial; /* of the generation: what lies at a place of it never changes */
    uint64_t key;
    uint64_t offset;      /* of the record, bytes */
    uint64_t record_size; /* 0 for an empty needle: nothing to read */
    int32_t body_size;
    uint8_t version;
};

/* Looks the key up; may block if volume_lookup_may_block. KELP_E_NOT_FOUND, KELP_E_DELETED; `allow_deleted` serves a deleted
 * entry whose size is still known. */
bool volume_lookup_may_block(struct volume *volume); /* its index is on disk: not on an event loop */
int volume_read_begin(struct volume *volume, uint64_t key, bool allow_deleted,
                      struct volume_read *ret, struct error *err);
/* Reads, checks and parses the whole record into buf[record_size]; the needle points into it. With
 * `nowait` KELP_E_AGAIN when it is not all in the page cache. KELP_E_NOT_FOUND when the TTL is over. */
int volume_read_record(struct volume_read *read, void *buf, bool nowait, struct needle *ret,
                       struct error *err);
/* Everything but the data, into a buffer of VOLUME_READ_AROUND_MAX; data.len is set. */
#define VOLUME_READ_AROUND_MAX (NEEDLE_HEAD_MAX + NEEDLE_TAIL_MAX)
int volume_read_around(struct volume_read *read, void *buf, bool nowait, struct needle *ret,
                       struct error *err);
/* A piece of the data, within the data.len that volume_read_around told (call it first); exactly n bytes
 * or an error. */
int volume_read_data(struct volume_read *read, void *buf, size_t n, uint64_t position, bool nowait,
                     struct error *err);
/* Reads all of the data in pieces and compares it with needle->checksum, which volume_read_around told. */
int volume_read_check(struct volume_read *read, struct needle *needle, struct error *err);
/* What volume_read_data gave does not match the record's CRC: counts it, lists it. */
void volume_read_damaged(struct volume_read *read, const char *reason);
/* Once for each volume_read_begin that succeeded. */
void volume_read_end(struct volume_read *read);

/* ---- state ---- */

/* Spec 21. `persist` writes the mark to the .vif. */
int volume_mark_read_only(struct volume *volume, bool can_delete, bool persist, struct error *err);
/* Clears both marks and a quarantine, persists that. After a quarantine it first cuts off what failed
 * writes left behind and syncs; if that fails too, the volume stays as it is. KELP_E_READ_ONLY when the volume is read-only for a
 * reason that a mark cannot end: corrupt, or a .dat that is not writable for us. */
int volume_mark_writable(struct volume *volume, struct error *err);
/* Spec 21: what the .vif says instead of the super block, from now on; "" ends that. KELP_E_INVALID in the
 * wire's words; on any failure nothing has changed. */
int volume_set_replication(struct volume *volume, const char *replication, struct error *err);
void volume_set_low_space(struct volume *volume, bool is_low);

/* Whether a put would be refused already for what the volume is: KELP_E_READ_ONLY, KELP_E_TOO_LARGE, with
 * the words of the refusal. Any thread, does not block. */
int volume_check_writable(struct volume *volume, struct error *err);

int volume_sync(struct volume *volume, struct error *err); /* .dat and .idx; blocks */
/* The same, if anything was written since it was last called. A failure quarantines. */
int volume_sync_changes(struct volume *volume, struct error *err);

/* Why the volume was quarantined, or could not be repaired; empty text when neither is so. */
#define VOLUME_FAULT_MAX 160
void volume_fault(struct volume *volume, char ret[VOLUME_FAULT_MAX]);

/* A record that failed its check when it was read, copied or verified. Kept until its key is deleted or
 * written anew, through vacuums too; all are counted, the latest VOLUME_DAMAGE_MAX are kept. */
#define VOLUME_DAMAGE_MAX 64u
struct volume_damage {
    uint64_t key, offset;
    int64_t found_at_ns;
    char reason[96];
};
bool volume_has_damage(const struct volume *volume); /* at least one was found since it was loaded */
void volume_note_damage(struct volume *volume, uint64_t key, uint64_t offset, const char *reason);
/* Those that are still there, the oldest first; how many. May block on the index. */
size_t volume_damaged(struct volume *volume, struct volume_damage ret[VOLUME_DAMAGE_MAX]);
