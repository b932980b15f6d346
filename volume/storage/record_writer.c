/* One batch of records: collected in fixed scratch memory, written with few system calls.
 *
 * The scratch holds, one after the other, the head and the tail of each record; the tail of one and the
 * head of the next are written as one piece, so that a batch of n blobs needs 2 n + 1 pieces. Small blobs
 * are copied in between, which is cheaper than a piece of their own. */
#include "volume/storage/record_writer.h"

#include "common/check.h"

#include <limits.h>
#include <stdlib.h>

#define SCRATCH_SIZE   (1u << 20)
#define COPY_BELOW     512u /* bytes; a piece of its own costs the kernel about as much as this copy */
#define PIECES         1024
#define KEY_SLOTS      2048u /* a power of two, four times the records */
_Static_assert(PIECES <= IOV_MAX, "a batch goes out in one call");
_Static_assert(2 * RECORD_WRITER_RECORDS + 2 <= PIECES, "a batch goes out in one call");
_Static_assert(SCRATCH_SIZE > 2 * (NEEDLE_HEAD_MAX + NEEDLE_TAIL_MAX), "the largest record fits");

struct record_writer {
    struct volume_generation *generation;
    uint64_t end; /* of the .dat with this batch */
    size_t count, piece_count, scratch_used;
    uint32_t epoch; /* of the key set: entries of older batches do not count */
    struct iovec pieces[PIECES];
    struct needle_entry pending[RECORD_WRITER_RECORDS];
    struct {
        uint64_t key;
        uint32_t epoch;
    } keys[KEY_SLOTS];
    uint8_t rows[RECORD_WRITER_RECORDS * INDEX_ROW_MAX];
    uint8_t scratch[SCRATCH_SIZE];
};

int record_writer_create(struct record_writer **ret, struct error *err)
{
    struct record_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a record writer");
    writer->epoch = 1;
    *ret = writer;
    return 0;
}

void record_writer_destroy(struct record_writer *writer)
{
    if (writer && writer->count > 0) /* else the generation may be gone already */
        record_writer_discard(writer);
    free(writer);
}

static void start_batch(struct record_writer *writer)
{
    writer->end = volume_generation_end(writer->generation);
    writer->count = writer->piece_count = writer->scratch_used = 0;
    if (++writer->epoch == 0) {
        memset(writer->keys, 0, sizeof(writer->keys));
        writer->epoch = 1;
    }
}

void record_writer_begin(struct record_writer *writer, struct volume_generation *generation)
{
    CHECK(writer->count == 0);
    writer->generation = generation;
    start_batch(writer);
}

/* The place of the key in the set, or where it would go. */
static size_t key_slot(const struct record_writer *writer, uint64_t key)
{
    size_t i = (size_t)((key * 0x9e3779b97f4a7c15u) >> 53) % KEY_SLOTS;
    while (writer->keys[i].epoch == writer->epoch && writer->keys[i].key != key)
        i = (i + 1) % KEY_SLOTS;
    return i;
}

bool record_writer_has_room(const struct record_writer *writer, uint64_t key, size_t tail_size)
{
    if (writer->count == 0)
        return true;
    return writer->count < RECORD_WRITER_RECORDS &&
           writer->end - volume_generation_end(writer->generation) < RECORD_WRITER_BYTES &&
           SCRATCH_SIZE - writer->scratch_used >= NEEDLE_HEAD_MAX + COPY_BELOW + tail_size &&
           writer->keys[key_slot(writer, key)].epoch != writer->epoch;
}

size_t record_writer_count(const struct record_writer *writer) { return writer->count; }

static void add_piece(struct record_writer *writer, const void *data, size_t size)
{
    if (size == 0)
        return;
    if (writer->piece_count > 0) {
        struct iovec *last = &writer->pieces[writer->piece_count - 1];
        if ((const char *)last->iov_base + last->iov_len == data) {
            last->iov_len += size;
            return;
        }
    }
    CHECK(writer->piece_count < PIECES);
    writer->pieces[writer->piece_count++] = (struct iovec){(void *)(uintptr_t)data, size};
}

int record_writer_refuse_full(struct volume_generation *generation, struct error *err)
{
    return error_set(err, KELP_E_TOO_LARGE,
                     "%s: %llu bytes are all that its index can address: vacuum the volume or "
                     "write to another one",
                     atomic_load(&generation->dat_path),
                     (unsigned long long)index_row_limit(generation->offset_bytes));
}

