/* The facts of a record, one table each: spec/storage-format.md 3, 4, 6. What test_needle.c has as vectors is
 * not repeated here. */
#include "common/check.h"
#include "common/crc32c.h"
#include "common/replica_placement.h"
#include "volume/storage/format/needle.h"
#include "volume/storage/format/super_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define KEY    0x1122334455667788ull
#define COOKIE 0x637037d6u

static struct needle plain(const char *data, size_t size)
{
    return (struct needle){.key = KEY, .cookie = COOKIE, .data = slice_of(data, size),
                           .flags = NEEDLE_HAS_NAME | NEEDLE_HAS_MIME | NEEDLE_HAS_LAST_MODIFIED,
                           .last_modified = 0x0165000000, .checksum = crc32c(0, data, size),
                           .append_at_ns = 0x17e2a1b2c3d4e5f6};
}

/* The whole record, malloc'd. */
static uint8_t *encode(const struct needle *needle, uint8_t version, size_t *ret_size, int32_t *ret_body)
{
    uint8_t head[NEEDLE_HEAD_MAX];
    uint8_t *tail = must(malloc(needle_tail_size(needle, version)));
    struct needle_record record;
    assert_int_equal(needle_encode(needle, version, head, tail, &record, NULL), 0);
    *ret_size = record.head_size + record.data_size + record.tail_size;
    *ret_body = record.body_size;
    uint8_t *bytes = must(malloc(*ret_size));
    memcpy(bytes, head, record.head_size);
    memcpy(bytes + record.head_size, needle->data.ptr, record.data_size);
    memcpy(bytes + record.head_size + record.data_size, tail, record.tail_size);
    free(tail);
    assert_int_equal(*ret_size, needle_record_size(version, *ret_body));
    assert_int_equal(load_be32(bytes + 12), *ret_body);
    return bytes;
}

/* Spec 6.2: what the peer leaves in its padding, for every length of it. */
static void padding_is_what_the_peer_leaves_there(void **state)
{
    char data[16] = "0123456789abcde";
    bool has_seen[4][9] = {{false}};
    for (uint8_t version = 1; version <= 3; version++)
        for (size_t length = 0; length < 16; length++)
            for (int has_time = 0; has_time < 2; has_time++) {
                struct needle needle = plain(data, length);
                if (!has_time)
                    needle.flags &= (uint8_t)~NEEDLE_HAS_LAST_MODIFIED;
                size_t size;
                int32_t body;
                uint8_t *record = encode(&needle, version, &size, &body), expected[8] = {0};
                size_t padding = size - (16 + (size_t)body + (version == 3 ? 12 : 4));
                if (version == 1) {
                    store_be64(expected, KEY);
                } else if (version == 2) {
                    store_be32(expected, has_time && length > 0 ? 0x65000000 : (uint32_t)(KEY >> 32));
                    store_be32(expected + 4, (uint32_t)KEY);
                } else {
                    store_be32(expected, (uint32_t)body);
                }
                assert_in_range(padding, 1, 8);
                assert_memory_equal(record + size - padding, expected, padding);
                has_seen[version][padding] = true;
                /* Readers ignore it. */
                struct needle read;
                memset(record + size - padding, 0xa5, padding);
                assert_int_equal(needle_parse(record, size, version, body, &read, NULL), 0);
                free(record);
            }
    for (size_t version = 1; version <= 3; version++)
        for (size_t padding = 1; padding <= 8; padding++)
            assert_true(has_seen[version][padding]);
}

/* Flags, in the order of the parts that they announce. */
static void flags_have_their_values(void **state)
{
    assert_int_equal(NEEDLE_IS_GZIP, 0x01);
    assert_int_equal(NEEDLE_HAS_NAME, 0x02);
    assert_int_equal(NEEDLE_HAS_MIME, 0x04);
    assert_int_equal(NEEDLE_HAS_LAST_MODIFIED, 0x08);
    assert_int_equal(NEEDLE_HAS_TTL, 0x10);
    assert_int_equal(NEEDLE_HAS_PAIRS, 0x20);
    assert_int_equal(NEEDLE_IS_CHUNK_MANIFEST, 0x80);
}

