/* The copy's writer: records as they are, in large pieces, behind one another.
 *
 * It is the only one to append to a generation that nobody else knows yet, so it needs none of what
 * the record writer does for a generation in use: no batch has to be visible at once, a key comes
 * once, and a failure drops the files. Rows are gathered and written in larger pieces than records;
 * the needle index is filled in one go and used by nobody before it is.
 *
 * What was written is read back and compared with where it came from. When all is written the index
 * is walked, and must hold exactly the entries that were written: key, place and size. So a swap
 * can never make a blob unreadable that was readable before. Runs on the copying thread. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define PIECES     1024
#define RECORDS    8192u
#define ROWS_BYTES (256u << 10)
_Static_assert(PIECES <= IOV_MAX, "goes out in one call");

struct vacuum_writer {
    struct vacuum *v;
    struct volume_generation *next;
    uint64_t end; /* of next's .dat, with what is not written yet */
    size_t record_count, piece_count, row_bytes;
    struct vacuum_digest written, digest; /* of entries with their places, of records as read back */
    struct iovec pieces[PIECES];
    struct vacuum_written records[RECORDS];
    uint8_t rows[ROWS_BYTES];
    uint8_t check[VACUUM_CHECK_BYTES];
};

int vacuum_writer_create(struct vacuum_writer **ret, struct vacuum *v, uint64_t expected,
                         struct error *err)
{
    struct vacuum_writer *writer = calloc(1, sizeof(*writer));
    if (!writer)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a copy");
    writer->v = v;
    writer->next = v->next;
    writer->end = volume_generation_end(v->next);
    int code = needle_index_fill_begin(v->next->index, expected, err);
    if (code != 0) {
        free(writer);
        return code;
    }
    *ret = writer;
    return 0;
}

void vacuum_writer_destroy(struct vacuum_writer *writer) { free(writer); }

static int write_rows(struct vacuum_writer *writer, struct error *err)
{
    int code = 0;
    if (writer->row_bytes > 0)
        code = index_file_append(&writer->next->idx, writer->rows, writer->row_bytes, NULL, err);
    writer->row_bytes = 0;
    return code;
}

/* What is counted of a row: the place instead of the content. */
static void count_entry(struct vacuum_digest *digest, const struct needle_entry *entry)
{
    vacuum_digest_add(digest, entry->key ^ entry->offset * 0x9e3779b97f4a7c15u, entry->size,
                      (uint32_t)(entry->offset / NEEDLE_ALIGNMENT));
}

int vacuum_writer_add(struct vacuum_writer *writer, uint64_t key, int32_t size, const uint8_t *bytes,
                      struct needle_entry *ret, struct error *err)
{
    struct volume_generation *next = writer->next;
    uint64_t record_size = needle_record_size(next->version, size);
    if (writer->end >= index_row_limit(next->offset_bytes))
        return error_set(err, KELP_E_TOO_LARGE,
                         "%s: what is live is more than %u-byte offsets can address",
                         atomic_load(&next->dat_path), next->offset_bytes);
    if (writer->record_count == RECORDS || writer->piece_count == PIECES) {
        int code = vacuum_writer_flush(writer, err);
        if (code != 0)
            return code;
    }
    struct iovec *last = writer->piece_count > 0 ? &writer->pieces[writer->piece_count - 1] : NULL;
    if (last && (const uint8_t *)last->iov_base + last->iov_len == bytes)
        last->iov_len += record_size;
    else
        writer->pieces[writer->piece_count++] =
            (struct iovec){(void *)(uintptr_t)bytes, record_size};
    *ret = (struct needle_entry){key, writer->end, size};
    writer->records[writer->record_count++] = (struct vacuum_written){*ret, bytes};
    writer->end += record_size;
    return 0;
}

/* ---- a flush ---- */

static int count_record(void *ctx, const struct needle_entry *entry, uint32_t checksum,
                        struct error *err)
{
    struct vacuum_writer *writer = ctx;
    vacuum_digest_add(&writer->digest, entry->key, entry->size, checksum);
    return 0;
}

/* The rows of the batch, and its entries for the index. */
static int publish(struct vacuum_writer *writer, struct error *err)
{
    struct volume_generation *next = writer->next;
    size_t row_size = index_row_size(next->offset_bytes);
    int code = 0;
    for (size_t i = 0; i < writer->record_count && code == 0; i++) {
        const struct needle_entry *entry = &writer->records[i].entry;
        if (writer->row_bytes + row_size > ROWS_BYTES)
            code = write_rows(writer, err);
        if (code != 0)
            break;
        index_row_store(writer->rows + writer->row_bytes, entry, next->offset_bytes);
        writer->row_bytes += row_size;
        count_entry(&writer->written, entry);
        code = needle_index_put(next->index, entry, NEEDLE_INDEX_LOAD_COMPACTED, err);
    }
    return code;
}

int vacuum_writer_flush(struct vacuum_writer *writer, struct error *err)
{
    struct volume_generation *next = writer->next;
    if (writer->record_count == 0)
        return 0;
    int code = os_write_full(next->os, next->dat_fd, atomic_load(&next->dat_path), writer->pieces,
                             (int)writer->piece_count, volume_generation_end(next), err);
    const struct vacuum_read_back back = {next, writer->check, count_record, writer};
    if (code == 0)
        code = vacuum_read_back(&back, writer->records, writer->record_count, err);
    if (code == 0)
        code = publish(writer, err);
    if (code == 0)
        atomic_store_explicit(&next->dat_end, writer->end, memory_order_release);
    writer->record_count = writer->piece_count = 0;
    return code;
}

/* ---- the end ---- */

static int check_index(struct vacuum_writer *writer, struct error *err)
{
    struct vacuum_digest found = {0};
    struct needle_cursor *cursor;
    const struct needle_entry *entries;
    size_t count;
    int code = needle_cursor_open(writer->next->index, NEEDLE_INDEX_BY_KEY, UINT64_MAX, &cursor, err);
    if (code != 0)
        return code;
    while ((code = needle_cursor_next(cursor, &entries, &count, err)) == 0 && count > 0)
        for (size_t i = 0; i < count; i++)
            count_entry(&found, &entries[i]);
    needle_cursor_close(cursor);
    if (code == 0 && !vacuum_digest_equals(&found, &writer->written))
        code = error_set(err, KELP_E_CORRUPT,
                         "%s: the new index has %llu entries, and they are not the %llu that were written",
                         atomic_load(&writer->next->dat_path), (unsigned long long)found.count,
                         (unsigned long long)writer->written.count);
    return code;
}

int vacuum_writer_end(struct vacuum_writer *writer, struct error *err)
{
    int code = vacuum_writer_flush(writer, err);
    if (code == 0)
        code = write_rows(writer, err);
    if (code == 0)
        code = needle_index_fill_end(writer->next->index, err);
    if (code == 0)
        code = check_index(writer, err);
    writer->v->result = writer->digest;
    return code;
}
