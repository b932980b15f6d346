/* The inside of a volume, for the files of this folder that work on it: load, append queue, vacuum.
 *
 * Locks, in the order in which they may be taken:
 *   mark_lock        one mark (read-only, writable) after the other, with all that it does.
 *   vacuum_lock      the vacuum's own state (`vacuum`); whoever runs or ends one. Never held while copying.
 *   append_lock      who may append to the generation, or swap it: the writer thread for a batch, a vacuum
 *                    for its last round, volume_close, the mark calls. Writers wait for it, readers never.
 *   state_lock       the .vif and its copy in `info`.
 *   damage_lock      the list of damaged records, and why the volume was quarantined. Innermost.
 *   generation_lock  the pointer `generation`, for the two instructions of taking a reference or
 *                    swapping it. Nothing is called under it.
 *
 * Lifetime: `references` counts the owner (volume_open .. volume_close) and every generation; the memory
 * goes with the last of them. */
#pragma once

#include "volume/storage/volume.h"
#include "volume/storage/format/volume_files.h"
#include "volume/storage/volume_generation.h"
#include "volume/storage/format/volume_info_file.h"

#include <pthread.h>

struct append_request;

/* What a vacuum attaches to its volume; its first member, so that volume.c needs to know no more. */
struct volume_vacuum {
    /* Cancels, waits until the worker has left, removes the temporary files, frees itself and sets
     * volume->vacuum to NULL. Called by volume_close without any lock held. */
    void (*stop)(struct volume *volume);
    /* vacuum_lock held, which it may drop to wait for a commit. Removes a marker that speaks of no swap: a
     * start would believe it. */
    int (*forget_marker)(struct volume *volume, struct error *err);
};

struct volume {
    atomic_uint references;
    struct os *os;
    uint32_t id;
    char *collection;
    struct volume_files files;
    struct index_store *index_store;
    struct foreground *foreground; /* of the disk; may be NULL */
    void *keeper;                  /* see volume_set_keeper */

    pthread_mutex_t generation_lock;
    struct volume_generation *generation; /* holds one reference */
    atomic_bool lookup_may_block;         /* its index's */

    pthread_mutex_t append_lock;
    pthread_cond_t append_idle; /* with append_lock: pending_appends fell to 0 */
    atomic_size_t pending_appends; /* submitted and not yet carried out */
    /* Under append_lock. Not NULL: the generation was swapped, and a power loss might still bring the old one
     * back. Makes the swap durable, with all that the new generation holds; whoever promises that something
     * is durable calls it before (volume_settle). */
    int (*settle)(struct volume *volume, struct error *err);
    bool has_settle_failed; /* until the volume is marked writable */
    uint64_t last_append_at_ns; /* under append_lock: every stamp is above this one */
    _Atomic uint64_t shown_append_at_ns; /* the same, for volume_stat */

    atomic_uint read_only; /* enum volume_read_only */
    _Atomic uint64_t modified_at_second;
    _Atomic uint64_t damaged_count;
    atomic_bool is_unsynced; /* something was written since volume_sync_changes */
    atomic_uint consecutive_eio;
    _Atomic int64_t data_checked_at_ns; /* monotonic; when the .dat's name was last looked for */
    atomic_bool is_data_missing;

    pthread_mutex_t mark_lock;
    pthread_mutex_t state_lock;
    struct volume_info info;
    bool is_info_foreign; /* the .vif could not be read: it is left alone */
    atomic_uint placement; /* as a byte: the super block's, or what the .vif says instead */
    struct ttl ttl;        /* the super block's; constant after load */

    pthread_mutex_t damage_lock; /* innermost; the two that follow */
    struct volume_damage_list *damage; /* NULL: none was found yet */
    char fault[VOLUME_FAULT_MAX];

    pthread_mutex_t vacuum_lock;
    struct volume_vacuum *vacuum; /* NULL: idle */
    atomic_bool is_compacting;    /* set by the vacuum from the start of a copy to its end */

    /* The append queue's own, under its lock: what waits for the volume, and whether one of that has to be
     * synced. */
    struct append_request *append_first, *append_last;
    bool is_append_durable;
    bool is_append_queued; /* it waits for a thread, linked by append_next, or one has it */
    struct volume *append_next;
};

/* A reference to the current generation, never NULL between open and close. Any thread; does not wait. */
static inline struct volume_generation *volume_get_generation(struct volume *volume)
{
    pthread_mutex_lock(&volume->generation_lock);
    struct volume_generation *generation = volume->generation;
    volume_generation_ref(generation);
    pthread_mutex_unlock(&volume->generation_lock);
    return generation;
}

/* append_lock held. Makes `next` (its reference passes to the volume) the current one; returns the old
 * one, whose reference passes to the caller, to be dropped after append_lock is released. Readers that
 * began before go on with the old one. Attaches `next` to the volume (volume_attach_generation). */
struct volume_generation *volume_swap_generation(struct volume *volume,
                                                 struct volume_generation *next);
/* Lets a generation keep the volume's memory alive. */
void volume_attach_generation(struct volume *volume, struct volume_generation *generation);

static inline void volume_lock_appends(struct volume *volume)
{
    pthread_mutex_lock(&volume->append_lock);
}
static inline void volume_unlock_appends(struct volume *volume)
{
    pthread_mutex_unlock(&volume->append_lock);
}
/* append_lock held. The stamp of the next record: now, but above all before. */
uint64_t volume_next_append_at_ns(struct volume *volume);

/* The stored reasons, and "full" where it applies to this generation. */
static inline unsigned volume_read_only_bits(const struct volume *volume,
                                             const struct volume_generation *generation)
{
    bool is_full = volume_generation_end(generation) >= index_row_limit(generation->offset_bytes);
    return atomic_load(&volume->read_only) | (is_full ? (unsigned)VOLUME_RO_FULL : 0u);
}

/* The state of the disk is not known any more: no write, no delete until somebody marks it writable. */
void volume_quarantine(struct volume *volume, const char *why);
/* append_lock held. Before a promise that something is durable: makes sure that the current generation is
 * the one that a power loss would leave. A sync that fails: the caller quarantines. It is not tried again
 * before somebody has looked at the disk: it would succeed and prove nothing, and after it the renames
 * would do away with the old files, which are whole. */
int volume_settle(struct volume *volume, struct error *err);
/* append_lock held. KELP_E_READ_ONLY when a sync of the kind has failed. */
int volume_check_settle(const struct volume *volume, struct error *err);
/* append_lock held; the pointer has not been swapped yet. What was damaged in the old generation and
 * lives on in the next one is listed with its new place, the rest is forgotten. */
void volume_damage_follow(struct volume *volume, struct volume_generation *old,
                          struct volume_generation *next);

/* KELP_E_READ_ONLY, with the reason, when one of these bits is set. */
int volume_refuse(const struct volume *volume, unsigned blocking, struct error *err);
/* Counts a read's or write's outcome: the third KELP_E_IO in a row quarantines. */
void volume_note_io(struct volume *volume, int code);

/* state_lock held. Writes `info` to the .vif; KELP_E_CORRUPT when what is there could not be read. */
int volume_save_info(struct volume *volume, struct error *err);

/* Bare memory with locks and names; for volume_create and volume_open. */
int volume_allocate(struct volume **ret, const struct volume_place *place, struct error *err);
void volume_retain(struct volume *volume);
void volume_release(struct volume *volume);