/* Every set of flags: the body's length is the sum of its parts, and they read back, the unused bit too. */
static void every_set_of_flags_reads_back(void **state)
{
    for (unsigned flags = 0; flags < 256; flags++) {
        struct needle needle = plain("data", 4), read;
        needle.flags = (uint8_t)flags;
        needle.name = SLICE("a name");
        needle.mime = SLICE("x/y");
        needle.ttl = (struct ttl){7, 6};
        needle.pairs = SLICE("{\"a\":\"b\"}");
        size_t size;
        int32_t body;
        uint8_t *record = encode(&needle, 3, &size, &body);
        assert_int_equal(body, 4 + 4 + 1 + (flags & 2 ? 7 : 0) + (flags & 4 ? 4 : 0) +
                                   (flags & 8 ? 5 : 0) + (flags & 16 ? 2 : 0) + (flags & 32 ? 11 : 0));
        assert_int_equal(needle_parse(record, size, 3, body, &read, NULL), 0);
        assert_int_equal(read.flags, flags);
        assert_int_equal(read.name.len, flags & 2 ? 6 : 0);
        assert_int_equal(read.mime.len, flags & 4 ? 3 : 0);
        assert_true(read.last_modified == (flags & 8 ? 0x0165000000 : 0)); /* five bytes of it */
        assert_int_equal(read.ttl.count, flags & 16 ? 7 : 0);
        assert_int_equal(read.pairs.len, flags & 32 ? 9 : 0);
        free(record);
    }
}

static void parts_have_their_limits(void **state)
{
    static char text[65536];
    memset(text, 'n', sizeof(text));
    static const struct {
        size_t name, mime, pairs;
        size_t name_kept;
        int code;
    } table[] = {
        {0, 0, 0, 0, 0},         {254, 255, 65535, 254, 0}, {255, 0, 0, 255, 0},
        {256, 0, 0, 255, 0},     {65536, 0, 0, 255, 0},     {0, 256, 0, 0, KELP_E_INVALID},
        {0, 0, 65536, 0, KELP_E_INVALID},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct needle needle = plain("x", 1), read;
        needle.flags |= NEEDLE_HAS_PAIRS;
        needle.name = slice_of(text, table[i].name);
        needle.mime = slice_of(text, table[i].mime);
        needle.pairs = slice_of(text, table[i].pairs);
        int32_t body;
        assert_int_equal(needle_body_size(&needle, 3, &body, NULL), table[i].code);
        if (table[i].code != 0)
            continue;
        size_t size;
        uint8_t *record = encode(&needle, 3, &size, &body);
        assert_int_equal(needle_parse(record, size, 3, body, &read, NULL), 0);
        assert_int_equal(read.name.len, table[i].name_kept);
        assert_int_equal(read.mime.len, table[i].mime);
        assert_int_equal(read.pairs.len, table[i].pairs);
        free(record);
    }
}

/* The body may end before any part, or go on after the last; a part that is cut is corruption. */
static void a_body_may_end_before_any_part(void **state)
{
    struct needle needle = plain("data", 4), read;
    needle.flags |= NEEDLE_HAS_TTL | NEEDLE_HAS_PAIRS;
    needle.name = SLICE("name");
    needle.mime = SLICE("mi/me");
    needle.ttl = (struct ttl){3, 2};
    needle.pairs = SLICE("{}");
    size_t whole;
    int32_t whole_body;
    uint8_t *bytes = encode(&needle, 3, &whole, &whole_body);
    static const int32_t ends[] = {8, 9, 14, 20, 25, 27, 31}; /* after data, flags, name, ..., pairs */
    assert_int_equal(whole_body, ends[6]);
    for (int32_t body = 8; body <= whole_body + 9; body++) {
        size_t size = needle_record_size(3, body);
        uint8_t *record = must(calloc(1, size));
        int32_t kept = body < whole_body ? body : whole_body;
        memcpy(record, bytes, 16 + (size_t)kept);
        store_be32(record + 12, (uint32_t)body);
        store_be32(record + 16 + body, needle.checksum);
        bool is_end = body > whole_body;
        for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
            is_end |= body == ends[i];
        int code = needle_parse(record, size, 3, body, &read, NULL);
        if (code != (is_end ? 0 : KELP_E_CORRUPT))
            fail_msg("body of %d: %d", body, code);
        if (code == 0) {
            assert_int_equal(read.data.len, 4);
            assert_int_equal(read.name.len, body >= 14 ? 4 : 0);
            assert_int_equal(read.pairs.len, body >= 31 ? 2 : 0);
        }
        free(record);
    }
    free(bytes);
}

