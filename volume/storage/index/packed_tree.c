/* The tree's own life, looking up and reading; packed_write.c changes it. See the header. */
#include "volume/storage/index/packed_tree_internal.h"

#include "common/check.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>

void packed_tree_account(struct packed_tree *tree, void *added, void *removed)
{
    uint64_t bytes = added ? malloc_usable_size(added) + sizeof(size_t) : 0;
    bytes -= removed ? malloc_usable_size(removed) + sizeof(size_t) : 0;
    atomic_fetch_add_explicit(&tree->bytes, bytes, memory_order_relaxed);
}

struct packed_top *packed_top_create(size_t count)
{
    struct packed_top *top =
        malloc(sizeof(*top) + count * (sizeof(struct packed_slot) + sizeof(uint64_t)));
    if (!top)
        return NULL;
    top->count = count;
    top->low = (uint64_t *)&top->slots[count];
    for (size_t i = 0; i < count; i++) {
        atomic_init(&top->slots[i].delta, NULL);
        atomic_init(&top->slots[i].leaf, NULL);
        top->low[i] = 0;
    }
    return top;
}

int packed_tree_init(struct packed_tree *tree, uint8_t version, uint64_t seed, struct error *err)
{
    memset(tree, 0, sizeof(*tree));
    tree->version = version;
    tree->seed = seed;
    tree->is_empty = true;
    struct packed_top *top = packed_top_create(1);
    if (!top)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a needle index");
    atomic_store(&tree->top, top);
    packed_tree_account(tree, top, NULL);
    return 0;
}

void packed_tree_fini(struct packed_tree *tree)
{
    struct packed_top *top = atomic_load(&tree->top);
    for (size_t i = 0; top && i < top->count; i++) {
        free(atomic_load(&top->slots[i].delta));
        free(atomic_load(&top->slots[i].leaf));
    }
    free(top);
    free(atomic_load(&tree->spill));
    reader_gate_fini(&tree->gate);
    atomic_store(&tree->top, NULL);
    atomic_store(&tree->spill, NULL);
}

uint64_t packed_tree_bytes(struct packed_tree *tree)
{
    return atomic_load_explicit(&tree->bytes, memory_order_relaxed);
}

size_t packed_top_seek(const struct packed_top *top, uint64_t key)
{
    const uint64_t *low = top->low;
    size_t count = top->count;
    while (count > 1) { /* the compiler makes a conditional move of it */
        size_t half = count / 2;
        low = low[half] <= key ? low + half : low;
        count -= half;
    }
    return (size_t)(low - top->low);
}

static bool find(struct packed_tree *tree, uint64_t key, struct needle_entry *ret)
{
    struct packed_delta *spill = atomic_load(&tree->spill);
    if (spill && packed_delta_count(spill) > 0 && packed_delta_find(spill, key, ret))
        return true;
    struct packed_top *top = atomic_load(&tree->top);
    struct packed_slot *slot = &top->slots[packed_top_seek(top, key)];
    struct packed_delta *delta = atomic_load(&slot->delta);
    struct packed_leaf *leaf = atomic_load(&slot->leaf);
    __builtin_prefetch(leaf); /* it comes while the delta is looked through */
    if (delta && packed_delta_find(delta, key, ret))
        return true;
    return leaf && packed_leaf_find(leaf, tree->version, key, ret);
}

bool packed_tree_get(struct packed_tree *tree, uint64_t key, struct needle_entry *ret)
{
    _Atomic uint32_t *inside = reader_gate_enter(&tree->gate);
    bool is_found = find(tree, key, ret);
    reader_gate_leave(inside);
    return is_found;
}

bool packed_tree_get_own(struct packed_tree *tree, uint64_t key, struct needle_entry *ret)
{
    return !tree->is_empty && key <= tree->highest && find(tree, key, ret);
}

/* ---- reading a leaf ---- */

struct piece {
    struct needle_entry *entries;
    size_t count;
    uint64_t next;
    bool has_next;
};

static void read_merged(const struct packed_leaf *leaf, uint8_t version, uint64_t key,
                        const struct needle_entry *fresh, size_t fresh_count, struct piece *piece)
{
    struct needle_entry buffer[PACKED_BLOCK_ENTRIES];
    size_t blocks = leaf ? packed_leaf_blocks(leaf) : 0, i = 0;
    for (size_t block = leaf ? packed_leaf_seek(leaf, key) : 0; block < blocks; block++) {
        size_t held = packed_leaf_decode(leaf, block, version, buffer);
        for (size_t at = 0; at < held; at++) {
            while (i < fresh_count && fresh[i].key < buffer[at].key)
                piece->entries[piece->count++] = fresh[i++];
            if (i < fresh_count && fresh[i].key == buffer[at].key)
                piece->entries[piece->count++] = fresh[i++];
            else if (buffer[at].key >= key)
                piece->entries[piece->count++] = buffer[at];
        }
    }
    while (i < fresh_count)
        piece->entries[piece->count++] = fresh[i++];
}

/* Puts an entry of the spill into its place; what no longer fits is left for the next piece. */
static void read_spilled(struct piece *piece, const struct needle_entry *entry)
{
    size_t at = piece->count;
    while (at > 0 && piece->entries[at - 1].key >= entry->key)
        at--;
    if (at == PACKED_TREE_PIECE)
        return; /* piece->next is below it */
    if (at < piece->count && piece->entries[at].key == entry->key) {
        piece->entries[at] = *entry;
        return;
    }
    if (piece->count == PACKED_TREE_PIECE) {
        piece->next = piece->entries[--piece->count].key;
        piece->has_next = true;
    }
    memmove(&piece->entries[at + 1], &piece->entries[at], (piece->count - at) * sizeof(*entry));
    piece->entries[at] = *entry;
    piece->count++;
}

static void read_spill(struct packed_delta *spill, uint64_t key, struct piece *piece)
{
    uint32_t rows = spill ? packed_delta_count(spill) : 0;
    for (uint32_t i = 0; i < rows; i++) { /* the newest of a key comes last */
        struct needle_entry entry;
        packed_delta_row(spill, i, &entry);
        if (entry.key >= key && (!piece->has_next || entry.key < piece->next))
            read_spilled(piece, &entry);
    }
}

bool packed_tree_read_leaf(struct packed_tree *tree, uint64_t key, uint64_t low_offset,
                           uint64_t high_offset, struct needle_entry *ret, size_t *ret_count,
                           uint64_t *ret_next)
{
    struct needle_entry fresh[PACKED_DELTA_MAX];
    struct piece piece = {.entries = ret};
    size_t fresh_count = 0, from = 0;
    _Atomic uint32_t *inside = reader_gate_enter(&tree->gate);
    struct packed_delta *spill = atomic_load(&tree->spill);
    struct packed_top *top = atomic_load(&tree->top);
    size_t i = packed_top_seek(top, key);
    struct packed_delta *delta = atomic_load(&top->slots[i].delta);
    if (delta)
        fresh_count = packed_delta_sorted(delta, fresh);
    while (from < fresh_count && fresh[from].key < key)
        from++;
    struct packed_leaf *leaf = atomic_load(&top->slots[i].leaf);
    if (leaf && (leaf->high_offset < low_offset || leaf->low_offset >= high_offset))
        leaf = NULL;
    piece.has_next = i + 1 < top->count;
    piece.next = piece.has_next ? top->low[i + 1] : 0;
    read_merged(leaf, tree->version, key, fresh + from, fresh_count - from, &piece);
    read_spill(spill, key, &piece);
    reader_gate_leave(inside);
    *ret_count = piece.count;
    *ret_next = piece.next;
    return piece.has_next;
}
