/* The needle index of kind "leveldb".
 *
 * What is put waits in a table in memory, which is written in one batch, sorted by key, together with the
 * mark that covers it (keep). So a put does no I/O, and cannot fail, once its record is on disk; and after a
 * crash the database holds exactly the rows up to its mark: the rest is replayed from the .idx. A table
 * that grows too long before a mark comes (an index that is being filled) is written without one; then the
 * catalogue forgets what was there, and a crash means that it is filled again.
 *
 * A deleted entry keeps its offset, with its size negated, as in the other kinds. Counters are kept in
 * memory, and in the mark.
 *
 * Lookups that are answered without the database: of keys above the highest ever seen, of those that wait,
 * and, while an index is being filled, of most that were never put (key_filter.h). Others block: never on
 * an event loop.
 *
 * When the database cannot be written to, the table goes on growing for what is on disk already; the next
 * reserve is refused with the reason, so that nothing comes after it. When it cannot be read by a put or
 * delete that has happened, the counters are not exact any more: nothing is kept from then on, and the next
 * load goes on from the last mark. */
#include "volume/storage/index/needle_index_leveldb.h"

#include "common/check.h"
#include "volume/storage/index/index_store.h"
#include "volume/storage/index/key_filter.h"
#include "volume/storage/index/needle_counters.h"
#include "volume/storage/index/needle_merge.h"
#include "volume/storage/index/needle_pending.h"
#include "volume/storage/index/needle_window.h"

#include <pthread.h>
#include <stdlib.h>

#define PENDING_MOST (64u << 10) /* rows that wait without a mark: 2 MB */
#define MISSES_MOST  10000u /* so many lookups of new keys, and a filter of all keys is worth making */

struct leveldb_index {
    struct needle_index base;
    struct index_tenant tenant;
    uint8_t version;
    uint64_t seed;
    uint64_t to_come; /* so many puts and deletes are expected while it is being filled */
    uint64_t expected;
    struct needle_counters counters;
    uint32_t misses;
    pthread_mutex_t lock;      /* what follows, against readers; the writer changes it */
    struct key_filter *filter; /* all keys, while it is being filled; NULL: not yet, or not any more */
    struct needle_pending pending;
    uint32_t number; /* the tenant's, for readers */
    uint32_t reserved;
    bool has_failed; /* the last write; the writer's own, as are all members without a lock */
    bool is_inexact; /* a lookup failed */
    struct error failure;
};

static struct leveldb_index *of(struct needle_index *base) { return (struct leveldb_index *)base; }

/* ---- writing ---- */

static int write_pending(struct leveldb_index *index, const struct index_mark *mark, struct error *err)
{
    if (index->is_inexact)
        return error_set(err, KELP_E_IO, "%s", index->failure.message);
    struct needle_entry *rows = needle_pending_sorted(&index->pending);
    if (!rows)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to write %u index rows",
                         index->pending.count);
    int code = index_store_write(&index->tenant, rows, index->pending.count, mark, &index->failure);
    free(rows);
    index->has_failed = code != 0;
    if (code != 0)
        return error_set(err, code, "%s", index->failure.message);
    pthread_mutex_lock(&index->lock);
    needle_pending_clear(&index->pending);
    index->number = index->tenant.number;
    if (index->reserved > 0)
        CHECK(needle_pending_reserve(&index->pending, index->reserved));
    pthread_mutex_unlock(&index->lock);
    return 0;
}

static int leveldb_reserve(struct needle_index *base, uint64_t key, struct error *err)
{
    struct leveldb_index *index = of(base);
    if (index->has_failed || index->is_inexact)
        return error_set(err, KELP_E_IO, "its index cannot be written: %s", index->failure.message);
    pthread_mutex_lock(&index->lock);
    bool has_room = needle_pending_reserve(&index->pending, index->reserved + 1);
    pthread_mutex_unlock(&index->lock);
    if (!has_room)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for an index row");
    index->reserved++;
    return 0;
}

static void leveldb_unreserve(struct needle_index *base, uint64_t key)
{
    CHECK(of(base)->reserved > 0);
    of(base)->reserved--;
}

/* The table must not grow for ever while an index is filled. But for a load, which can fail, what it holds
 * has happened, and waits. */
static int limit_pending(struct leveldb_index *index, enum needle_index_event event, struct error *err)
{
    if (index->pending.count < PENDING_MOST)
        return 0;
    if (event == NEEDLE_INDEX_LOAD)
        return write_pending(index, NULL, err);
    if (!index->has_failed && !index->is_inexact)
        write_pending(index, NULL, NULL);
    return 0;
}

/* ---- looking up ---- */

static void set_filter(struct leveldb_index *index, struct key_filter *filter)
{
    pthread_mutex_lock(&index->lock);
    struct key_filter *old = index->filter;
    index->filter = filter;
    pthread_mutex_unlock(&index->lock);
    key_filter_destroy(old);
}