static void checksums_are_those_of_the_spec(void **state)
{
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "hello", 5), 0x9a71bb4c);
    for (uint64_t i = 0; i < 1000; i++) {
        uint32_t crc = (uint32_t)(i * 0x9e3779b97f4a7c15u >> 13);
        uint32_t masked = (crc >> 15 | crc << 17) + 0xa282ead8u;
        assert_int_equal(crc32c_legacy(crc), masked);
        assert_true(needle_checksum_matches(crc, crc) && needle_checksum_matches(masked, crc));
        assert_false(needle_checksum_matches(crc ^ 1, crc));
    }
    /* In every version, over the data as it is stored; and an empty one is not looked at. */
    for (uint8_t version = 1; version <= 3; version++)
        for (int form = 0; form < 3; form++) {
            struct needle needle = plain("\x1f\x8b gzip", 7), read;
            uint32_t crc = needle.checksum;
            needle.checksum = form == 0 ? crc : form == 1 ? crc32c_legacy(crc) : ~crc;
            size_t size;
            int32_t body;
            uint8_t *record = encode(&needle, version, &size, &body);
            assert_int_equal(needle_parse(record, size, version, body, &read, NULL),
                             form == 2 ? KELP_E_CORRUPT : 0);
            if (form < 2)
                assert_int_equal(read.checksum, crc);
            free(record);
            needle.data.len = 0;
            record = encode(&needle, version, &size, &body);
            assert_int_equal(body, 0);
            assert_int_equal(needle_parse(record, size, version, 0, &read, NULL), 0);
            assert_int_equal(read.checksum, needle.checksum);
            free(record);
        }
}

/* Without the data the stored sum is all there is: it is kept as it is. */
static void the_ends_of_a_record_tell_everything_but_the_data(void **state)
{
    for (uint8_t version = 1; version <= 3; version++) {
        struct needle needle = plain("some data", 9), read;
        needle.name = SLICE("n");
        needle.checksum = crc32c_legacy(needle.checksum);
        size_t size;
        int32_t body;
        uint8_t *record = encode(&needle, version, &size, &body);
        size_t head = version == 1 ? 16 : 20;
        assert_int_equal(needle_parse_around(record, record + head + 9, size - head - 9, version, body,
                                             &read, NULL), 0);
        assert_int_equal(read.data.len, 9);
        assert_int_equal(read.checksum, needle.checksum);
        assert_int_equal(read.name.len, version == 1 ? 0 : 1);
        assert_true(read.append_at_ns == (version == 3 ? needle.append_at_ns : 0));
        free(record);
    }
}

/* Versions 1 and 2 have no stamp, so a needle with a TTL of its own is over at once (spec 4). */
static void expiry_follows_the_stamp(void **state)
{
    const int64_t minute = 60000000000;
    static const struct {
        struct ttl ttl;
        int minutes;
    } table[] = {
        {{1, 1}, 1}, {{2, 2}, 120}, {{1, 3}, 1440}, {{1, 4}, 10080}, {{1, 5}, 43200}, {{1, 6}, 525600},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct needle needle = plain("x", 1);
        needle.flags |= NEEDLE_HAS_TTL;
        needle.ttl = table[i].ttl;
        needle.append_at_ns = 5;
        assert_false(needle_is_expired(&needle, 4 + table[i].minutes * minute));
        assert_true(needle_is_expired(&needle, 5 + table[i].minutes * minute));
        needle.append_at_ns = 0;
        assert_true(needle_is_expired(&needle, 1795258691000000000));
        needle.ttl.unit = 0; /* no unit, or one that nobody knows: for ever */
        assert_false(needle_is_expired(&needle, INT64_MAX));
        needle.ttl.unit = 7;
        assert_false(needle_is_expired(&needle, INT64_MAX));
    }
}

static void super_blocks_end_where_the_first_record_begins(void **state)
{
    for (unsigned version = 0; version < 256; version++) {
        uint8_t bytes[8] = {(uint8_t)version, 210, 4, 3, 0xff, 0xff, 0, 16};
        struct super_block block;
        bool is_known = version >= 1 && version <= 3;
        assert_int_equal(super_block_load(bytes, &block, NULL), is_known ? 0 : KELP_E_CORRUPT);
        if (!is_known)
            continue;
        assert_int_equal(super_block_end(&block), version == 1 ? 8 : 24);
        assert_int_equal(block.compact_revision, 65535);
        assert_int_equal(replica_placement_copies(block.replica_placement), 2 + 1 + 0 + 1);
        uint8_t again[8];
        super_block_store(again, &block);
        assert_memory_equal(again, bytes, 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_is_what_the_peer_leaves_there),
        cmocka_unit_test(flags_have_their_values),
        cmocka_unit_test(every_set_of_flags_reads_back),
        cmocka_unit_test(parts_have_their_limits),
        cmocka_unit_test(a_body_may_end_before_any_part),
        cmocka_unit_test(checksums_are_those_of_the_spec),
        cmocka_unit_test(the_ends_of_a_record_tell_everything_but_the_data),
        cmocka_unit_test(expiry_follows_the_stamp),
        cmocka_unit_test(super_blocks_end_where_the_first_record_begins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
