/* Judging records. See the header. */
#include "volume/storage/record_check.h"

#include "volume/storage/dat_window.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct record_checker {
    struct dat_window *window;
    uint8_t version;
    uint64_t end;
};

int record_checker_create(struct record_checker **ret, struct volume_generation *generation,
                          uint64_t end, struct error *err)
{
    struct record_checker *checker = malloc(sizeof(*checker));
    if (!checker)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to check %s",
                         atomic_load(&generation->dat_path));
    *checker = (struct record_checker){.version = generation->version, .end = end};
    int code = dat_window_open(&checker->window, generation, end, true, err);
    if (code != 0) {
        free(checker);
        return code;
    }
    *ret = checker;
    return 0;
}

void record_checker_destroy(struct record_checker *checker)
{
    if (!checker)
        return;
    dat_window_close(checker->window);
    free(checker);
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
    uint8_t version = checker->version;
    int32_t size = ret->header.size;
    uint64_t record_size = needle_record_size(version, size);
    size_t head_size = version != 1 && size > 0 ? NEEDLE_HEAD_MAX : NEEDLE_HEADER_SIZE;
    uint8_t head[NEEDLE_HEAD_MAX];
    const uint8_t *bytes;
    struct error err;
    if (dat_window_bytes(checker->window, offset, head_size, &bytes, &err) != 0)
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
    if (dat_window_bytes(checker->window, offset + head_size + data_size,
                         record_size - head_size - data_size, &bytes, &err) != 0)
        return fault(ret, RECORD_UNREADABLE, "%.150s", err.message);
    struct needle needle;
    if (needle_parse_around(head, bytes, record_size - head_size - data_size, version, size,
                            &needle, &err) != 0)
        return fault(ret, RECORD_BAD_BODY, "%.150s", err.message);
    ret->append_at_ns = needle.append_at_ns;
    ret->crc_stored = needle.checksum;
    if (data_size == 0)
        return RECORD_GOOD;
    if (dat_window_sum(checker->window, offset + head_size, data_size, &ret->crc_computed, &err) != 0)
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
    if (dat_window_bytes(checker->window, row->offset, NEEDLE_HEADER_SIZE, &bytes, &err) != 0)
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
    if (checker->end - offset < needle_record_size(checker->version, 0) ||
        dat_window_bytes(checker->window, offset, NEEDLE_HEADER_SIZE, &bytes, NULL) != 0)
        return false;
    needle_header_load(bytes, &ret->header);
    if (ret->header.size < 0 || ret->header.key == 0 ||
        needle_record_size(checker->version, ret->header.size) > checker->end - offset)
        return false;
    return check_body(checker, offset, ret) == RECORD_GOOD;
}
