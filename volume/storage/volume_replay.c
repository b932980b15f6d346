/* The replay: what was written and deleted since the copy's mark, from the old generation's log
 * into the new generation.
 *
 * Rows are taken in pieces. Within a piece the newest row of a key wins; across pieces later ones
 * win by being later. A put is copied as it is, stamp and all; a delete becomes its tombstone
 * record, copied as it is too, and only if the new generation holds the key. Both digests follow.
 * Runs on the worker, without locks until the last round. */
#include "volume/storage/vacuum_internal.h"

#include <stdlib.h>

#define PIECE_ROWS   4096u
#define BUFFER_BYTES (1u << 20) /* larger only for a larger record */
#define FOREIGN_COOKIE 0x12345678u /* of a delete whose row names no record; the peer's too */

struct replay_row {
    struct needle_entry entry;
    uint64_t position;
};

struct replay {
    struct vacuum *v;
    struct replay_row *rows;
    size_t count;
    uint8_t *buffer;
    size_t used, capacity;
};

static int take_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct replay *r = ctx;
    r->rows[r->count++] = (struct replay_row){*entry, position};
    return 0;
}

static int by_key(const void *a, const void *b)
{
    const struct replay_row *x = a, *y = b;
    if (x->entry.key != y->entry.key)
        return x->entry.key < y->entry.key ? -1 : 1;
    return x->position < y->position ? -1 : x->position > y->position;
}

static int by_position(const void *a, const void *b)
{
    const struct replay_row *x = a, *y = b;
    return x->position < y->position ? -1 : x->position > y->position;
}

static void keep_newest(struct replay *r)
{
    size_t kept = 0;
    qsort(r->rows, r->count, sizeof(*r->rows), by_key);
    for (size_t i = 0; i < r->count; i++)
        if (i + 1 == r->count || r->rows[i + 1].entry.key != r->rows[i].entry.key)
            r->rows[kept++] = r->rows[i];
    r->count = kept;
    qsort(r->rows, r->count, sizeof(*r->rows), by_position);
}

/* Room for a record behind those that are not written yet. */
static int make_room(struct replay *r, size_t size, struct error *err)
{
    if (r->used + size <= r->capacity)
        return 0;
    int code = vacuum_batch_flush(r->v, err);
    if (code != 0)
        return code;
    r->used = 0;
    if (size > r->capacity) {
        uint8_t *larger = realloc(r->buffer, size);
        if (!larger)
            return error_set(err, KELP_E_NO_MEMORY, "no memory for a record of %zu bytes", size);
        r->buffer = larger;
        r->capacity = size;
    }
    return 0;
}

static bool is_record_of(const uint8_t *bytes, const struct needle_entry *entry)
{
    struct needle_header header;
    needle_header_load(bytes, &header);
    return header.key == entry->key && header.size == (entry->size > 0 ? entry->size : 0);
}

/* The record that a row names, as it is. With 4-byte offsets it may lie one wrap further. */
static int read_record(struct replay *r, const struct needle_entry *entry, uint8_t *bytes,
                       size_t size, struct error *err)
{
    struct volume_generation *old = r->v->old;
    const char *path = atomic_load(&old->dat_path);
    uint64_t wrapped = entry->offset + index_row_limit(old->offset_bytes);
    int code = os_read_full(old->os, old->dat_fd, path, bytes, size, entry->offset, err);
    if (code != 0 || is_record_of(bytes, entry))
        return code;
    if (wrapped + size <= volume_generation_end(old)) {
        code = os_read_full(old->os, old->dat_fd, path, bytes, size, wrapped, err);
        if (code != 0 || is_record_of(bytes, entry))
            return code;
    }
    return error_set(err, KELP_E_CORRUPT,
                     "%s at %llu: not the record of needle %llx that was written", path,
                     (unsigned long long)entry->offset, (unsigned long long)entry->key);
}

