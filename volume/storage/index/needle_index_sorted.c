/* The needle index of kind "sorted".
 *
 * The peer believes a file that is younger than the .idx. Ours holds it against the index that it was loaded
 * with, entry by entry: that costs a read of the file, once, and leaves no room for a file that a crash or
 * a copy has left half right.
 *
 * Lookups halve the file in a mapping of it. A delete overwrites the four bytes of the size in place, after
 * its row is in the .idx; what cannot be written is remembered in memory, and the next load puts it right.
 * The lock keeps readers from seeing half of the four bytes. Puts are refused when they reserve. */
#include "volume/storage/index/needle_index_sorted.h"

#include "common/check.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/index/needle_counters.h"
#include "volume/storage/index/needle_pending.h"
#include "volume/storage/index/needle_window.h"

#include <pthread.h>
#include <stdlib.h>

#define BUFFER_ROWS 4096u

struct sorted_index {
    struct needle_index base;
    struct os *os;
    char *path;
    int fd;
    uint8_t version, offset_bytes;
    size_t row_size;
    uint64_t count;      /* rows */
    const uint8_t *rows; /* the mapping; NULL: there is none, rows are read */
    struct needle_counters counters;
    pthread_rwlock_t lock; /* the sizes in the file, and: */
    struct needle_pending lost; /* deleted, but the file could not be told */
    uint32_t reserved; /* rows of it; the writer's own */
};

static int sorted_put(struct needle_index *base, const struct needle_entry *entry,
                      enum needle_index_event event, struct error *err);

static struct sorted_index *of(struct needle_index *base) { return (struct sorted_index *)base; }

bool needle_index_is_sorted(const struct needle_index *index)
{
    return index->ops->put == sorted_put;
}

/* ---- rows ---- */

static int read_row(struct sorted_index *index, uint64_t at, struct needle_entry *ret, struct error *err)
{
    uint8_t bytes[INDEX_ROW_MAX];
    const uint8_t *row = bytes;
    int code = 0;
    if (index->rows)
        row = index->rows + at * index->row_size;
    else
        code = os_read_full(index->os, index->fd, index->path, bytes, index->row_size,
                            at * index->row_size, err);
    if (code == 0)
        index_row_load(row, ret, index->offset_bytes);
    return code;
}

