/* A generation: one open .dat, one open .idx, their needle index, and a compaction revision.
 *
 * Immutable but for appending: a vacuum builds a new one and swaps the volume's pointer. Whoever reads
 * holds a reference; the last one to leave closes the files. A generation keeps the memory of its volume
 * alive (volume_retain), so that a reader may finish after volume_close.
 *
 * Appending (record_writer.h) changes dat_end, the .idx and the index, and is done by one thread at a
 * time. All other members are constant once the generation is in use. */
#pragma once

#include "common/os.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/index/index_mark.h"
#include "volume/storage/index/needle_index.h"
#include "volume/storage/format/super_block.h"

#include <pthread.h>
#include <stdatomic.h>

struct volume_generation {
    atomic_uint references;
    struct os *os;
    int dat_fd;
    _Atomic(const char *) dat_path; /* for messages; see volume_generation_set_paths */
    struct index_file idx;
    struct needle_index *index;
    struct super_block super_block; /* as in the file */
    uint8_t version;                /* of the records, = super_block.version */
    uint8_t offset_bytes;
    bool is_writable;             /* the files are open for writing */
    uint64_t serial; /* no two of this process have the same */
    uint32_t volume_id;
    char *collection;
    struct index_store *index_store; /* where the index is kept; NULL: in memory */
    /* How far the rows of the .idx have been walked, and whether the index holds what they say: not when
     * it could be repaired in memory only. Of the thread that appends. */
    struct index_mark mark;
    bool is_marked;
    uint64_t checkpoint_end; /* the .idx is that long in the checkpoint it was loaded from; 0: it was not */
    _Atomic uint64_t synced_rows; /* bytes of the .idx that a sync has covered, the records with them */
    _Atomic uint64_t synced_end; /* the same of the .dat; what it was opened with counts as synced */
    _Atomic uint64_t dat_end;     /* logical end: where the next record goes, a multiple of 8 */
    pthread_mutex_t sync_lock; /* held by whoever syncs one of the files */
    bool has_sync_failed; /* under sync_lock; see volume_generation_sync */
    /* What lies below was synced for somebody who was told so: no vacuum may risk it. */
    _Atomic uint64_t promised_end;
    const atomic_bool *is_stopping; /* while it is loaded: nobody wants it any more, once set; may be NULL */
    void (*on_close)(void *ctx);  /* called last, when the memory is gone; may be NULL */
    void *on_close_ctx;
    char *owned_paths[4]; /* what dat_path and idx.path have ever pointed to */
};

static inline uint64_t volume_generation_end(const struct volume_generation *generation)
{
    return atomic_load_explicit(&generation->dat_end, memory_order_acquire);
}

/* KELP_E_CANCELLED once whoever loads it wants it no more. */
static inline int volume_generation_check_stop(const struct volume_generation *generation,
                                               struct error *err)
{
    if (!generation->is_stopping || !atomic_load_explicit(generation->is_stopping, memory_order_relaxed))
        return 0;
    return error_set(err, KELP_E_CANCELLED, "the server stops");
}

static inline void volume_generation_promise(struct volume_generation *generation, uint64_t end)
{
    if (end > atomic_load(&generation->promised_end))
        atomic_store(&generation->promised_end, end);
}

/* Which volume it is of, and where its index is kept. */
struct volume_generation_owner {
    uint32_t volume_id;
    struct index_store *index_store; /* NULL: in memory */
    const char *collection;          /* copied; NULL: "" */
};

/* An index for this generation, of the kind that its store says, empty. Seeded. */
int volume_generation_make_index(const struct volume_generation *generation, uint64_t expected,
                                 struct needle_index **ret, struct error *err);

/* Begins its mark anew, at the first row. `is_marked`: whether the index will follow the rows. */
void volume_generation_begin_mark(struct volume_generation *generation, bool is_marked);
void volume_generation_mark_place(struct volume_generation *generation,
                                  struct index_mark_place *ret);
/* Brings its mark up to the end of the .idx and seals it; only if all of that was synced does the mark ever
 * stand for the file without a look into it. False, and err untouched, when the index cannot
 * be said to hold what the rows say, or the rows do not cover the .dat; an error that kept the rows from
 * being read counts as that. By the thread that appends, between two flushes. */
bool volume_generation_seal_mark(struct volume_generation *generation);
/* If the index outlives the process and at least `rows` rows were added since the last mark: has it keep
 * one. Fails where the index does. */
int volume_generation_keep_mark(struct volume_generation *generation, uint64_t rows,
                                struct error *err);

/* Creates both files (they may exist as leftovers: they are emptied), writes the super block. Not synced.
 * `expected` needles are made room for in an empty index. On failure nothing is left
 * open; created files stay for the caller to remove. */
int volume_generation_create(struct volume_generation **ret, struct os *os,
                             const struct volume_generation_owner *owner, const char *dat_path,
                             const char *idx_path, const struct super_block *super_block,
                             uint8_t offset_bytes, uint64_t expected, struct error *err);
/* Opens existing files and reads the super block. The index is NULL, dat_end the file's size rounded up
 * to 8: for the loader to fill in. With !is_writable both are opened for reading only. */
int volume_generation_open(struct volume_generation **ret, struct os *os,
                           const struct volume_generation_owner *owner, const char *dat_path,
                           const char *idx_path, bool is_writable, uint8_t offset_bytes,
                           struct error *err);
/* References start at 1. */
void volume_generation_ref(struct volume_generation *generation);
void volume_generation_unref(struct volume_generation *generation); /* NULL is fine */
/* After a rename: the names that messages show from now on. Any thread reads them; one sets them. May be
 * called once in a generation's life. */
void volume_generation_set_paths(struct volume_generation *generation, const char *dat_path,
                                 const char *idx_path);
/* fsync of .dat and .idx. The kernel tells of what it could not write only once, to one of those that sync, and
 * does not try to write it again. So one syncs at a time, and once a sync has failed every later one
 * fails too, until somebody who knows about the disk says otherwise. Any thread; blocks. */
int volume_generation_sync(struct volume_generation *generation, struct error *err);
/* The same for the records alone, with fdatasync, and for the rows alone. */
int volume_generation_sync_records(struct volume_generation *generation, struct error *err);
int volume_generation_sync_rows(struct volume_generation *generation, struct error *err);
void volume_generation_forget_failed_sync(struct volume_generation *generation);
/* `next` is of the same files as `old`, nobody appends: what is known of old's syncs holds for it. */
void volume_generation_inherit_syncs(struct volume_generation *next, struct volume_generation *old);

/* Exactly n bytes of the .dat. `nowait`: KELP_E_AGAIN (and err untouched) unless all of it is in the page
 * cache. */
int volume_generation_pread(struct volume_generation *generation, void *buf, size_t n,
                            uint64_t offset, bool nowait, struct error *err);
/* Reads and parses one whole record for an entry into buf (needle_record_size bytes): checks size, key and
 * CRC. Knows the wrap of 4-byte offsets. `nowait`: only from the page cache, else KELP_E_AGAIN. */
int volume_generation_read(struct volume_generation *generation, const struct needle_entry *entry,
                           void *buf, bool nowait, struct needle *ret, struct error *err);
