/* The code of packed blocks: every shape of keys, sizes and offsets comes back as it was. */
#include "volume/storage/index/packed_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MAX_OFFSET ((((uint64_t)1 << 40) - 1) * NEEDLE_ALIGNMENT)

static uint64_t state = 1;
static uint64_t any(void)
{
    state += 0x9e3779b97f4a7c15u;
    uint64_t x = state;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Encodes, decodes, finds each key and none beside them; returns the length. */
static size_t check(const struct needle_entry *entries, size_t count, uint8_t version)
{
    /* In memory of just the length that may be read, so that a sanitizer sees more. */
    uint8_t scratch[PACKED_BLOCK_MAX];
    memset(scratch, 0xaa, sizeof(scratch));
    size_t length = packed_block_encode(scratch, entries, count, version);
    assert_true(length + 8 <= PACKED_BLOCK_MAX);
    uint8_t *block = malloc(length + PACKED_BLOCK_SLACK);
    memcpy(block, scratch, length);
    memset(block + length, 0x55, PACKED_BLOCK_SLACK);
    assert_int_equal(packed_block_length(block, length, count), length);
    assert_int_equal(packed_block_length(block, length - 1, count), 0);

    struct needle_entry again[PACKED_BLOCK_ENTRIES], found;
    packed_block_decode(block, entries[0].key, count, version, again);
    for (size_t i = 0; i < count; i++) {
        assert_true(again[i].key == entries[i].key && again[i].offset == entries[i].offset &&
                    again[i].size == entries[i].size);
        assert_true(packed_block_find(block, entries[0].key, count, version, entries[i].key, &found));
        assert_true(found.key == entries[i].key && found.offset == entries[i].offset &&
                    found.size == entries[i].size);
        uint64_t next = entries[i].key + 1;
        if (next != 0 && (i + 1 == count || entries[i + 1].key != next))
            assert_false(packed_block_find(block, entries[0].key, count, version, next, &found));
    }
    if (entries[0].key > 0)
        assert_false(packed_block_find(block, entries[0].key, count, version, entries[0].key - 1, &found));
    free(block);
    return length;
}

static void needles_in_order_cost_their_head(void **unused)
{
    struct needle_entry entries[PACKED_BLOCK_ENTRIES];
    for (int version = 1; version <= 3; version++) {
        uint64_t offset = 8;
        for (size_t i = 0; i < PACKED_BLOCK_ENTRIES; i++) {
            entries[i] = (struct needle_entry){1000 + i, offset, 4711};
            offset += needle_record_size((uint8_t)version, 4711);
        }
        assert_int_equal(check(entries, PACKED_BLOCK_ENTRIES, (uint8_t)version), PACKED_BLOCK_HEAD);
        entries[40].size = -4711; /* deleted: the chain holds */
        assert_int_equal(check(entries, PACKED_BLOCK_ENTRIES, (uint8_t)version), PACKED_BLOCK_HEAD + 8);
        entries[20].offset = MAX_OFFSET; /* written anew elsewhere: two breaks */
        assert_true(check(entries, PACKED_BLOCK_ENTRIES, (uint8_t)version) <= PACKED_BLOCK_HEAD + 16 + 15);
    }
}

static void outermost_values(void **unused)
{
    const struct needle_entry entries[] = {
        {0, 8, 0},
        {1, MAX_OFFSET, INT32_MAX},
        {2, 8, -INT32_MAX},
        {3, MAX_OFFSET, NEEDLE_TOMBSTONE},
        {UINT64_MAX - 1, 8, 1},
        {UINT64_MAX, 16, 0},
    };
    for (size_t from = 0; from < 6; from++)
        for (size_t to = from + 1; to <= 6; to++)
            check(entries + from, to - from, 3);
    struct needle_entry all[PACKED_BLOCK_ENTRIES];
    for (size_t jump = 0; jump <= PACKED_BLOCK_ENTRIES; jump++) { /* one step over nearly all keys */
        for (size_t i = 0; i < PACKED_BLOCK_ENTRIES; i++)
            all[i] = (struct needle_entry){i < jump ? i : UINT64_MAX - PACKED_BLOCK_ENTRIES + 1 + i,
                                           i % 2 ? 8 : MAX_OFFSET, i % 3 ? INT32_MAX : -1};
        check(all, PACKED_BLOCK_ENTRIES, 3);
    }
}

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Keys below a random width, sizes and offsets of random widths, some in a chain, some deleted. */
static size_t make_random(struct needle_entry *entries, size_t count, uint8_t version)
{
    uint64_t keys[PACKED_BLOCK_ENTRIES], base = any() % 3 ? any() : 0;
    unsigned key_bits = (unsigned)(any() % 58) + 7, size_bits = (unsigned)(any() % 32);
    unsigned offset_bits = (unsigned)(any() % 41);
    base &= ~(UINT64_MAX >> (64 - key_bits)); /* no wrap */
    for (size_t i = 0; i < count; i++)
        keys[i] = base | any() >> (64 - key_bits);
    qsort(keys, count, sizeof(keys[0]), by_key);
    size_t kept = 0;
    unsigned chained = (unsigned)(any() % 101), deleted = any() % 2 ? (unsigned)(any() % 101) : 0;
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && keys[i] == entries[kept - 1].key)
            continue;
        int32_t size = (int32_t)(any() & ((1ull << size_bits) - 1));
        uint64_t offset = 8 + (any() & ((1ull << offset_bits) - 1)) * 8;
        if (kept > 0 && any() % 100 < chained)
            offset = entries[kept - 1].offset + needle_record_size(version, abs(entries[kept - 1].size));
        if (offset > MAX_OFFSET)
            offset = 8;
        if (any() % 100 < deleted)
            size = size > 0 ? -size : NEEDLE_TOMBSTONE;
        entries[kept++] = (struct needle_entry){keys[i], offset, size};
    }
    return kept;
}

