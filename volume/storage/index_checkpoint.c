/* Writing and reading checkpoints. See the header for the byte table. */
#include "volume/storage/index_checkpoint.h"

#include "common/check.h"
#include "volume/storage/index/needle_index_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const char magic[8] = {'k', 'e', 'l', 'p', 'k', 'i', 'x', '1'};

#define MARK_AT       16u
#define HEADS_HASH_AT 248u
#define HASH_AT       256u
#define HEADS_AT      264u
#define HEAD_SIZE     40u
_Static_assert(MARK_AT + INDEX_MARK_SIZE == HEADS_HASH_AT, "the byte table of index_checkpoint.h");

/* NULL when the .idx has no name that a checkpoint's can be made of: it is not in its place yet. */
static char *path_of(const struct volume_generation *generation)
{
    const char *idx = generation->idx.path;
    size_t length = strlen(idx);
    if (length < 4 || strcmp(idx + length - 4, ".idx") != 0)
        return NULL;
    char *path = must(strdup(idx));
    memcpy(path + length - 3, "kix", 3);
    return path;
}

static int remove_at(struct os *os, const char *path, struct error *err)
{
    int result = os_unlink(os, path);
    return result < 0 && result != -ENOENT ? error_set_errno(err, -result, "unlink %s", path) : 0;
}

int index_checkpoint_remove(struct volume_generation *generation, struct error *err)
{
    char *path = path_of(generation);
    int code = path ? remove_at(generation->os, path, err) : 0;
    free(path);
    return code;
}

/* ---- writing ---- */

static void store_head(uint8_t *head, const struct packed_leaf *leaf)
{
    store_le32(head, leaf->count);
    store_le32(head + 4, leaf->size);
    store_le64(head + 8, leaf->last_key);
    store_le64(head + 16, leaf->low_offset);
    store_le64(head + 24, leaf->high_offset);
    store_le64(head + 32, XXH3_64bits(leaf->data, leaf->size));
}

static int write_leaves(struct volume_generation *generation, int fd, const char *path,
                        const struct packed_top *top, struct error *err)
{
    size_t start_size = HEADS_AT + top->count * HEAD_SIZE;
    uint8_t *start = calloc(1, start_size);
    if (!start)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to write %s", path);
    uint64_t at = start_size;
    int code = 0;
    for (size_t i = 0; code == 0 && i < top->count; i++) {
        struct packed_leaf *leaf = atomic_load(&top->slots[i].leaf);
        struct iovec iov = {leaf->data, leaf->size};
        code = os_write_full(generation->os, fd, path, &iov, 1, at, err);
        store_head(start + HEADS_AT + i * HEAD_SIZE, leaf);
        at += leaf->size;
    }
    memcpy(start, magic, sizeof(magic));
    store_le32(start + 8, (uint32_t)top->count);
    index_mark_store(start + MARK_AT, &generation->mark);
    store_le64(start + HEADS_HASH_AT, XXH3_64bits(start + HEADS_AT, top->count * HEAD_SIZE));
    store_le64(start + HASH_AT, XXH3_64bits(start, HASH_AT));
    struct iovec iov = {start, start_size};
    if (code == 0)
        code = os_write_full(generation->os, fd, path, &iov, 1, 0, err);
    free(start);
    return code;
}

