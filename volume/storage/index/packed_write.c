/* What changes a packed tree: putting, merging, filling. One thread. See packed_tree.h.
 *
 * A merge publishes the new leaf before it takes the delta away, and readers look into the delta first: at
 * each moment they find the newest entry in one of the two. */
#include "volume/storage/index/packed_tree_internal.h"

#include "common/check.h"
#include "volume/storage/index/packed_merge.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_DELTA   8u
#define FIRST_SPILL   32u
#define OWED_AT       (PACKED_DELTA_MAX * 3 / 4)
#define WORTH_MERGING (PACKED_DELTA_MAX / 2)

static void retire(struct packed_tree *tree, void *item)
{
    packed_tree_account(tree, NULL, item);
    reader_gate_retire(&tree->gate, item);
}

/* The top with slot i replaced by these leaves. */
static int replace_slot(struct packed_tree *tree, size_t i, struct packed_leaf **leaves, size_t count)
{
    struct packed_top *old = atomic_load(&tree->top);
    if (count == 1) {
        atomic_store(&old->slots[i].leaf, leaves[0]);
        atomic_store(&old->slots[i].delta, NULL);
        return 0;
    }
    struct packed_top *top = packed_top_create(old->count + count - 1);
    if (!top)
        return KELP_E_NO_MEMORY;
    for (size_t from = 0, to = 0; from < old->count; from++) {
        for (size_t leaf = 0; from == i && leaf < count; leaf++, to++) {
            top->low[to] = leaf == 0 ? old->low[i] : packed_leaf_first_key(leaves[leaf]);
            atomic_init(&top->slots[to].leaf, leaves[leaf]);
        }
        if (from == i)
            continue;
        top->low[to] = old->low[from];
        atomic_init(&top->slots[to].leaf, atomic_load(&old->slots[from].leaf));
        atomic_init(&top->slots[to].delta, atomic_load(&old->slots[from].delta));
        to++;
    }
    packed_tree_account(tree, top, NULL);
    atomic_store(&tree->top, top);
    retire(tree, old);
    return 0;
}

/* Merges the delta of slot i into its leaf. */
static int merge_slot(struct packed_tree *tree, size_t i)
{
    struct packed_slot *slot = &atomic_load(&tree->top)->slots[i];
    struct packed_delta *delta = atomic_load(&slot->delta);
    struct packed_leaf *old = atomic_load(&slot->leaf);
    struct needle_entry entries[PACKED_DELTA_MAX];
    struct packed_leaf *leaves[4];
    _Static_assert((PACKED_LEAF_MAX + PACKED_DELTA_MAX) / PACKED_LEAF_TARGET + 2 < 4, "merge limit");
    size_t count = packed_merge(old, entries, packed_delta_sorted(delta, entries), tree->version,
                                leaves);
    if (count == 0)
        return KELP_E_NO_MEMORY;
    bool is_kept = leaves[0] == old;
    if (replace_slot(tree, i, leaves, count) != 0) {
        for (size_t leaf = is_kept; leaf < count; leaf++)
            free(leaves[leaf]);
        return KELP_E_NO_MEMORY;
    }
    for (size_t leaf = is_kept; leaf < count; leaf++)
        packed_tree_account(tree, leaves[leaf], NULL);
    retire(tree, delta);
    if (!is_kept && old)
        retire(tree, old);
    reader_gate_sweep(&tree->gate);
    return 0;
}

static int grow_delta(struct packed_tree *tree, struct packed_slot *slot)
{
    struct packed_delta *old = atomic_load(&slot->delta);
    struct packed_delta *delta =
        packed_delta_create(old ? old->capacity * 2 : FIRST_DELTA, true, tree->seed);
    if (!delta)
        return KELP_E_NO_MEMORY;
    for (uint32_t i = 0; old && i < packed_delta_count(old); i++) {
        struct needle_entry entry;
        packed_delta_row(old, i, &entry);
        packed_delta_add(delta, &entry);
    }
    packed_tree_account(tree, delta, NULL);
    atomic_store(&slot->delta, delta);
    if (old)
        retire(tree, old);
    return 0;
}