/* The offset that the next record gets, if a row can say it. */
static int check_offset(const struct record_writer *writer, struct error *err)
{
    if (writer->end >= index_row_limit(writer->generation->offset_bytes))
        return record_writer_refuse_full(writer->generation, err);
    return 0;
}

static void add_row(struct record_writer *writer, const struct needle_entry *entry,
                    uint64_t record_size)
{
    size_t slot = key_slot(writer, entry->key);
    writer->keys[slot].key = entry->key;
    writer->keys[slot].epoch = writer->epoch;
    writer->pending[writer->count] = *entry;
    index_row_store(writer->rows + writer->count * index_row_size(writer->generation->offset_bytes),
                    entry, writer->generation->offset_bytes);
    writer->count++;
    writer->end += record_size;
}

/* Encodes into the scratch; the record is not part of the batch before add_row. */
static int add_record(struct record_writer *writer, const struct needle *needle,
                      struct needle_record *ret, struct error *err)
{
    /* The tail is encoded where it stays if the data is small and copied in front of it. */
    bool is_copied = needle->data.len <= COPY_BELOW;
    CHECK(needle->data.ptr || needle->data.len == 0);
    uint8_t *head = writer->scratch + writer->scratch_used;
    uint8_t *tail = head + NEEDLE_HEAD_MAX + (is_copied ? needle->data.len : 0);
    int code = needle_encode(needle, writer->generation->version, head, tail, ret, err);
    if (code != 0)
        return code;
    size_t gap = NEEDLE_HEAD_MAX - ret->head_size;
    if (is_copied) {
        if (needle->data.len > 0)
            memcpy(head + ret->head_size, needle->data.ptr, needle->data.len);
        if (gap > 0)
            memmove(tail - gap, tail, ret->tail_size);
        add_piece(writer, head, ret->head_size + ret->data_size + ret->tail_size);
        writer->scratch_used += ret->head_size + ret->data_size + ret->tail_size;
    } else {
        if (gap > 0)
            memmove(tail - gap, tail, ret->tail_size);
        add_piece(writer, head, ret->head_size);
        add_piece(writer, needle->data.ptr, ret->data_size);
        add_piece(writer, tail - gap, ret->tail_size);
        writer->scratch_used += ret->head_size + ret->tail_size;
    }
    return 0;
}

int record_writer_put(struct record_writer *writer, const struct needle *needle,
                      struct needle_entry *ret, struct error *err)
{
    struct volume_generation *generation = writer->generation;
    CHECK(record_writer_has_room(writer, needle->key, needle_tail_size(needle, generation->version)));
    int32_t body_size;
    int code = needle_body_size(needle, generation->version, &body_size, err);
    if (code == 0)
        code = check_offset(writer, err);
    if (code == 0)
        code = needle_index_reserve(generation->index, needle->key, err);
    if (code != 0)
        return code;
    struct needle_record record;
    code = add_record(writer, needle, &record, err);
    CHECK(code == 0); /* its only reasons were checked above */
    if (record.body_size == 0 && generation->version == 3)
        store_be32(writer->scratch + writer->scratch_used - 4, NEEDLE_EMPTY_MARK);
    struct needle_entry entry = {needle->key, writer->end, record.body_size};
    add_row(writer, &entry, record.head_size + record.data_size + record.tail_size);
    if (ret)
        *ret = entry;
    return 0;
}

int record_writer_delete(struct record_writer *writer, const struct needle *needle,
                         bool is_row_only, struct error *err)
{
    CHECK(record_writer_has_room(writer, needle->key, NEEDLE_ALIGNMENT * 3));
    struct needle_entry entry = {needle->key, 0, NEEDLE_TOMBSTONE};
    uint64_t record_size = 0;
    int code = needle_index_reserve_delete(writer->generation->index, needle->key, err);
    if (code != 0)
        return code;
    if (!is_row_only) {
        struct needle tombstone = {
            .key = needle->key,
            .cookie = needle->cookie,
            .checksum = needle->checksum,
            .append_at_ns = needle->append_at_ns,
        };
        struct needle_record record;
        code = add_record(writer, &tombstone, &record, err);
        CHECK(code == 0);
        entry.offset = writer->end;
        record_size = record.head_size + record.tail_size;
    }
    add_row(writer, &entry, record_size);
    return 0;
}