/* An index that is being filled in an order that is not that of the keys: from now on a filter tells most
 * new keys apart. If it cannot be had, the database is asked each time. */
static void make_filter(struct leveldb_index *index)
{
    struct key_filter *filter = key_filter_create(index->expected, index->seed);
    struct index_scan *scan = NULL;
    struct needle_entry row;
    int got = filter ? index_scan_open(&scan, index->tenant.store, index->tenant.number, NULL) : -1;
    while (got >= 0 && (got = index_scan_next(scan, &row, NULL)) == 1)
        key_filter_add(filter, row.key);
    index_scan_close(scan);
    for (uint32_t i = 0; got == 0 && i < index->pending.count; i++)
        key_filter_add(filter, index->pending.rows[i].key);
    if (got == 0)
        set_filter(index, filter);
    else
        key_filter_destroy(filter);
}

/* What the writer, who needs no lock to read its own table, finds. */
static int find_own(struct leveldb_index *index, uint64_t key, struct needle_entry *ret,
                    struct error *err)
{
    const struct needle_entry *row = needle_pending_find(&index->pending, key);
    if (row) {
        *ret = *row;
        return 0;
    }
    if (index->tenant.number == 0 || needle_counters_is_above(&index->counters, key) ||
        (index->filter && !key_filter_has(index->filter, key)))
        return KELP_E_NOT_FOUND;
    int code = index_store_get(index->tenant.store, index->tenant.number, key, ret, err);
    if (code == KELP_E_NOT_FOUND && index->to_come > 0 && ++index->misses == MISSES_MOST)
        make_filter(index);
    return code;
}

/* For a change: but for a load it has happened already, whatever the database says. */
static int find_old(struct leveldb_index *index, uint64_t key, enum needle_index_event event,
                    struct needle_entry *old, bool *ret_has_old, struct error *err)
{
    struct error why;
    int code = find_own(index, key, old, &why);
    *ret_has_old = code == 0;
    if (code == 0 || code == KELP_E_NOT_FOUND)
        return 0;
    if (event == NEEDLE_INDEX_LOAD)
        return error_set(err, code, "%s", why.message);
    index->is_inexact = true;
    index->failure = why;
    return 0;
}

static int leveldb_get_entry(struct needle_index *base, uint64_t key, struct needle_entry *ret,
                             struct error *err)
{
    struct leveldb_index *index = of(base);
    bool is_above = needle_counters_is_above(&index->counters, key);
    pthread_mutex_lock(&index->lock);
    const struct needle_entry *row = is_above ? NULL : needle_pending_find(&index->pending, key);
    bool is_pending = row != NULL;
    if (is_pending)
        *ret = *row;
    uint32_t number = index->number;
    pthread_mutex_unlock(&index->lock);
    if (is_pending)
        return 0;
    if (is_above || number == 0)
        return KELP_E_NOT_FOUND;
    return index_store_get(index->tenant.store, number, key, ret, err);
}

/* ---- changing ---- */

static void count_event(struct leveldb_index *index)
{
    if (index->to_come > 0 && --index->to_come == 0)
        set_filter(index, NULL); /* what comes now is little */
}

static int set_row(struct leveldb_index *index, const struct needle_entry *row, struct error *err)
{
    pthread_mutex_lock(&index->lock);
    bool has_room = needle_pending_reserve(&index->pending, 1);
    if (has_room)
        needle_pending_set(&index->pending, row);
    pthread_mutex_unlock(&index->lock);
    return has_room ? 0 : error_set(err, KELP_E_NO_MEMORY, "no memory for an index row");
}

static int leveldb_put_entry(struct needle_index *base, const struct needle_entry *entry,
                             enum needle_index_event event, struct error *err)
{
    struct leveldb_index *index = of(base);
    struct needle_entry old;
    CHECK(entry->offset != 0 && entry->size >= 0);
    bool has_old;
    int code = find_old(index, entry->key, event, &old, &has_old, err);
    if (code != 0)
        return code;
    if (index->reserved > 0)
        index->reserved--;
    if (event == NEEDLE_INDEX_RUNTIME && has_old && old.size >= 0 && old.offset >= entry->offset)
        return 0;
    code = set_row(index, entry, err);
    if (code != 0)
        return code;
    if (index->filter)
        key_filter_add(index->filter, entry->key);
    needle_counters_put(&index->counters, index->version, entry, has_old ? &old : NULL, event);
    count_event(index);
    return limit_pending(index, event, err);
}