/* The delta where an entry of the key goes, with room for it; NULL when memory is gone. */
static struct packed_delta *find_room(struct packed_tree *tree, uint64_t key)
{
    for (;;) {
        struct packed_top *top = atomic_load_explicit(&tree->top, memory_order_relaxed);
        size_t i = packed_top_seek(top, key);
        struct packed_delta *delta = atomic_load_explicit(&top->slots[i].delta, memory_order_relaxed);
        if (delta && packed_delta_count(delta) < delta->capacity)
            return delta;
        bool is_full = delta && delta->capacity == PACKED_DELTA_MAX;
        if ((is_full ? merge_slot(tree, i) : grow_delta(tree, &top->slots[i])) != 0)
            return NULL;
    }
}

static bool add(struct packed_tree *tree, const struct needle_entry *entry)
{
    struct packed_delta *delta = find_room(tree, entry->key);
    if (!delta)
        return false;
    packed_delta_add(delta, entry);
    if (packed_delta_count(delta) == OWED_AT && tree->owed_count < PACKED_TREE_OWED)
        tree->owed[tree->owed_count++] = entry->key;
    return true;
}

static void note_highest(struct packed_tree *tree, uint64_t key, uint64_t offset)
{
    if (tree->is_empty || key > tree->highest)
        tree->highest = key;
    if (offset > atomic_load_explicit(&tree->high_offset, memory_order_relaxed))
        atomic_store_explicit(&tree->high_offset, offset, memory_order_relaxed);
    tree->is_empty = false;
}

/* ---- the spill ---- */

/* Brings what was spilled into the leaves; all of it, or the spill stays as it is: it goes before them. */
static bool drain_spill(struct packed_tree *tree)
{
    struct packed_delta *spill = atomic_load_explicit(&tree->spill, memory_order_relaxed);
    uint32_t count = spill ? packed_delta_count(spill) : 0;
    if (count == 0)
        return true;
    struct packed_delta *fresh = packed_delta_create(spill->capacity, false, 0);
    bool is_done = fresh != NULL;
    for (uint32_t i = 0; is_done && i < count; i++) {
        struct needle_entry entry;
        packed_delta_row(spill, i, &entry);
        is_done = add(tree, &entry);
    }
    if (!is_done) {
        free(fresh);
        return false;
    }
    packed_tree_account(tree, fresh, NULL);
    atomic_store(&tree->spill, fresh);
    retire(tree, spill);
    return true;
}

int packed_tree_reserve(struct packed_tree *tree, struct error *err)
{
    struct packed_delta *old = atomic_load_explicit(&tree->spill, memory_order_relaxed);
    uint32_t count = old ? packed_delta_count(old) : 0;
    if (!old || count + tree->reserved + 1 > old->capacity) {
        struct packed_delta *spill =
            packed_delta_create(old ? old->capacity * 2 : FIRST_SPILL, false, 0);
        if (!spill)
            return error_set(err, KELP_E_NO_MEMORY, "no memory to add to a needle index");
        for (uint32_t i = 0; i < count; i++) {
            struct needle_entry entry;
            packed_delta_row(old, i, &entry);
            packed_delta_add(spill, &entry);
        }
        packed_tree_account(tree, spill, NULL);
        atomic_store(&tree->spill, spill);
        if (old)
            retire(tree, old);
    }
    tree->reserved++;
    return 0;
}

void packed_tree_unreserve(struct packed_tree *tree)
{
    CHECK(tree->reserved > 0);
    tree->reserved--;
}

int packed_tree_put(struct packed_tree *tree, const struct needle_entry *entry, struct error *err)
{
    if (!drain_spill(tree) || !add(tree, entry)) {
        if (tree->reserved == 0)
            return error_set(err, KELP_E_NO_MEMORY, "no memory to add to a needle index");
        packed_delta_add(atomic_load_explicit(&tree->spill, memory_order_relaxed), entry);
    }
    if (tree->reserved > 0)
        tree->reserved--;
    note_highest(tree, entry->key, entry->offset);
    return 0;
}

/* ---- when nobody waits ---- */

