/* The first eight bytes of a .dat. */
#include "volume/storage/format/super_block.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void fresh_blocks_are_the_test_vectors(void **state)
{
    uint8_t bytes[SUPER_BLOCK_SIZE];
    struct super_block block = {.version = 3};
    super_block_store(bytes, &block);
    assert_memory_equal(bytes, "\x03\0\0\0\0\0\0\0", 8);
    block.replica_placement.other_racks = 1;
    block.ttl = (struct ttl){3, 2};
    super_block_store(bytes, &block);
    assert_memory_equal(bytes, "\x03\x0a\x03\x02\0\0\0\0", 8);
}

static void fields_read_back(void **state)
{
    struct super_block block;
    assert_int_equal(super_block_load((const uint8_t *)"\x02\x7b\x05\x01\xff\xfe\x00\x11", &block, NULL), 0);
    assert_int_equal(block.version, 2);
    assert_int_equal(replica_placement_to_byte(block.replica_placement), 123);
    assert_int_equal(block.ttl.count, 5);
    assert_int_equal(block.compact_revision, 0xfffe);
    assert_int_equal(super_block_end(&block), 32); /* 8 + 17, at the next multiple of 8 */
}

static void unknown_versions_are_refused(void **state)
{
    struct super_block block;
    struct error err;
    assert_int_equal(super_block_load((const uint8_t *)"\0\0\0\0\0\0\0\0", &block, &err), KELP_E_CORRUPT);
    assert_int_equal(super_block_load((const uint8_t *)"\x04\0\0\0\0\0\0\0", &block, &err), KELP_E_CORRUPT);
    assert_non_null(strstr(err.message, "4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_blocks_are_the_test_vectors),
        cmocka_unit_test(fields_read_back),
        cmocka_unit_test(unknown_versions_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