static void leave_expired(struct vacuum *v, uint64_t key)
{
    struct needle_entry entry;
    if (v->expired && needle_index_get(v->expired, key, &entry, NULL) == 0 && entry.size >= 0)
        needle_index_delete(v->expired, key, NEEDLE_INDEX_RUNTIME, NULL);
}

/* A delete whose row names no record to copy. */
static int make_tombstone(struct replay *r, uint64_t key, uint8_t *bytes, size_t size,
                          struct error *err)
{
    uint8_t head[NEEDLE_HEAD_MAX];
    struct needle needle = {
        .key = key,
        .cookie = FOREIGN_COOKIE,
        .append_at_ns = (uint64_t)os_now_ns(r->v->volume->os),
    };
    struct needle_record record;
    uint8_t tail[NEEDLE_ALIGNMENT * 3];
    int code = needle_encode(&needle, r->v->next->version, head, tail, &record, err);
    if (code == 0) {
        memset(bytes, 0, size);
        memcpy(bytes, head, record.head_size);
        memcpy(bytes + record.head_size, tail, record.tail_size);
    }
    return code;
}

static int replay_row(struct replay *r, const struct needle_entry *row, struct error *err)
{
    struct vacuum *v = r->v;
    bool is_put = index_row_is_put(row), was_live;
    struct needle_entry entry = {row->key, row->offset, is_put ? row->size : NEEDLE_TOMBSTONE};
    int code = vacuum_batch_forget(v, row->key, &was_live, err);
    if (code != 0)
        return code;
    leave_expired(v, row->key);
    if (!is_put && !was_live)
        return 0;
    size_t size = (size_t)needle_record_size(v->old->version, entry.size);
    code = make_room(r, size, err);
    if (code != 0)
        return code;
    uint8_t *bytes = r->buffer + r->used;
    code = entry.offset == 0 ? make_tombstone(r, row->key, bytes, size, err)
                             : read_record(r, &entry, bytes, size, err);
    if (code == 0)
        code = vacuum_batch_add(v, row->key, entry.size, bytes, err);
    if (code != 0)
        return code;
    r->used += size;
    if (is_put)
        vacuum_digest_add(&v->source, row->key, entry.size,
                          vacuum_record_checksum(bytes, entry.size));
    return 0;
}

static int replay_piece(struct replay *r, uint64_t to, struct error *err)
{
    struct vacuum *v = r->v;
    r->count = r->used = 0;
    int code = index_file_walk(&v->old->idx, v->mark, to, take_row, r, err);
    size_t seen = r->count;
    if (code != 0)
        return code;
    keep_newest(r);
    for (size_t i = 0; i < r->count && code == 0; i++) {
        code = vacuum_check_cancelled(v, err);
        if (code == 0)
            code = replay_row(r, &r->rows[i].entry, err);
    }
    if (code == 0)
        code = vacuum_batch_flush(v, err);
    if (code != 0)
        return code;
    v->mark = to;
    pthread_mutex_lock(&v->progress_lock);
    v->progress.rows_replayed += seen;
    pthread_mutex_unlock(&v->progress_lock);
    return 0;
}

int vacuum_replay(struct vacuum *v, uint64_t to, struct error *err)
{
    if (v->mark >= to)
        return 0;
    uint64_t step = PIECE_ROWS * index_row_size(v->old->offset_bytes);
    struct replay r = {.v = v, .capacity = BUFFER_BYTES};
    r.rows = malloc(PIECE_ROWS * sizeof(*r.rows));
    r.buffer = malloc(r.capacity);
    int code = 0;
    if (!r.rows || !r.buffer)
        code = error_set(err, KELP_E_NO_MEMORY, "no memory to replay");
    record_writer_begin(v->writer, v->next);
    while (code == 0 && v->mark < to)
        code = replay_piece(&r, to - v->mark < step ? to : v->mark + step, err);
    record_writer_discard(v->writer);
    v->written_count = 0;
    free(r.rows);
    free(r.buffer);
    return code;
}
