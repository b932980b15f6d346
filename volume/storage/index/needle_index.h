/* The needle index: where each needle of one generation lies. One interface, several kinds.
 *
 * Every entry that was ever put stays: a deleted one keeps its offset, with its size negated (0 becomes
 * -1), so that reads of deleted needles and the cookie rule of overwrites work. Rows are written to the
 * .idx by the caller, not here. Counters: spec/storage-format.md 9.1.
 *
 * Threads: get, stat and cursors from any thread, at any time; all other calls from one thread at a time
 * (the holder of the volume's append lock, or the only owner of a generation that is being built).
 * Nobody waits for a table that grows. */
#pragma once

#include "volume/storage/format/needle.h"

struct needle_index;

struct needle_index_stat {
    uint64_t file_count, file_bytes;         /* puts seen, and their body bytes: they only grow */
    uint64_t deletion_count, deletion_bytes; /* deletes and overwrites seen */
    uint64_t max_key;
    uint64_t live_count;        /* exact, empty needles included */
    uint64_t live_record_bytes; /* exact: whole records of the live entries */
    uint64_t memory_bytes;
    /* What the three would be, had the same rows been loaded from an .idx: where an index is taken up
     * again from a mark (index_mark.h), it goes on from these. */
    uint64_t loaded_file_count, loaded_deletion_count, loaded_max_key;
};

/* Whether an event happens now or is read back from a log: they count differently. */
enum needle_index_event {
    NEEDLE_INDEX_RUNTIME,
    NEEDLE_INDEX_LOAD,           /* a row of an .idx */
    NEEDLE_INDEX_LOAD_COMPACTED, /* a row of a fresh .cpx */
};

enum needle_index_order { NEEDLE_INDEX_BY_OFFSET, NEEDLE_INDEX_BY_KEY };

struct needle_cursor;
struct index_mark;

struct needle_index_ops {
    const char *kind;
    bool may_block; /* get may wait for a disk: not for an event loop */
    void (*destroy)(struct needle_index *);
    int (*get)(struct needle_index *, uint64_t key, struct needle_entry *ret, struct error *err);
    int (*reserve)(struct needle_index *, uint64_t key, struct error *err);
    int (*reserve_delete)(struct needle_index *, uint64_t key, struct error *err);
    void (*unreserve)(struct needle_index *, uint64_t key);
    int (*put)(struct needle_index *, const struct needle_entry *, enum needle_index_event,
               struct error *err);
    int (*delete)(struct needle_index *, uint64_t key, enum needle_index_event, struct error *err);
    void (*stat)(struct needle_index *, struct needle_index_stat *ret);
    int (*cursor_open)(struct needle_index *, enum needle_index_order, uint64_t offset_limit,
                       struct needle_cursor **ret, struct error *err);
    bool (*owes)(const struct needle_index *); /* NULL, with maintain: nothing is ever owed */
    bool (*maintain)(struct needle_index *);
    /* NULL: filling is nothing special. */
    int (*fill_begin)(struct needle_index *, uint64_t expected, struct error *err);
    int (*fill_end)(struct needle_index *, struct error *err);
    /* Of an index that outlives the process; NULL: it does not. */
    int (*recall)(struct needle_index *, struct index_mark *ret, struct error *err);
    int (*keep)(struct needle_index *, const struct index_mark *, struct error *err);
    int (*clear)(struct needle_index *, struct error *err);
    void (*retire)(struct needle_index *);
};

struct needle_cursor_ops {
    int (*next)(struct needle_cursor *, const struct needle_entry **ret, size_t *ret_count,
                struct error *err);
    void (*close)(struct needle_cursor *);
};

struct needle_index {
    const struct needle_index_ops *ops;
};

/* Where the indexes of a disk's volumes are kept (index_store.h); NULL: in memory. */
struct index_store;

struct needle_index_config {
    struct index_store *store;
    const char *collection; /* with the id it names the volume; NULL: "" */
    uint32_t volume_id;
    uint16_t compact_revision;
    uint8_t version;   /* of the records: sizes them for the live counters */
    uint64_t seed;     /* os_random: keeps chosen keys from piling up */
    uint64_t expected; /* that many needles are made room for */
};
struct needle_cursor {
    const struct needle_cursor_ops *ops;
};

/* An empty index of the kind "memory", whatever config->store says. */
int needle_index_memory_create(struct needle_index **ret, const struct needle_index_config *config,
                               struct error *err);

static inline void needle_index_destroy(struct needle_index *index)
{
    if (index)
        index->ops->destroy(index);
}
/* KELP_E_NOT_FOUND (err is left as it is) when the key was never put; deleted: size < 0. Any other error:
 * it could not be looked up. A kind that may not block knows no other error. */
static inline int needle_index_get(struct needle_index *index, uint64_t key,
                                   struct needle_entry *ret, struct error *err)
{
    return index->ops->get(index, key, ret, err);
}
static inline bool needle_index_may_block(const struct needle_index *index)
{
    return index->ops->may_block;
}
/* Make room for one put of this key, or one delete, so that it, which comes after its record is on disk,
 * cannot fail for want of memory. Each of these is followed by one put, delete or unreserve of the key. */