static void random_blocks(void **unused)
{
    struct needle_entry entries[PACKED_BLOCK_ENTRIES];
    for (int i = 0; i < 20000; i++) {
        uint8_t version = (uint8_t)(1 + any() % 3);
        size_t count = make_random(entries, (size_t)(any() % PACKED_BLOCK_ENTRIES) + 1, version);
        check(entries, count, version);
    }
}

static void offsets_that_no_volume_has_stay_within_the_longest(void **unused)
{
    struct needle_entry entries[PACKED_BLOCK_ENTRIES];
    uint8_t block[2 * PACKED_BLOCK_MAX];
    for (size_t i = 0; i < PACKED_BLOCK_ENTRIES; i++)
        entries[i] = (struct needle_entry){i << 57 | (i % 2 ? UINT64_MAX >> 7 : 0),
                                           i % 2 ? MAX_OFFSET * 3 : 0, i % 3 ? INT32_MIN : 0};
    assert_true(packed_block_encode(block, entries, PACKED_BLOCK_ENTRIES, 3) + 8 <= PACKED_BLOCK_MAX);
    for (size_t i = 0; i < PACKED_BLOCK_ENTRIES; i++) /* far from any line */
        entries[i].key = i < PACKED_BLOCK_ENTRIES / 2 ? i : UINT64_MAX - PACKED_BLOCK_ENTRIES + i;
    assert_true(packed_block_encode(block, entries, PACKED_BLOCK_ENTRIES, 3) + 8 <= PACKED_BLOCK_MAX);
}

/* A block that says it is as long as it is can be read, whatever its bytes are: here ASan watches. */
static void bytes_that_are_no_block(void **unused)
{
    struct needle_entry entries[PACKED_BLOCK_ENTRIES];
    size_t taken = 0;
    for (int i = 0; i < 100000; i++) {
        uint8_t bytes[PACKED_BLOCK_MAX + PACKED_BLOCK_SLACK];
        for (size_t at = 0; at < sizeof(bytes); at += 8)
            store_le64(bytes + (at + 8 <= sizeof(bytes) ? at : sizeof(bytes) - 8), any());
        bytes[0] %= 68;
        bytes[1] %= 34;
        bytes[2] %= 42;
        bytes[3] %= 17;
        size_t count = (size_t)(any() % 66);
        size_t length = packed_block_length(bytes, (size_t)(any() % PACKED_BLOCK_MAX), count);
        if (length == 0)
            continue;
        taken++;
        uint8_t *block = malloc(length + PACKED_BLOCK_SLACK);
        memcpy(block, bytes, length);
        memset(block + length, 0xff, PACKED_BLOCK_SLACK);
        uint64_t first = any();
        packed_block_decode(block, first, count, 3, entries);
        struct needle_entry found;
        packed_block_find(block, first, count, 3, entries[any() % count].key, &found);
        packed_block_find(block, first, count, 3, any(), &found);
        free(block);
        /* A merge encodes again what it decoded, in whatever order that is. */
        assert_true(packed_block_encode(bytes, entries, count, 3) + 8 <= PACKED_BLOCK_MAX);
    }
    assert_true(taken > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles_in_order_cost_their_head),
        cmocka_unit_test(outermost_values),
        cmocka_unit_test(random_blocks),
        cmocka_unit_test(offsets_that_no_volume_has_stay_within_the_longest),
        cmocka_unit_test(bytes_that_are_no_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