static int leveldb_delete_entry(struct needle_index *base, uint64_t key,
                                enum needle_index_event event, struct error *err)
{
    struct leveldb_index *index = of(base);
    struct needle_entry old;
    bool has_old;
    int code = find_old(index, key, event, &old, &has_old, err);
    if (code != 0)
        return code;
    if (index->reserved > 0)
        index->reserved--;
    if (has_old && old.size >= 0) {
        const struct needle_entry row = {key, old.offset, needle_deleted_size(old.size)};
        code = set_row(index, &row, err);
        if (code != 0)
            return code;
    }
    needle_counters_delete(&index->counters, index->version, key, has_old ? &old : NULL, event);
    count_event(index);
    return limit_pending(index, event, err);
}

static void leveldb_stat(struct needle_index *base, struct needle_index_stat *ret)
{
    struct leveldb_index *index = of(base);
    needle_counters_stat(&index->counters, ret);
    pthread_mutex_lock(&index->lock);
    ret->memory_bytes = sizeof(*index) + needle_pending_bytes(&index->pending) +
                        key_filter_bytes(index->filter);
    pthread_mutex_unlock(&index->lock);
}

/* ---- what outlives the process ---- */

static int leveldb_recall(struct needle_index *base, struct index_mark *ret, struct error *err)
{
    struct leveldb_index *index = of(base);
    CHECK(index->pending.count == 0 && index->tenant.number == 0);
    int code = index_store_attach(&index->tenant, ret, err);
    if (code != 0)
        return code;
    needle_counters_restore(&index->counters, &ret->counters);
    index->to_come = 0;
    pthread_mutex_lock(&index->lock);
    index->number = index->tenant.number;
    pthread_mutex_unlock(&index->lock);
    return 0;
}

static int leveldb_keep(struct needle_index *base, const struct index_mark *mark, struct error *err)
{
    struct leveldb_index *index = of(base);
    int code = write_pending(index, mark, err);
    return code;
}

static int leveldb_clear(struct needle_index *base, struct error *err)
{
    struct leveldb_index *index = of(base);
    static const struct needle_index_stat nothing;
    int code = index_store_detach(&index->tenant, err);
    if (code != 0)
        return code;
    pthread_mutex_lock(&index->lock);
    needle_pending_clear(&index->pending);
    index->number = 0;
    pthread_mutex_unlock(&index->lock);
    needle_counters_restore(&index->counters, &nothing);
    set_filter(index, NULL);
    index->misses = 0;
    index->to_come = index->expected;
    return 0;
}

static void leveldb_retire(struct needle_index *base) { index_store_retire(&of(base)->tenant); }

/* ---- walks ---- */

static int leveldb_cursor_open(struct needle_index *base, enum needle_index_order order,
                               uint64_t offset_limit, struct needle_cursor **ret, struct error *err)
{
    struct leveldb_index *index = of(base);
    struct index_scan *scan = NULL;
    /* What waits is looked at first: what is written between the two is then seen twice, not missed. */
    pthread_mutex_lock(&index->lock);
    struct needle_entry *rows = needle_pending_sorted(&index->pending);
    uint32_t count = index->pending.count, number = index->number;
    pthread_mutex_unlock(&index->lock);
    int code = 0;
    if (!rows)
        code = error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
    if (code == 0 && number != 0)
        code = index_scan_open(&scan, index->tenant.store, number, err);
    if (code != 0) {
        free(rows);
        return code;
    }
    struct needle_source *source;
    code = needle_merge_create(&source, scan, rows, count, err);
    return code == 0 ? needle_window_create(ret, source, order, offset_limit, err) : code;
}

/* ---- life ---- */

static void leveldb_destroy(struct needle_index *base)
{
    struct leveldb_index *index = of(base);
    index_store_leave(&index->tenant);
    pthread_mutex_destroy(&index->lock);
    needle_pending_fini(&index->pending);
    key_filter_destroy(index->filter);
    free(index);
}

int needle_index_leveldb_create(struct needle_index **ret, const struct needle_index_config *config,
                                struct error *err)
{
    static const struct needle_index_ops ops = {
        .kind = "leveldb",
        .may_block = true,
        .destroy = leveldb_destroy,
        .get = leveldb_get_entry,
        .reserve = leveldb_reserve,
        .reserve_delete = leveldb_reserve,
        .unreserve = leveldb_unreserve,
        .put = leveldb_put_entry,
        .delete = leveldb_delete_entry,
        .stat = leveldb_stat,
        .cursor_open = leveldb_cursor_open,
        .recall = leveldb_recall,
        .keep = leveldb_keep,
        .clear = leveldb_clear,
        .retire = leveldb_retire,
    };
    struct leveldb_index *index = calloc(1, sizeof(*index));
    if (!index)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    index->base.ops = &ops;
    index->version = config->version;
    index->seed = config->seed;
    index->to_come = index->expected = config->expected;
    needle_pending_init(&index->pending, config->seed);
    CHECK(pthread_mutex_init(&index->lock, NULL) == 0);
    index_store_join(config->store, &index->tenant, config->collection, config->volume_id,
                     config->compact_revision);
    *ret = &index->base;
    return 0;
}
