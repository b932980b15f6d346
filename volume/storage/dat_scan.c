/* The scan of a .dat, on a window of it; records larger than it are summed in pieces. See the header. */
#include "volume/storage/dat_scan.h"

#include "volume/storage/dat_window.h"

#include <stdlib.h>

struct dat_scan {
    struct dat_window *window;
    uint8_t version;
    uint64_t at, end;
    dat_scan_known *known;
    void *ctx;
};

int dat_scan_open(struct dat_scan **ret, struct volume_generation *generation, uint64_t offset,
                  dat_scan_known *known, void *ctx, struct error *err)
{
    struct dat_scan *scan = malloc(sizeof(*scan));
    if (!scan)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to scan %s",
                         atomic_load(&generation->dat_path));
    *scan = (struct dat_scan){
        .version = generation->version,
        .at = offset,
        .end = volume_generation_end(generation),
        .known = known,
        .ctx = ctx,
    };
    int code = dat_window_open(&scan->window, generation, scan->end, false, err);
    if (code != 0) {
        free(scan);
        return code;
    }
    *ret = scan;
    return 0;
}

void dat_scan_close(struct dat_scan *scan)
{
    if (!scan)
        return;
    dat_window_close(scan->window);
    free(scan);
}

/* Whether the body's lengths agree and the CRC matches. The record's extent lies within the file. */
static int check_body(struct dat_scan *scan, uint64_t offset, int32_t size, bool *ret_is_good,
                      struct error *err)
{
    uint8_t version = scan->version;
    size_t head_size = version == 1 ? NEEDLE_HEADER_SIZE : NEEDLE_HEAD_MAX;
    uint64_t record_size = needle_record_size(version, size);
    uint8_t head[NEEDLE_HEAD_MAX];
    const uint8_t *bytes;
    *ret_is_good = false;
    int code = dat_window_bytes(scan->window, offset, NEEDLE_HEAD_MAX, &bytes, err);
    if (code != 0)
        return code;
    memcpy(head, bytes, sizeof(head));
    uint64_t data_size = version == 1 ? (uint64_t)size : load_be32(head + NEEDLE_HEADER_SIZE);
    if (head_size + data_size >= record_size ||
        record_size - head_size - data_size > NEEDLE_TAIL_MAX)
        return 0;
    uint64_t tail_size = record_size - head_size - data_size;
    struct needle needle;
    uint32_t crc = 0;
    code = dat_window_bytes(scan->window, offset + head_size + data_size, tail_size, &bytes, err);
    if (code != 0)
        return code;
    if (needle_parse_around(head, bytes, tail_size, version, size, &needle, NULL) != 0)
        return 0;
    code = dat_window_sum(scan->window, offset + head_size, data_size, &crc, err);
    if (code == 0)
        *ret_is_good = data_size == 0 || needle_checksum_matches(needle.checksum, crc);
    return code;
}

/* Looks whether a whole record begins here. A record found while searching has to prove itself: an
 * empty one cannot. */
static int record_at(struct dat_scan *scan, uint64_t offset, bool is_searching,
                     struct dat_item *ret, bool *ret_is_good, struct error *err)
{
    uint8_t version = scan->version;
    const uint8_t *bytes;
    *ret_is_good = false;
    if (scan->end - offset < needle_record_size(version, 0))
        return 0;
    int code = dat_window_bytes(scan->window, offset, NEEDLE_HEADER_SIZE, &bytes, err);
    if (code != 0)
        return code;
    struct needle_header header;
    needle_header_load(bytes, &header);
    if (header.size < 0 || (header.size == 0 && (is_searching || header.key == 0)))
        return 0;
    uint64_t length = needle_record_size(version, header.size);
    if (length > scan->end - offset)
        return 0;
    bool is_good = header.size == 0 || (scan->known && scan->known(scan->ctx, offset, &header));
    if (!is_good)
        code = check_body(scan, offset, header.size, &is_good, err);
    uint64_t append_at_ns = 0;
    bool is_empty_put = false;
    if (code == 0 && is_good && version == 3) {
        size_t from = NEEDLE_HEADER_SIZE + (uint32_t)header.size + 4;
        code = dat_window_bytes(scan->window, offset + from, header.size == 0 ? 12 : 8, &bytes, err);
        if (code == 0) {
            append_at_ns = load_be64(bytes);
            is_empty_put = header.size == 0 && load_be32(bytes + 8) == NEEDLE_EMPTY_MARK;
        }
    }
    if (code != 0 || !is_good)
        return code;
    *ret = (struct dat_item){DAT_RECORD, offset, length, header, append_at_ns, is_empty_put};
    *ret_is_good = true;
    return 0;
}

/* The first place from `at` whose header is not all zeros, or the end. Holes and blocks that were reserved
 * may be gigabytes of them, and no record that proves itself begins so. */
static int skip_zeros(struct dat_scan *scan, uint64_t at, uint64_t *ret, struct error *err)
{
    while (scan->end - at >= NEEDLE_HEADER_SIZE) {
        const uint8_t *bytes;
        size_t size = 0, i = 0;
        int code = dat_window_rest(scan->window, at, NEEDLE_HEADER_SIZE, &bytes, &size, err);
        if (code != 0)
            return code;
        while (i + NEEDLE_HEADER_SIZE <= size && (load_be64(bytes + i) | load_be64(bytes + i + 8)) == 0)
            i += NEEDLE_ALIGNMENT;
        at += i;
        if (i + NEEDLE_HEADER_SIZE <= size) {
            *ret = at;
            return 0;
        }
    }
    *ret = scan->end;
    return 0;
}

int dat_scan_next(struct dat_scan *scan, struct dat_item *ret, struct error *err)
{
    if (scan->at >= scan->end) {
        *ret = (struct dat_item){.kind = DAT_END, .offset = scan->end};
        return 0;
    }
    uint64_t start = scan->at;
    struct dat_item item;
    bool is_good;
    int code = record_at(scan, start, false, &item, &is_good, err);
    if (code != 0)
        return code;
    if (is_good) {
        scan->at += item.length;
        *ret = item;
        return 0;
    }
    uint64_t next = start;
    while (!is_good && next < scan->end) {
        code = skip_zeros(scan, next + NEEDLE_ALIGNMENT, &next, err);
        if (code != 0)
            return code;
        if (next >= scan->end)
            break;
        code = record_at(scan, next, true, &item, &is_good, err);
        if (code != 0)
            return code;
    }
    scan->at = is_good ? next : scan->end;
    *ret = (struct dat_item){.kind = DAT_GAP, .offset = start, .length = scan->at - start};
    return 0;
}