static int write_file(struct volume_generation *generation, const char *temporary,
                      const struct packed_top *top, struct error *err)
{
    struct os *os = generation->os;
    int fd = os_open(os, temporary, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        return error_set_errno(err, -fd, "create %s", temporary);
    int code = write_leaves(generation, fd, temporary, top, err);
    int result = code == 0 ? os_fsync(os, fd) : 0;
    os_close(os, fd);
    return result < 0 ? error_set_errno(err, -result, "fsync %s", temporary) : code;
}

static int replace_file(struct volume_generation *generation, const char *path,
                        const struct packed_top *top, struct error *err)
{
    char *temporary = NULL;
    CHECK(asprintf(&temporary, "%s.tmp", path) >= 0);
    int code = write_file(generation, temporary, top, err);
    int result = code == 0 ? os_rename(generation->os, temporary, path) : 0;
    if (result < 0)
        code = error_set_errno(err, -result, "rename %s", temporary);
    if (code != 0)
        os_unlink(generation->os, temporary);
    free(temporary);
    return code;
}

static bool is_worth_it(const struct volume_generation *generation, struct packed_tree *tree)
{
    return tree && generation->is_writable && generation->is_marked &&
           index_file_end(&generation->idx) >=
               INDEX_CHECKPOINT_ROWS_MIN * index_row_size(generation->offset_bytes);
}

int index_checkpoint_write(struct volume_generation *generation, struct error *err)
{
    char *path = path_of(generation);
    struct packed_tree *tree = generation->index ? needle_index_memory_tree(generation->index) : NULL;
    int code = 0;
    if (!path)
        return 0;
    uint64_t end = index_file_end(&generation->idx);
    if (generation->checkpoint_end > 0 && generation->checkpoint_end == end) {
        free(path); /* it is as it was when it was read */
        return 0;
    }
    bool is_done = false;
    if (is_worth_it(generation, tree)) {
        code = volume_generation_sync(generation, err);
        if (code == 0)
            code = packed_tree_settle(tree, err);
        struct packed_top *top = atomic_load(&tree->top);
        if (code == 0 && atomic_load(&top->slots[0].leaf) && volume_generation_seal_mark(generation)) {
            code = replace_file(generation, path, top, err);
            is_done = code == 0;
        }
    }
    if (!is_done) /* it may be of an .idx that was shorter, which is no harm, but no use either */
        remove_at(generation->os, path, code == 0 ? err : NULL);
    free(path);
    return code;
}

/* ---- reading ---- */

struct reading {
    struct volume_generation *generation;
    const char *path;
    int fd;
    uint64_t size;
    size_t leaf_count;
    uint8_t *heads;
    struct packed_leaf **leaves;
    struct index_mark mark;
};

static int odd(const struct reading *reading, const char *what, struct error *err)
{
    return error_set(err, KELP_E_CORRUPT, "%s: %s; it is not used", reading->path, what);
}

static int read_at(const struct reading *reading, void *buf, size_t n, uint64_t at, struct error *err)
{
    return os_read_full(reading->generation->os, reading->fd, reading->path, buf, n, at, err);
}

static int read_start(struct reading *reading, struct error *err)
{
    uint8_t start[HEADS_AT];
    if (reading->size < HEADS_AT)
        return odd(reading, "it is too short", err);
    int code = read_at(reading, start, sizeof(start), 0, err);
    if (code != 0)
        return code;
    if (memcmp(start, magic, sizeof(magic)) != 0 || load_le64(start + HASH_AT) != XXH3_64bits(start, HASH_AT))
        return odd(reading, "its beginning is damaged", err);
    code = index_mark_load(start + MARK_AT, &reading->mark, err);
    if (code != 0)
        return code;
    reading->leaf_count = load_le32(start + 8);
    if (reading->leaf_count == 0 || reading->leaf_count > (reading->size - HEADS_AT) / HEAD_SIZE)
        return odd(reading, "it is too short", err);
    size_t heads_size = reading->leaf_count * HEAD_SIZE;
    reading->heads = malloc(heads_size);
    reading->leaves = calloc(reading->leaf_count, sizeof(struct packed_leaf *));
    if (!reading->heads || !reading->leaves)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to read %s", reading->path);
    code = read_at(reading, reading->heads, heads_size, HEADS_AT, err);
    if (code == 0 && load_le64(start + HEADS_HASH_AT) != XXH3_64bits(reading->heads, heads_size))
        code = odd(reading, "its heads are damaged", err);
    return code;
}

static int read_leaf(struct reading *reading, const uint8_t *head, uint64_t at,
                     struct packed_leaf **ret, struct error *err)
{
    uint32_t size = load_le32(head + 4);
    if (size > reading->size - at)
        return odd(reading, "it is too short", err);
    struct packed_leaf *leaf = malloc(sizeof(*leaf) + size);
    if (!leaf)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to read %s", reading->path);
    *leaf = (struct packed_leaf){
        .count = load_le32(head),
        .size = size,
        .last_key = load_le64(head + 8),
        .low_offset = load_le64(head + 16),
        .high_offset = load_le64(head + 24),
    };
    *ret = leaf;
    int code = read_at(reading, leaf->data, size, at, err);
    if (code == 0 && load_le64(head + 32) != XXH3_64bits(leaf->data, size))
        code = odd(reading, "a leaf is damaged", err);
    if (code == 0 && !packed_leaf_is_sound(leaf))
        code = odd(reading, "a leaf makes no sense", err);
    return code;
}

static int read_leaves(struct reading *reading, struct error *err)
{
    uint64_t at = HEADS_AT + reading->leaf_count * HEAD_SIZE;
    int code = 0;
    for (size_t i = 0; code == 0 && i < reading->leaf_count; i++) {
        struct packed_leaf **leaf = &reading->leaves[i];
        code = read_leaf(reading, reading->heads + i * HEAD_SIZE, at, leaf, err);
        if (code == 0 && i > 0 && packed_leaf_first_key(*leaf) <= reading->leaves[i - 1]->last_key)
            code = odd(reading, "its leaves are out of order", err);
        if (code == 0)
            at += (*leaf)->size;
    }
    if (code == 0 && at != reading->size)
        code = odd(reading, "it has bytes too many", err);
    return code;
}

static int make_index(struct reading *reading, struct needle_index **ret, struct error *err)
{
    struct needle_index *index;
    const struct needle_index_config config = {
        .volume_id = reading->generation->volume_id,
        .version = reading->generation->version,
        .seed = os_random(reading->generation->os),
    };
    int code = needle_index_memory_create(&index, &config, err);
    if (code != 0)
        return code;
    code = packed_tree_adopt(needle_index_memory_tree(index), reading->leaves, reading->leaf_count, err);
    if (code != 0) {
        needle_index_destroy(index);
        return code;
    }
    reading->leaf_count = 0; /* the index has them */
    needle_index_memory_restore(index, &reading->mark.counters);
    *ret = index;
    return 0;
}

static int open_file(struct reading *reading, struct error *err)
{
    struct os *os = reading->generation->os;
    struct os_stat st;
    reading->fd = os_open(os, reading->path, O_RDONLY, 0);
    if (reading->fd == -ENOENT)
        return KELP_E_NOT_FOUND;
    if (reading->fd < 0)
        return error_set_errno(err, -reading->fd, "open %s", reading->path);
    int result = os_fstat(os, reading->fd, &st);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", reading->path);
    reading->size = st.size;
    return 0;
}

/* Before the leaves are read: it may be for nothing. */
static int check_mark(const struct reading *reading, uint64_t limit, struct error *err)
{
    struct index_mark_place place;
    volume_generation_mark_place(reading->generation, &place);
    if (reading->mark.walk.idx_length > limit)
        return odd(reading, "it is of rows that are bad", err);
    return index_mark_check(&reading->mark, &place, err);
}

int index_checkpoint_read(struct volume_generation *generation, uint64_t limit,
                          struct needle_index **ret, struct index_mark *ret_mark, struct error *err)
{
    char *path = path_of(generation);
    if (!path)
        return KELP_E_NOT_FOUND;
    struct reading reading = {.generation = generation, .path = path, .fd = -1};
    int code = open_file(&reading, err);
    if (code == 0)
        code = read_start(&reading, err);
    if (code == 0)
        code = check_mark(&reading, limit, err);
    if (code == 0)
        code = read_leaves(&reading, err);
    if (code == 0)
        code = make_index(&reading, ret, err);
    if (code == 0)
        *ret_mark = reading.mark;
    for (size_t i = 0; reading.leaves && i < reading.leaf_count; i++)
        free(reading.leaves[i]);
    free(reading.leaves);
    free(reading.heads);
    if (reading.fd >= 0)
        os_close(generation->os, reading.fd);
    free(path);
    return code;
}
