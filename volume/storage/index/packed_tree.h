/* The ordered map below the needle index of kind "memory": leaves of some thousand packed entries, the
 * new entries beside each of them, and one array of the leaves by their lowest keys.
 *
 *   top ---> low[0]      low[1]      low[2] ...
 *            leaf delta  leaf delta  leaf delta
 *
 * A put goes into the delta of its leaf. When that is full (128 entries, a sixteenth of a leaf), leaf
 * and delta are built into a new leaf: some 25 microseconds, of which `maintain` takes as many as it can
 * off the puts. Blocks before the first new key are copied as they are, so that keys that rise, as they
 * mostly do, only ever cost the last blocks.
 *
 * Threads: one writer; get and read_leaf from any thread at any time, without a lock (reader_gate.h). What
 * a merge replaces stays for those who are reading it.
 *
 * A put that was reserved cannot fail: where a merge finds no memory, the entry goes into the spill, for
 * which reserve made room, and later puts empty it. Entries are replaced, never taken away. */
#pragma once

#include "common/error.h"
#include "volume/storage/index/packed_delta.h"
#include "volume/storage/index/packed_leaf.h"

struct packed_slot {
    _Atomic(struct packed_delta *) delta; /* NULL: nothing new. Loaded before the leaf, stored after it */
    _Atomic(struct packed_leaf *) leaf;   /* NULL: only in a tree that is all new */
};

struct packed_top {
    struct gate_item item;
    size_t count;              /* at least 1 */
    uint64_t *low;             /* low[0] is 0; a leaf has the keys from its own low to the next */
    struct packed_slot slots[];
};

#define PACKED_TREE_OWED 8u

struct packed_tree {
    struct reader_gate gate;
    _Atomic(struct packed_top *) top;
    _Atomic(struct packed_delta *) spill; /* NULL: never reserved */
    _Atomic uint64_t bytes;               /* all memory that it holds, this struct aside */
    _Atomic uint64_t high_offset;         /* no entry lies above it */
    /* The writer's. */
    uint8_t version;
    uint64_t seed;
    uint64_t highest; /* of all keys; with is_empty false */
    bool is_empty;
    uint32_t reserved;
    uint32_t owed_count;
    uint64_t owed[PACKED_TREE_OWED]; /* keys whose leaves had better be merged soon */
};

int packed_tree_init(struct packed_tree *tree, uint8_t version, uint64_t seed, struct error *err);
void packed_tree_fini(struct packed_tree *tree);

/* Any thread. */
bool packed_tree_get(struct packed_tree *tree, uint64_t key, struct needle_entry *ret);
/* Writer only: the same, quicker for a key above all others. */
bool packed_tree_get_own(struct packed_tree *tree, uint64_t key, struct needle_entry *ret);

/* Room for one put that cannot fail. */
int packed_tree_reserve(struct packed_tree *tree, struct error *err);
void packed_tree_unreserve(struct packed_tree *tree);
/* Adds or replaces; an offset below 2^43. Takes a reservation if there is one. KELP_E_NO_MEMORY without
 * one: nothing has changed. */
int packed_tree_put(struct packed_tree *tree, const struct needle_entry *entry, struct error *err);
/* One merge, if one is owed. False: nothing was. */
bool packed_tree_maintain(struct packed_tree *tree);
/* Merges all that is new. */
int packed_tree_settle(struct packed_tree *tree, struct error *err);

/* Adds or replaces many, their keys rising, while nobody else uses the tree; all is settled in it. On
 * failure the tree is good for packed_tree_fini only. */
int packed_tree_fill(struct packed_tree *tree, const struct needle_entry *entries, size_t count,
                     struct error *err);
/* Puts finished leaves into an empty tree and owns them; their keys rise. On failure they stay the
 * caller's. */
int packed_tree_adopt(struct packed_tree *tree, struct packed_leaf **leaves, size_t count,
                      struct error *err);

/* The entries of the leaf that holds `key` that are at or above it, by key; from any thread, as they are
 * at this moment. `ret` has room for PACKED_TREE_PIECE. *ret_next: the lowest key that may come after;
 * false when there is none. Leaves without an offset in [low_offset, high_offset) may give nothing. */
#define PACKED_TREE_PIECE (PACKED_LEAF_MAX + PACKED_DELTA_MAX)
bool packed_tree_read_leaf(struct packed_tree *tree, uint64_t key, uint64_t low_offset,
                           uint64_t high_offset, struct needle_entry *ret, size_t *ret_count,
                           uint64_t *ret_next);
uint64_t packed_tree_bytes(struct packed_tree *tree);