bool packed_tree_maintain(struct packed_tree *tree)
{
    reader_gate_sweep(&tree->gate);
    while (tree->owed_count > 0) {
        struct packed_top *top = atomic_load_explicit(&tree->top, memory_order_relaxed);
        size_t i = packed_top_seek(top, tree->owed[--tree->owed_count]);
        struct packed_delta *delta = atomic_load_explicit(&top->slots[i].delta, memory_order_relaxed);
        if (delta && packed_delta_count(delta) >= WORTH_MERGING && merge_slot(tree, i) == 0)
            return true;
    }
    return false;
}

int packed_tree_settle(struct packed_tree *tree, struct error *err)
{
    bool is_done = drain_spill(tree);
    /* From the end: a merge that makes more leaves moves none that are before it. */
    for (size_t i = atomic_load(&tree->top)->count; is_done && i > 0; i--)
        if (atomic_load(&atomic_load(&tree->top)->slots[i - 1].delta))
            is_done = merge_slot(tree, i - 1) == 0;
    reader_gate_sweep(&tree->gate);
    return is_done ? 0 : error_set(err, KELP_E_NO_MEMORY, "no memory to merge a needle index");
}

/* ---- in bulk ---- */

/* Puts the leaves in place of what the top holds. */
static int set_leaves(struct packed_tree *tree, struct packed_leaf **leaves, size_t count,
                      struct error *err)
{
    struct packed_top *top = packed_top_create(count > 0 ? count : 1);
    if (!top)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    for (size_t i = 0; i < count; i++) {
        note_highest(tree, leaves[i]->last_key, leaves[i]->high_offset);
        atomic_init(&top->slots[i].leaf, leaves[i]);
        top->low[i] = i == 0 ? 0 : packed_leaf_first_key(leaves[i]);
    }
    struct packed_top *old = atomic_load(&tree->top);
    packed_tree_account(tree, top, old);
    atomic_store(&tree->top, top);
    free(old);
    return 0;
}

int packed_tree_adopt(struct packed_tree *tree, struct packed_leaf **leaves, size_t count,
                      struct error *err)
{
    CHECK(tree->is_empty);
    int code = set_leaves(tree, leaves, count, err);
    for (size_t i = 0; code == 0 && i < count; i++)
        packed_tree_account(tree, leaves[i], NULL);
    return code;
}

int packed_tree_fill(struct packed_tree *tree, const struct needle_entry *entries, size_t count,
                     struct error *err)
{
    struct packed_top *top = atomic_load(&tree->top);
    size_t held = 0, made = 0, at = 0;
    bool is_failed = false;
    for (size_t i = 0; i < top->count; i++) {
        struct packed_leaf *leaf = atomic_load(&top->slots[i].leaf);
        CHECK(!atomic_load(&top->slots[i].delta));
        held += leaf ? leaf->count : 0;
    }
    struct packed_leaf **leaves =
        malloc((packed_merge_limit(held, count) + 2 * top->count) * sizeof(struct packed_leaf *));
    if (!leaves)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    for (size_t i = 0; i < top->count; i++) {
        struct packed_leaf *old = atomic_load(&top->slots[i].leaf);
        size_t end = at;
        while (end < count && (i + 1 == top->count || entries[end].key < top->low[i + 1]))
            end++;
        size_t parts = 0;
        if (end > at && !is_failed) {
            parts = packed_merge(old, entries + at, end - at, tree->version, leaves + made);
            is_failed = parts == 0;
        }
        for (size_t part = parts > 0 && leaves[made] == old; part < parts; part++)
            packed_tree_account(tree, leaves[made + part], NULL);
        if (parts == 0 && old) {
            leaves[made + parts++] = old;
        } else if (parts > 0 && old && leaves[made] != old) {
            packed_tree_account(tree, NULL, old);
            free(old);
        }
        made += parts;
        at = end;
    }
    int code = set_leaves(tree, leaves, made, err);
    if (code != 0) { /* the old top knows leaves that are gone: nothing is left */
        for (size_t i = 0; i < made; i++)
            free(leaves[i]);
        for (size_t i = 0; i < top->count; i++)
            atomic_store(&top->slots[i].leaf, NULL);
        tree->is_empty = true;
    } else if (is_failed) {
        code = error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    }
    free(leaves);
    return code;
}
