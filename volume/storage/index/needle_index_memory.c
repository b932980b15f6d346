/* The needle index of kind "memory": counters, and a packed tree (packed_tree.h) of the entries.
 *
 * About 1 byte a needle where keys and records follow each other and the sizes are alike, up to 12 where
 * the keys are random. A get takes no lock and waits for nobody. What puts leave to be merged is done by
 * `maintain`, in the writer's idle moments, or by a later put: some 25 microseconds a time. */
#include "volume/storage/index/needle_index_memory.h"

#include "common/check.h"
#include "volume/storage/index/needle_counters.h"
#include "volume/storage/index/needle_fill.h"
#include "volume/storage/index/packed_tree.h"

#include <stdlib.h>

struct memory_index {
    struct needle_index base;
    struct needle_counters counters;
    struct needle_fill *fill; /* between fill_begin and fill_end */
    struct packed_tree tree;
};

static struct memory_index *of(struct needle_index *index) { return (struct memory_index *)index; }

static int memory_get(struct needle_index *base, uint64_t key, struct needle_entry *ret,
                      struct error *err)
{
    return packed_tree_get(&of(base)->tree, key, ret) ? 0 : KELP_E_NOT_FOUND;
}

static int memory_reserve(struct needle_index *base, uint64_t key, struct error *err)
{
    return packed_tree_reserve(&of(base)->tree, err);
}

static void memory_unreserve(struct needle_index *base, uint64_t key)
{
    packed_tree_unreserve(&of(base)->tree);
}

/* For a put or delete that changes nothing. */
static void give_reservation_back(struct memory_index *index)
{
    if (index->tree.reserved > 0)
        packed_tree_unreserve(&index->tree);
}

static int memory_put(struct needle_index *base, const struct needle_entry *entry,
                      enum needle_index_event event, struct error *err)
{
    struct memory_index *index = of(base);
    struct needle_entry old;
    CHECK(entry->offset != 0 && entry->size >= 0);
    if (index->fill)
        return needle_fill_add(index->fill, entry, event, err);
    bool is_known = packed_tree_get_own(&index->tree, entry->key, &old);
    if (event == NEEDLE_INDEX_RUNTIME && is_known && old.size >= 0 && old.offset >= entry->offset) {
        give_reservation_back(index);
        return 0;
    }
    int code = packed_tree_put(&index->tree, entry, err);
    if (code == 0)
        needle_counters_put(&index->counters, index->tree.version, entry, is_known ? &old : NULL, event);
    return code;
}

static int memory_delete(struct needle_index *base, uint64_t key, enum needle_index_event event,
                         struct error *err)
{
    struct memory_index *index = of(base);
    struct needle_entry old;
    if (index->fill)
        return needle_fill_add(index->fill, &(struct needle_entry){key, 0, NEEDLE_TOMBSTONE}, event, err);
    bool is_known = packed_tree_get_own(&index->tree, key, &old);
    if (is_known && old.size >= 0) {
        struct needle_entry deleted = {key, old.offset, needle_deleted_size(old.size)};
        int code = packed_tree_put(&index->tree, &deleted, err);
        if (code != 0)
            return code;
    } else {
        give_reservation_back(index);
    }
    needle_counters_delete(&index->counters, index->tree.version, key, is_known ? &old : NULL, event);
    return 0;
}

static void memory_stat(struct needle_index *base, struct needle_index_stat *ret)
{
    needle_counters_stat(&of(base)->counters, ret);
    ret->memory_bytes = sizeof(struct memory_index) + packed_tree_bytes(&of(base)->tree);
}

static bool memory_owes(const struct needle_index *base)
{
    return ((const struct memory_index *)base)->tree.owed_count > 0;
}

static bool memory_maintain(struct needle_index *base) { return packed_tree_maintain(&of(base)->tree); }

static int memory_fill_begin(struct needle_index *base, uint64_t expected, struct error *err)
{
    struct memory_index *index = of(base);
    CHECK(!index->fill);
    int code = packed_tree_settle(&index->tree, err);
    if (code != 0)
        return code;
    index->fill = needle_fill_create(&index->tree, &index->counters, expected);
    return index->fill ? 0 : error_set(err, KELP_E_NO_MEMORY, "no memory to fill a needle index");
}

static int memory_fill_end(struct needle_index *base, struct error *err)
{
    struct memory_index *index = of(base);
    int code = needle_fill_flush(index->fill, err);
    needle_fill_destroy(index->fill);
    index->fill = NULL;
    return code;
}

static void memory_destroy(struct needle_index *base)
{
    struct memory_index *index = of(base);
    needle_fill_destroy(index->fill);
    packed_tree_fini(&index->tree);
    free(index);
}

static int memory_cursor_open(struct needle_index *base, enum needle_index_order order,
                              uint64_t offset_limit, struct needle_cursor **ret, struct error *err)
{
    struct memory_index *index = of(base);
    uint64_t live = atomic_load_explicit(&index->counters.live_count, memory_order_relaxed);
    return memory_cursor_create(ret, &index->tree, live, order, offset_limit, err);
}

int needle_index_memory_create(struct needle_index **ret, const struct needle_index_config *config,
                               struct error *err)
{
    static const struct needle_index_ops ops = {
        .kind = "memory",
        .destroy = memory_destroy,
        .get = memory_get,
        .reserve = memory_reserve,
        .reserve_delete = memory_reserve,
        .unreserve = memory_unreserve,
        .put = memory_put,
        .delete = memory_delete,
        .stat = memory_stat,
        .cursor_open = memory_cursor_open,
        .owes = memory_owes,
        .maintain = memory_maintain,
        .fill_begin = memory_fill_begin,
        .fill_end = memory_fill_end,
    };
    struct memory_index *index = aligned_alloc(64, sizeof(*index));
    if (!index)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    memset(index, 0, sizeof(*index));
    index->base.ops = &ops;
    int code = packed_tree_init(&index->tree, config->version, config->seed, err);
    if (code != 0) {
        free(index);
        return code;
    }
    *ret = &index->base;
    return 0;
}

struct packed_tree *needle_index_memory_tree(struct needle_index *base)
{
    return base->ops->destroy == memory_destroy ? &of(base)->tree : NULL;
}

void needle_index_memory_restore(struct needle_index *base, const struct needle_index_stat *counters)
{
    needle_counters_restore(&of(base)->counters, counters);
}