static inline int needle_index_reserve(struct needle_index *index, uint64_t key, struct error *err)
{
    return index->ops->reserve(index, key, err);
}
static inline int needle_index_reserve_delete(struct needle_index *index, uint64_t key,
                                              struct error *err)
{
    return index->ops->reserve_delete(index, key, err);
}
static inline void needle_index_unreserve(struct needle_index *index, uint64_t key)
{
    index->ops->unreserve(index, key);
}
/* entry->offset is not 0, size >= 0. Without a reservation it may fail with KELP_E_NO_MEMORY. At run time
 * an entry that lies at a higher offset already is left as it is (spec 12.7). */
static inline int needle_index_put(struct needle_index *index, const struct needle_entry *entry,
                                   enum needle_index_event event, struct error *err)
{
    return index->ops->put(index, entry, event, err);
}
/* An unknown or deleted key only counts. Without a reservation it may fail with KELP_E_NO_MEMORY. */
static inline int needle_index_delete(struct needle_index *index, uint64_t key,
                                      enum needle_index_event event, struct error *err)
{
    return index->ops->delete(index, key, event, err);
}
static inline void needle_index_stat(struct needle_index *index, struct needle_index_stat *ret)
{
    index->ops->stat(index, ret);
}
/* Whether earlier puts have left something to be done. Costs nothing. */
static inline bool needle_index_owes(const struct needle_index *index)
{
    return index->ops->owes && index->ops->owes(index);
}
/* One bounded step (well below a millisecond) of it, for when nobody waits: the index stays small, and a
 * later put quick, by it. The writer's thread, like put. False: nothing is owed. */
static inline bool needle_index_maintain(struct needle_index *index)
{
    return index->ops->maintain && index->ops->maintain(index);
}

/* Many puts and deletes in a row, events of one kind that is not RUNTIME, are quicker between these two,
 * and are in the index after the second. In between nobody else may use the index, and it can only be put
 * to, deleted from, and destroyed. `expected`: how many come, about. After a failure, of the two or of what
 * stands between them, it can only be destroyed. */
static inline int needle_index_fill_begin(struct needle_index *index, uint64_t expected,
                                          struct error *err)
{
    return index->ops->fill_begin ? index->ops->fill_begin(index, expected, err) : 0;
}
static inline int needle_index_fill_end(struct needle_index *index, struct error *err)
{
    return index->ops->fill_end ? index->ops->fill_end(index, err) : 0;
}

/* An index that outlives the process (is_kept) stores with its entries how far it has come in the .idx.
 *
 * recall: the mark that goes with what the index holds; KELP_E_NOT_FOUND when there is none, and then, or
 * when the mark does not hold (index_mark_check), `clear` empties the index, counters included. After a
 * recall the counters are those of the mark.
 * keep: stores the mark, for a later recall, with all puts and deletes so far, which are those of the
 * rows up to the mark. */
static inline bool needle_index_is_kept(const struct needle_index *index)
{
    return index->ops->keep != NULL;
}
static inline int needle_index_recall(struct needle_index *index, struct index_mark *ret,
                                      struct error *err)
{
    return index->ops->recall(index, ret, err);
}
static inline int needle_index_keep(struct needle_index *index, const struct index_mark *mark,
                                    struct error *err)
{
    return index->ops->keep(index, mark, err);
}
static inline int needle_index_clear(struct needle_index *index, struct error *err)
{
    return index->ops->clear(index, err);
}
/* Nobody will take this index up again: its generation was replaced or never came to be. What is kept of
 * it goes when it is destroyed. Any thread; a kind that is not kept has nothing to do. */
static inline void needle_index_retire(struct needle_index *index)
{
    if (index->ops->retire)
        index->ops->retire(index);
}

/* Walks the live entries with offset < offset_limit (UINT64_MAX: all) in order, in pieces of bounded
 * memory, while the writer goes on. An entry that is live, unmoved, from open to close is delivered once.
 * One that is deleted or overwritten meanwhile may be delivered or not: whoever needs an exact picture
 * applies the .idx rows written since (with offset_limit = the .dat end at that mark, overwrites drop
 * out by themselves). The index must outlive the cursor. */
static inline int needle_cursor_open(struct needle_index *index, enum needle_index_order order,
                                     uint64_t offset_limit, struct needle_cursor **ret,
                                     struct error *err)
{
    return index->ops->cursor_open(index, order, offset_limit, ret, err);
}
/* The next piece, valid until the next call; *ret_count 0 at the end. */
static inline int needle_cursor_next(struct needle_cursor *cursor, const struct needle_entry **ret,
                                     size_t *ret_count, struct error *err)
{
    return cursor->ops->next(cursor, ret, ret_count, err);
}
static inline void needle_cursor_close(struct needle_cursor *cursor)
{
    if (cursor)
        cursor->ops->close(cursor);
}
