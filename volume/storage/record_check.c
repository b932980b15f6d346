/* Judging records. See the header. */
#include "volume/storage/record_check.h"

#include "common/check.h"
#include "common/crc32c.h"
#include "volume/storage/vacuum_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#define WINDOW_BYTES (1u << 20)

struct record_checker {
    struct volume_generation *generation;
    struct vacuum_pages *pages;
    uint64_t end;
    uint64_t pages_at; /* the pages below were asked for */
    uint64_t window_offset;
    size_t window_size;
    uint8_t window[WINDOW_BYTES];
};

int record_checker_create(struct record_checker **ret, struct volume_generation *generation,
                          uint64_t end, struct error *err)
{
    struct record_checker *checker = malloc(sizeof(*checker));
    if (!checker)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to check %s",
                         atomic_load(&generation->dat_path));
    checker->generation = generation;
    checker->pages = vacuum_pages_create(generation);
    checker->end = end;
    checker->pages_at = 0;
    checker->window_offset = 0;
    checker->window_size = 0;
    *ret = checker;
    return 0;
}

void record_checker_destroy(struct record_checker *checker)
{
    if (!checker)
        return;
    vacuum_pages_destroy(checker->pages);
    free(checker);
}

static int load_window(struct record_checker *checker, uint64_t offset, size_t size,
                       struct error *err)
{
    checker->window_size = 0;
    int code =
        volume_generation_pread(checker->generation, checker->window, size, offset, false, err);
    if (code != 0)
        return code;
    checker->window_offset = offset;
    checker->window_size = size;
    return 0;
}

/* n bytes at the offset, both below the end, n at most half a window. */
static int bytes_at(struct record_checker *checker, uint64_t offset, size_t n, const uint8_t **ret,
                    struct error *err)
{
    if (offset < checker->window_offset ||
        offset + n > checker->window_offset + checker->window_size) {
        uint64_t left = checker->end - offset;
        size_t size = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;
        if (offset >= checker->pages_at) {
            vacuum_pages_done(checker->pages, offset);
            vacuum_pages_want(checker->pages, offset, offset + size);
            checker->pages_at = offset;
        }
        int code = load_window(checker, offset, size, err);
        if (code != 0) /* what cannot be read may lie further on */
            code = load_window(checker, offset, n, err);
        if (code != 0)
            return code;
    }
    *ret = checker->window + (offset - checker->window_offset);
    return 0;
}

static int sum_data(struct record_checker *checker, uint64_t offset, uint64_t size, uint32_t *ret,
                    struct error *err)
{
    uint32_t crc = 0;
    while (size > 0) {
        size_t n = size < WINDOW_BYTES / 2 ? (size_t)size : WINDOW_BYTES / 2;
        const uint8_t *bytes;
        int code = bytes_at(checker, offset, n, &bytes, err);
        if (code != 0)
            return code;
        crc = crc32c(crc, bytes, n);
        offset += n;
        size -= n;
    }
    *ret = crc;
    return 0;
}

static enum record_fault fault(struct record_report *ret, enum record_fault kind, const char *fmt,
                               ...) __attribute__((format(printf, 3, 4)));
static enum record_fault fault(struct record_report *ret, enum record_fault kind, const char *fmt,
                               ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(ret->reason, sizeof(ret->reason), fmt, args);
    va_end(args);
    return kind;
}

/* The header is known and its extent lies below the end. */
static enum record_fault check_body(struct record_checker *checker, uint64_t offset,
                                    struct record_report *ret)
{
    uint8_t version = checker->generation->version;
    int32_t size = ret->header.size;
    uint64_t record_size = needle_record_size(version, size);
    size_t head_size = version != 1 && size > 0 ? NEEDLE_HEAD_MAX : NEEDLE_HEADER_SIZE;
    uint8_t head[NEEDLE_HEAD_MAX];
    const uint8_t *bytes;
    struct error err;
    if (bytes_at(checker, offset, head_size, &bytes, &err) != 0)
        return fault(ret, RECORD_UNREADABLE, "%.150s", err.message);
    memcpy(head, bytes, head_size);
    uint64_t data_size = size > 0 ? (uint64_t)size : 0;
    if (version != 1 && size > 0)
        data_size = load_be32(head + NEEDLE_HEADER_SIZE);
    if (data_size > (uint64_t)size)
        return fault(ret, RECORD_BAD_BODY, "data of %" PRIu64 " bytes in a body of %d", data_size,
                     size);
    if (record_size - head_size - data_size > NEEDLE_TAIL_MAX)
        return fault(ret, RECORD_BAD_BODY,
                     "%" PRIu64 " bytes after the data, more than there can be",
                     record_size - head_size - data_size);
    if (bytes_at(checker, offset + head_size + data_size, record_size - head_size - data_size,
                 &bytes, &err) != 0)
        return fault(ret, RECORD_UNREADABLE, "%.150s", err.message);
    struct needle needle;
    if (needle_parse_around(head, bytes, record_size - head_size - data_size, version, size,
                            &needle, &err) != 0)
        return fault(ret, RECORD_BAD_BODY, "%.150s", err.message);
    ret->append_at_ns = needle.append_at_ns;
    ret->crc_stored = needle.checksum;
    if (data_size == 0)
        return RECORD_GOOD;
    if (sum_data(checker, offset + head_size, data_size, &ret->crc_computed, &err) != 0)
        return fault(ret, RECORD_UNREADABLE, "%.150s", err.message);
    if (!needle_checksum_matches(ret->crc_stored, ret->crc_computed))
        return fault(ret, RECORD_BAD_CRC, "CRC is %08x, stored is %08x", ret->crc_computed,
                     ret->crc_stored);
    return RECORD_GOOD;
}

enum record_fault record_check_row(struct record_checker *checker, const struct needle_entry *row,
                                   struct record_report *ret)
{
    struct error err;
    const uint8_t *bytes;
    *ret = (struct record_report){0};
    if (bytes_at(checker, row->offset, NEEDLE_HEADER_SIZE, &bytes, &err) != 0)
        return fault(ret, RECORD_UNREADABLE, "%.150s", err.message);
    needle_header_load(bytes, &ret->header);
    if (ret->header.size != (row->size > 0 ? row->size : 0))
        return fault(ret, RECORD_BAD_HEADER,
                     "the record's header says size %d (needle %" PRIx64 "), the index says %d",
                     ret->header.size, ret->header.key, row->size);
    enum record_fault found = check_body(checker, row->offset, ret);
    if (found == RECORD_GOOD && ret->header.key != row->key)
        return fault(ret, RECORD_BAD_KEY, "the record is of needle %" PRIx64, ret->header.key);
    return found;
}

bool record_check_any(struct record_checker *checker, uint64_t offset, struct record_report *ret)
{
    const uint8_t *bytes;
    *ret = (struct record_report){0};
    if (checker->end - offset < needle_record_size(checker->generation->version, 0) ||
        bytes_at(checker, offset, NEEDLE_HEADER_SIZE, &bytes, NULL) != 0)
        return false;
    needle_header_load(bytes, &ret->header);
    if (ret->header.size < 0 || ret->header.key == 0 ||
        needle_record_size(checker->generation->version, ret->header.size) > checker->end - offset)
        return false;
    return check_body(checker, offset, ret) == RECORD_GOOD;
}
