/* Whether what was written is there: reading it back and comparing it, byte by byte, with where it came
 * from. Records that lie side by side are read in one go. Runs on whichever thread wrote. */
#include "volume/storage/vacuum_internal.h"

uint32_t vacuum_record_checksum(const uint8_t *record, int32_t size)
{
    return load_be32(record + NEEDLE_HEADER_SIZE + (size > 0 ? (uint32_t)size : 0));
}

int vacuum_fail_check(const struct volume_generation *next, const struct needle_entry *entry,
                      const char *what, struct error *err)
{
    return error_set(err, KELP_E_CORRUPT, "%s at %llu: needle %llx %s",
                     atomic_load(&next->dat_path), (unsigned long long)entry->offset,
                     (unsigned long long)entry->key, what);
}

static int read_back(const struct vacuum_read_back *r, size_t n, uint64_t offset, struct error *err)
{
    return os_read_full(r->next->os, r->next->dat_fd, atomic_load(&r->next->dat_path), r->buffer, n,
                        offset, err);
}

static int compare(const struct vacuum_read_back *r, const struct vacuum_written *written,
                   const uint8_t *bytes, size_t from, size_t n, struct error *err)
{
    return memcmp(bytes, written->source + from, n) == 0
               ? 0
               : vacuum_fail_check(r->next, &written->entry, "reads back differently", err);
}

/* A record that does not fit the buffer, in pieces. */
static int check_large(const struct vacuum_read_back *r, const struct vacuum_written *written,
                       uint64_t size, struct error *err)
{
    const struct needle_entry *entry = &written->entry;
    int code = 0;
    for (uint64_t done = 0, n; done < size && code == 0; done += n) {
        n = size - done < VACUUM_CHECK_BYTES ? size - done : VACUUM_CHECK_BYTES;
        code = read_back(r, (size_t)n, entry->offset + done, err);
        if (code == 0)
            code = compare(r, written, r->buffer, (size_t)done, (size_t)n, err);
    }
    if (code != 0)
        return code;
    return r->is_there(r->ctx, entry, vacuum_record_checksum(written->source, entry->size), err);
}

/* `count` records of `size` bytes together, which lie side by side. */
static int check_group(const struct vacuum_read_back *r, const struct vacuum_written *written,
                       size_t count, size_t size, struct error *err)
{
    uint64_t start = written->entry.offset;
    int code = read_back(r, size, start, err);
    for (size_t i = 0; i < count && code == 0; i++) {
        const struct needle_entry *entry = &written[i].entry;
        const uint8_t *bytes = r->buffer + (entry->offset - start);
        code = compare(r, &written[i], bytes, 0,
                       (size_t)needle_record_size(r->next->version, entry->size), err);
        if (code == 0)
            code = r->is_there(r->ctx, entry, vacuum_record_checksum(bytes, entry->size), err);
    }
    return code;
}

int vacuum_read_back(const struct vacuum_read_back *r, const struct vacuum_written *written,
                     size_t count, struct error *err)
{
    int code = 0;
    for (size_t i = 0, last; i < count && code == 0; i = last) {
        uint64_t size = 0;
        for (last = i; last < count; last++) {
            uint64_t more = needle_record_size(r->next->version, written[last].entry.size);
            if (size + more > VACUUM_CHECK_BYTES && last > i)
                break;
            size += more;
        }
        code = size > VACUUM_CHECK_BYTES
                   ? check_large(r, &written[i], size, err)
                   : check_group(r, &written[i], last - i, (size_t)size, err);
    }
    return code;
}
