/* The CRC of a record is that of all of its data, so a range cannot be checked by itself. But whoever
 * reads ranges of a blob reads many: once a record was read whole and found right, its lane keeps a
 * CRC of each of its blocks, and what later ranges touch is compared with those. So each byte that
 * goes out was compared with what was there when the record was whole, also when its page was dropped
 * and read anew, damaged, in between. Anything unusual (a block that does not match, a page that is
 * not in memory, several ranges) goes back to the record as a whole, which tells what is wrong.
 *
 * The table is bounded and each record has one place in it: a newcomer takes the place of who was
 * there. It is noted by name only at first and gets its CRCs when it comes again, because ranges here
 * and there of more blobs than the table holds should not cost more than without it. */
#include "volume/blob_part.h"

#include "common/check.h"
#include "common/crc32c.h"
#include "common/http_range.h"
#include "volume/blob_image.h"

#include <stdlib.h>

#define BLOCK_SIZE_MIN (4u << 10)
/* Beyond it, to check the whole is no great part of the cost. */
#define PART_MAX (128u << 10)

static bool is_for_a_range(struct blob *blob)
{
    return blob->call->kind == BLOB_CALL_GET && blob->read.record_size > BLOB_PART_RECORD_MIN &&
           blob->read.record_size <= BLOB_PART_RECORD_MAX &&
           http_request_header(blob->call->request, "Range").len > 0 && !blob_image_is_wanted(blob);
}

static struct blob_lane_sums *place_of(struct blob *blob)
{
    struct blob_lane *lane = blob->call->lane;
    if (!lane->sums)
        lane->sums = must(calloc(BLOB_LANE_SUMS, sizeof(*lane->sums)));
    return &lane->sums[blob_lane_slot(&blob->read, BLOB_LANE_SUMS)];
}

static bool is_of(const struct blob_lane_sums *sums, const struct volume_read *read)
{
    return sums->serial == read->serial && sums->offset == read->offset;
}

/* False: the request asks for something else than one range. */
static bool find_range(struct blob *blob, uint64_t size, struct http_range *ret)
{
    struct http_request *request = blob->call->request;
    struct http_range_set set;
    http_range_parse(request->arena, http_request_header(request, "Range"), size, &set);
    if (set.outcome != HTTP_RANGE_SINGLE || set.ranges[0].length == 0 ||
        set.ranges[0].length > PART_MAX)
        return false;
    *ret = set.ranges[0];
    return true;
}

static bool blocks_match(const struct blob_lane_sums *sums, struct slice blocks, size_t first)
{
    for (size_t i = first; blocks.len > 0; i++) {
        struct slice block = slice_until(blocks, sums->block_size);
        if (crc32c(0, block.ptr, block.len) != sums->items[i])
            return false;
        blocks = slice_from(blocks, block.len);
    }
    return true;
}

/* KELP_E_AGAIN: not now, or not sound. */
static int read_part(struct blob *blob, const struct blob_lane_sums *sums,
                     const struct needle *needle)
{
    uint64_t size = needle->data.len;
    struct http_range range;
    if (size != sums->data_size || !needle_checksum_matches(needle->checksum, sums->checksum) ||
        !find_range(blob, size, &range))
        return KELP_E_AGAIN;
    uint64_t first = range.start / sums->block_size;
    uint64_t start = first * sums->block_size;
    uint64_t end = ((range.start + range.length - 1) / sums->block_size + 1) * sums->block_size;
    size_t length = (size_t)((end < size ? end : size) - start);
    blob->record = malloc(length);
    blob->is_record_malloced = true;
    if (!blob->record)
        return KELP_E_NO_MEMORY;
    int code = volume_read_data(&blob->read, blob->record, length, start, true, NULL);
    if (code != 0)
        return code;
    struct slice blocks = slice_of(blob->record, length);
    if (!blocks_match(sums, blocks, (size_t)first))
        return KELP_E_AGAIN;
    blocks = slice_from(blocks, (size_t)(range.start - start));
    blob->part = slice_until(blocks, (size_t)range.length);
    return 0;
}

bool blob_part_load(struct blob *blob)
{
    if (!is_for_a_range(blob))
        return false;
    const struct blob_lane_sums *sums = place_of(blob);
    if (!is_of(sums, &blob->read) || sums->block_size == 0)
        return false;
    struct needle needle;
    blob->around = malloc(VOLUME_READ_AROUND_MAX);
    blob->code = KELP_E_NO_MEMORY;
    if (blob->around)
        blob->code = volume_read_around(&blob->read, blob->around, true, &needle, NULL);
    if (blob->code == 0)
        blob->code = read_part(blob, sums, &needle);
    if (blob->code == 0) {
        blob->needle = needle;
        blob->needle.checksum = sums->checksum;
    }
    if (blob->code != KELP_E_AGAIN)
        return true;
    blob_free(blob);
    blob->is_record_malloced = false;
    return false;
}

void blob_part_remember(struct blob *blob)
{
    if (!is_for_a_range(blob) || blob->needle.flags & (NEEDLE_IS_GZIP | NEEDLE_IS_CHUNK_MANIFEST))
        return;
    struct blob_lane_sums *sums = place_of(blob);
    if (!is_of(sums, &blob->read)) {
        *sums = (struct blob_lane_sums){.serial = blob->read.serial, .offset = blob->read.offset};
        return;
    }
    struct slice data = blob->needle.data;
    sums->data_size = (uint32_t)data.len;
    sums->checksum = blob->needle.checksum;
    sums->block_size = BLOCK_SIZE_MIN;
    while (data.len > (size_t)sums->block_size * BLOB_LANE_SUMS_OF_ONE)
        sums->block_size *= 2;
    for (size_t i = 0; data.len > 0; i++) {
        struct slice block = slice_until(data, sums->block_size);
        sums->items[i] = crc32c(0, block.ptr, block.len);
        data = slice_from(data, block.len);
    }
}
