/* Needle records. The first byte is the version, and whether the checksum is made right, since no
 * mutation would ever find it; the rest is the record. */
#include "tests/fuzz/fuzz.h"

#include "common/crc32c.h"
#include "volume/storage/format/needle.h"

static void fix_checksum(uint8_t *record, size_t size, uint8_t version, int32_t body_size)
{
    size_t body = (size_t)body_size;
    if (body_size <= 0 || size < NEEDLE_HEADER_SIZE + body + 4)
        return;
    const uint8_t *data = record + NEEDLE_HEADER_SIZE;
    size_t data_size = body;
    if (version > 1) {
        if (body < 4 || load_be32(data) > body - 4)
            return;
        data_size = load_be32(data);
        data += 4;
    }
    store_be32(record + NEEDLE_HEADER_SIZE + body, crc32c(0, data, data_size));
}

static void check_round_trip(const struct needle *needle, uint8_t version)
{
    struct needle_record shape;
    uint8_t head[NEEDLE_HEAD_MAX];
    size_t room = needle_tail_size(needle, version);
    uint8_t *tail = must(malloc(room));
    if (needle_encode(needle, version, head, tail, &shape, NULL) == 0) {
        size_t size = shape.head_size + shape.data_size + shape.tail_size;
        CHECK(shape.tail_size <= room);
        CHECK(size == needle_record_size(version, shape.body_size));
        uint8_t *record = must(malloc(size));
        memcpy(record, head, shape.head_size);
        if (shape.data_size)
            memcpy(record + shape.head_size, needle->data.ptr, shape.data_size);
        memcpy(record + shape.head_size + shape.data_size, tail, shape.tail_size);
        struct needle again;
        CHECK(needle_parse(record, size, version, shape.body_size, &again, NULL) == 0);
        CHECK(again.key == needle->key && again.cookie == needle->cookie);
        CHECK(slice_equals(again.data, needle->data));
        free(record);
    }
    free(tail);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    uint8_t choice = fuzz_take_byte(&input);
    uint8_t version = (uint8_t)(1 + (choice & 3) % 3);
    size_t size = input.len;
    if (size < needle_record_size(version, 0))
        return 0;
    /* The index names a length, and that many bytes are read: the longest that is there. */
    struct needle_header header;
    int32_t body_size = (int32_t)(size - needle_record_size(version, 0));
    while (needle_record_size(version, body_size) > size)
        body_size--;
    size = needle_record_size(version, body_size);
    uint8_t *record = must(malloc(size));
    memcpy(record, input.ptr, size);
    needle_header_load(record, &header);
    if (choice & 4) { /* or else almost every input is of the wrong length */
        header.size = body_size;
        needle_header_store(record, &header);
    }
    if (choice & 8)
        fix_checksum(record, size, version, header.size);

    struct slice whole = slice_of(record, size);
    struct needle needle, around;
    int code = needle_parse(record, size, version, body_size, &needle, NULL);
    if (code == 0) {
        CHECK(fuzz_lies_within(needle.data, whole) && fuzz_lies_within(needle.name, whole));
        CHECK(fuzz_lies_within(needle.mime, whole) && fuzz_lies_within(needle.pairs, whole));
        CHECK(needle.data.len == 0 ||
              needle.checksum == crc32c(0, needle.data.ptr, needle.data.len));
        check_round_trip(&needle, version);
        needle_is_expired(&needle, INT64_MAX);
    }
    if (size >= NEEDLE_HEAD_MAX) {
        size_t from = NEEDLE_HEAD_MAX;
        if (code == 0 && needle.data.len > 0)
            from = (size_t)((const uint8_t *)needle.data.ptr - record) + needle.data.len;
        if (needle_parse_around(record, record + from, size - from, version, body_size, &around,
                                NULL) == 0 &&
            code == 0 && needle.data.len > 0) {
            CHECK(around.data.len == needle.data.len);
            CHECK(slice_equals(around.name, needle.name) && slice_equals(around.mime, needle.mime));
            CHECK(slice_equals(around.pairs, needle.pairs) && around.flags == needle.flags);
        }
    }
    free(record);
    return 0;
}