/* The row of the key: KELP_E_NOT_FOUND when there is none. The lock is held. */
static int find_row(struct sorted_index *index, uint64_t key, uint64_t *ret_at, struct needle_entry *ret,
                    struct error *err)
{
    uint64_t low = 0, high = index->count;
    struct needle_entry row;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int code = read_row(index, middle, &row, err);
        if (code != 0)
            return code;
        if (row.key == key) {
            *ret_at = middle;
            *ret = row;
            if (needle_pending_find(&index->lost, key))
                ret->size = NEEDLE_TOMBSTONE;
            return 0;
        }
        if (row.key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return KELP_E_NOT_FOUND;
}

static int sorted_get(struct needle_index *base, uint64_t key, struct needle_entry *ret,
                      struct error *err)
{
    struct sorted_index *index = of(base);
    uint64_t at;
    pthread_rwlock_rdlock(&index->lock);
    int code = find_row(index, key, &at, ret, err);
    pthread_rwlock_unlock(&index->lock);
    return code;
}

/* ---- changes ---- */

static int refuse(const struct sorted_index *index, struct error *err)
{
    return error_set(err, KELP_E_READ_ONLY, "%s takes no puts: mark the volume writable first",
                     index->path);
}

static int sorted_reserve(struct needle_index *base, uint64_t key, struct error *err)
{
    return refuse(of(base), err);
}

/* Where the file cannot be written the delete is remembered, and that takes memory. */
static int sorted_reserve_delete(struct needle_index *base, uint64_t key, struct error *err)
{
    struct sorted_index *index = of(base);
    pthread_rwlock_wrlock(&index->lock);
    bool has_room = needle_pending_reserve(&index->lost, index->reserved + 1);
    pthread_rwlock_unlock(&index->lock);
    if (!has_room)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for an index row");
    index->reserved++;
    return 0;
}

static void sorted_unreserve(struct needle_index *base, uint64_t key)
{
    if (of(base)->reserved > 0)
        of(base)->reserved--;
}

static int sorted_put(struct needle_index *base, const struct needle_entry *entry,
                      enum needle_index_event event, struct error *err)
{
    return refuse(of(base), err);
}

/* The lock is held for writing. */
static int remember_deleted(struct sorted_index *index, uint64_t key, struct error *err)
{
    if (!needle_pending_reserve(&index->lost, 1))
        return error_set(err, KELP_E_NO_MEMORY, "no memory for an index row");
    const struct needle_entry lost = {key, NEEDLE_ALIGNMENT, NEEDLE_TOMBSTONE};
    needle_pending_set(&index->lost, &lost);
    return 0;
}

static int store_deleted(struct sorted_index *index, uint64_t at, uint64_t key, struct error *err)
{
    uint8_t bytes[4] = {0xff, 0xff, 0xff, 0xff}; /* -1 */
    struct iovec iov = {bytes, sizeof(bytes)};
    uint64_t position = at * index->row_size + 8 + index->offset_bytes;
    int code = os_write_full(index->os, index->fd, index->path, &iov, 1, position, NULL);
    return code == 0 ? 0 : remember_deleted(index, key, err);
}

/* Whatever the file says, it has happened. */
static int sorted_delete(struct needle_index *base, uint64_t key, enum needle_index_event event,
                         struct error *err)
{
    struct sorted_index *index = of(base);
    struct needle_entry old;
    uint64_t at;
    sorted_unreserve(base, key);
    pthread_rwlock_wrlock(&index->lock);
    int found = find_row(index, key, &at, &old, NULL), code = 0;
    if (found == 0 && old.size >= 0)
        code = store_deleted(index, at, key, err);
    else if (found != 0 && found != KELP_E_NOT_FOUND)
        code = remember_deleted(index, key, err);
    pthread_rwlock_unlock(&index->lock);
    if (code == 0)
        needle_counters_delete(&index->counters, index->version, key, found == 0 ? &old : NULL, event);
    return code;
}

static void sorted_stat(struct needle_index *base, struct needle_index_stat *ret)
{
    struct sorted_index *index = of(base);
    needle_counters_stat(&index->counters, ret);
    pthread_rwlock_rdlock(&index->lock);
    ret->memory_bytes = sizeof(*index) + needle_pending_bytes(&index->lost);
    pthread_rwlock_unlock(&index->lock);
}

/* ---- walks ---- */

struct sorted_source {
    struct needle_source base;
    struct sorted_index *index;
    uint64_t at;
};

static int source_rewind(struct needle_source *base, struct error *err)
{
    ((struct sorted_source *)base)->at = 0;
    return 0;
}

static int source_next(struct needle_source *base, struct needle_entry *ret, struct error *err)
{
    struct sorted_source *source = (struct sorted_source *)base;
    struct sorted_index *index = source->index;
    int code = 0, got = 0;
    pthread_rwlock_rdlock(&index->lock);
    while (code == 0 && got == 0 && source->at < index->count) {
        code = read_row(index, source->at++, ret, err);
        got = code == 0 && ret->size >= 0 && !needle_pending_find(&index->lost, ret->key);
    }
    pthread_rwlock_unlock(&index->lock);
    return code != 0 ? code : got;
}

static void source_close(struct needle_source *base) { free(base); }

static int sorted_cursor_open(struct needle_index *base, enum needle_index_order order,
                              uint64_t offset_limit, struct needle_cursor **ret, struct error *err)
{
    struct sorted_source *source = calloc(1, sizeof(*source));
    if (!source)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
    source->base = (struct needle_source){source_rewind, source_next, source_close};
    source->index = of(base);
    return needle_window_create(ret, &source->base, order, offset_limit, err);
}

/* ---- the file ---- */

static void close_file(struct sorted_index *index)
{
    if (index->rows)
        os_unmap(index->os, index->rows, index->count * index->row_size);
    if (index->fd >= 0)
        os_close(index->os, index->fd);
    index->rows = NULL;
    index->count = 0;
    index->fd = -1;
}

static void sorted_destroy(struct needle_index *base)
{
    struct sorted_index *index = of(base);
    close_file(index);
    pthread_rwlock_destroy(&index->lock);
    needle_pending_fini(&index->lost);
    free(index->path);
    free(index);
}

/* Opens what is at the path; KELP_E_NOT_FOUND when that is no such file. */
static int open_file(struct sorted_index *index, struct error *err)
{
    struct os_stat st;
    index->fd = os_open(index->os, index->path, O_RDWR, 0);
    if (index->fd < 0)
        return error_set_errno(err, -index->fd, "open %s", index->path);
    int result = os_fstat(index->os, index->fd, &st);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", index->path);
    if (st.size % index->row_size != 0)
        return error_set(err, KELP_E_NOT_FOUND, "%s ends in a part of a row", index->path);
    index->count = st.size / index->row_size;
    const void *rows = NULL;
    if (index->count > 0 && os_map(index->os, index->fd, st.size, &rows) == 0)
        index->rows = rows;
    return 0;
}

/* The next row of the file that is not marked as deleted: 1, 0 at the end. Keys that do not rise make
 * halving go astray. */
static int next_stored(struct sorted_index *index, uint64_t *at, uint64_t *last_key,
                       struct needle_entry *ret, struct error *err)
{
    while (*at < index->count) {
        int code = read_row(index, *at, ret, err);
        if (code != 0)
            return code;
        if (*at > 0 && ret->key <= *last_key)
            return KELP_E_CORRUPT;
        *last_key = ret->key;
        ++*at;
        if (ret->size != NEEDLE_TOMBSTONE)
            return 1;
    }
    return 0;
}

/* Whether the file holds what the source does. */
static bool says_the_same(struct sorted_index *index, struct needle_index *source)
{
    struct needle_cursor *cursor;
    const struct needle_entry *entries;
    struct needle_entry stored = {0};
    uint64_t at = 0, last_key = 0;
    size_t count = 1;
    bool is_same = true;
    if (needle_cursor_open(source, NEEDLE_INDEX_BY_KEY, UINT64_MAX, &cursor, NULL) != 0)
        return false;
    while (is_same && count > 0) {
        is_same = needle_cursor_next(cursor, &entries, &count, NULL) == 0;
        for (size_t i = 0; is_same && i < count; i++)
            is_same = next_stored(index, &at, &last_key, &stored, NULL) == 1 &&
                      stored.key == entries[i].key && stored.offset == entries[i].offset &&
                      stored.size == entries[i].size;
    }
    needle_cursor_close(cursor);
    return is_same && next_stored(index, &at, &last_key, &stored, NULL) == 0;
}

struct row_writer {
    struct sorted_index *index;
    int fd;
    const char *path;
    uint8_t *buffer; /* BUFFER_ROWS */
    size_t filled;
    uint64_t end;
};

static int flush_rows(struct row_writer *writer, struct error *err)
{
    struct iovec iov = {writer->buffer, writer->filled * writer->index->row_size};
    int code = 0;
    if (writer->filled > 0)
        code = os_write_full(writer->index->os, writer->fd, writer->path, &iov, 1, writer->end, err);
    writer->end += writer->filled * writer->index->row_size;
    writer->filled = 0;
    return code;
}

static int write_rows(struct row_writer *writer, struct needle_index *source, struct error *err)
{
    struct sorted_index *index = writer->index;
    struct needle_cursor *cursor;
    const struct needle_entry *entries;
    size_t count = 1;
    int code = needle_cursor_open(source, NEEDLE_INDEX_BY_KEY, UINT64_MAX, &cursor, err);
    if (code != 0)
        return code;
    while (code == 0 && count > 0) {
        code = needle_cursor_next(cursor, &entries, &count, err);
        for (size_t i = 0; code == 0 && i < count; i++) {
            uint8_t *row = writer->buffer + writer->filled++ * index->row_size;
            index_row_store(row, &entries[i], index->offset_bytes);
            if (writer->filled == BUFFER_ROWS)
                code = flush_rows(writer, err);
        }
    }
    needle_cursor_close(cursor);
    return code == 0 ? flush_rows(writer, err) : code;
}

static int make_file(struct sorted_index *index, struct needle_index *source, struct error *err)
{
    char *temporary = NULL;
    CHECK(asprintf(&temporary, "%s.tmp", index->path) >= 0);
    uint8_t *buffer = malloc(BUFFER_ROWS * index->row_size);
    int code = 0, result = 0;
    int fd = os_open(index->os, temporary, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0)
        code = error_set_errno(err, -fd, "create %s", temporary);
    else if (!buffer)
        code = error_set(err, KELP_E_NO_MEMORY, "no memory to write %s", temporary);
    if (code == 0)
        code = write_rows(&(struct row_writer){index, fd, temporary, buffer, 0, 0}, source, err);
    if (code == 0 && (result = os_fsync(index->os, fd)) < 0)
        code = error_set_errno(err, -result, "fsync %s", temporary);
    if (fd >= 0)
        os_close(index->os, fd);
    if (code == 0 && (result = os_rename(index->os, temporary, index->path)) < 0)
        code = error_set_errno(err, -result, "rename %s", temporary);
    if (code != 0 && fd >= 0)
        os_unlink(index->os, temporary);
    free(buffer);
    free(temporary);
    return code;
}

int needle_index_sorted_open(struct needle_index **ret, const struct needle_index_sorted_config *config,
                             struct needle_index *source, struct error *err)
{
    static const struct needle_index_ops ops = {
        .kind = "sorted",
        .may_block = true,
        .destroy = sorted_destroy,
        .get = sorted_get,
        .reserve = sorted_reserve,
        .reserve_delete = sorted_reserve_delete,
        .unreserve = sorted_unreserve,
        .put = sorted_put,
        .delete = sorted_delete,
        .stat = sorted_stat,
        .cursor_open = sorted_cursor_open,
    };
    struct needle_index_stat stat;
    struct sorted_index *index = must(calloc(1, sizeof(*index)));
    index->base.ops = &ops;
    index->os = config->os;
    index->path = must(strdup(config->path));
    index->fd = -1;
    index->version = config->version;
    index->offset_bytes = config->offset_bytes;
    index->row_size = index_row_size(config->offset_bytes);
    CHECK(pthread_rwlock_init(&index->lock, NULL) == 0);
    needle_pending_init(&index->lost, os_random(config->os));
    needle_index_stat(source, &stat);
    needle_counters_restore(&index->counters, &stat);

    int code = 0;
    if (open_file(index, NULL) != 0 || !says_the_same(index, source)) {
        close_file(index);
        code = make_file(index, source, err);
        if (code == 0)
            code = open_file(index, err);
    }
    if (code != 0) {
        sorted_destroy(&index->base);
        return code;
    }
    *ret = &index->base;
    return 0;
}