int record_writer_raw(struct record_writer *writer, uint64_t key, int32_t size, const void *record,
                      struct needle_entry *ret, struct error *err)
{
    CHECK(record_writer_has_room(writer, key, 0));
    int code = check_offset(writer, err);
    if (code == 0)
        code = size >= 0 ? needle_index_reserve(writer->generation->index, key, err)
                         : needle_index_reserve_delete(writer->generation->index, key, err);
    if (code != 0)
        return code;
    uint64_t record_size = needle_record_size(writer->generation->version, size);
    struct needle_entry entry = {key, writer->end, size};
    add_piece(writer, record, record_size);
    add_row(writer, &entry, record_size);
    if (ret)
        *ret = entry;
    return 0;
}

void record_writer_discard(struct record_writer *writer)
{
    for (size_t i = 0; i < writer->count; i++)
        needle_index_unreserve(writer->generation->index, writer->pending[i].key);
    writer->count = 0;
    if (writer->generation)
        start_batch(writer);
}

/* To the peer an empty blob looks like a tombstone, and in versions before 3 to us; only its row tells. So
 * its row has to be as safe as its record. And a delete of a tiered volume has no record at all. */
static bool has_telling_row(const struct record_writer *writer)
{
    for (size_t i = 0; i < writer->count; i++)
        if (writer->pending[i].size == 0 || writer->pending[i].offset == 0)
            return true;
    return false;
}

/* Writes and syncs; both files are as before when this fails, unless *ret_is_lost. */
static int write_batch(struct record_writer *writer, bool is_durable, bool *ret_is_lost,
                       struct error *err)
{
    struct volume_generation *generation = writer->generation;
    struct os *os = generation->os;
    const char *path = atomic_load(&generation->dat_path);
    uint64_t old_end = volume_generation_end(generation);
    uint64_t old_idx_end = index_file_end(&generation->idx);
    bool has_records = writer->end > old_end;
    bool is_lost = false;
    int code = 0;
    if (has_records)
        code = os_write_full(os, generation->dat_fd, path, writer->pieces, (int)writer->piece_count,
                             old_end, err);
    if (code == 0 && has_records && is_durable) {
        code = volume_generation_sync_records(generation, err);
        is_lost = code != 0;
    }
    if (code == 0) {
        bool is_cut = true;
        code = index_file_append(&generation->idx, writer->rows,
                                 writer->count * index_row_size(generation->offset_bytes), &is_cut,
                                 err);
        is_lost = is_lost || (code != 0 && !is_cut);
    }
    /* The row of any other record can be made again from the record. */
    if (code == 0 && is_durable && has_telling_row(writer)) {
        code = volume_generation_sync_rows(generation, err);
        if (code != 0) {
            is_lost = true;
            index_file_truncate(&generation->idx, old_idx_end, NULL);
        }
    }
    if (code != 0 && has_records && os_ftruncate(os, generation->dat_fd, old_end) < 0)
        is_lost = true;
    *ret_is_lost = is_lost;
    return code;
}

int record_writer_flush(struct record_writer *writer, bool is_durable, enum needle_index_event event,
                        bool *ret_is_lost, struct error *err)
{
    struct volume_generation *generation = writer->generation;
    bool is_lost = false;
    int code = 0;
    if (writer->count > 0)
        code = write_batch(writer, is_durable, &is_lost, err);
    if (ret_is_lost)
        *ret_is_lost = is_lost;
    if (code != 0 || writer->count == 0) {
        record_writer_discard(writer);
        return code;
    }
    /* The end first: whoever finds an entry must find its record below the end. */
    atomic_store_explicit(&generation->dat_end, writer->end, memory_order_release);
    for (size_t i = 0; i < writer->count; i++) {
        const struct needle_entry *entry = &writer->pending[i];
        if (index_row_is_put(entry))
            code = needle_index_put(generation->index, entry, event, err);
        else
            code = needle_index_delete(generation->index, entry->key, event, err);
        CHECK(code == 0); /* room was reserved */
    }
    start_batch(writer);
    return 0;
}
