/* Vectors that both sides of the protocol were seen to agree on. */
#include "tests/unit/cmocka_all.h"

#include "common/volume_digest.h"

static void hashes_match_the_peer(void **state)
{
    struct volume_record nothing = {0}, one = {.id = 1}, seven = {.id = 7};
    struct volume_record small = {.id = 7, .size = 8, .version = 3, .modified_at_second = 1700000001};
    struct volume_record tiered = {.id = 9,
                                   .size = 123456,
                                   .collection = "pics",
                                   .file_count = 4,
                                   .delete_count = 1,
                                   .deleted_byte_count = 200,
                                   .read_only = true,
                                   .replica_placement = 1,
                                   .version = 3,
                                   .ttl = 0x303,
                                   .compact_revision = 2,
                                   .modified_at_second = 1700000123,
                                   .remote_storage_name = "s3.default",
                                   .disk_type = "ssd",
                                   .disk_id = 1};
    struct volume_record plain = {.id = 7,
                                  .size = 1048576,
                                  .file_count = 3,
                                  .delete_count = 1,
                                  .deleted_byte_count = 512,
                                  .replica_placement = 1,
                                  .version = 3,
                                  .compact_revision = 2,
                                  .modified_at_second = 1700000000,
                                  .collection = "pics"};
    struct volume_record expiring = {.id = 8,
                                     .size = 8,
                                     .version = 3,
                                     .ttl = 0x0303,
                                     .disk_id = 1,
                                     .read_only = true,
                                     .modified_at_second = 1700000001,
                                     .disk_type = "ssd",
                                     .remote_storage_name = "s3.default"};
    assert_true(volume_digest_of(&nothing) == 0x987FBA1CD65B7AD5u);
    assert_true(volume_digest_of(&one) == 0x1C40CAC092CA8F5Du);
    assert_true(volume_digest_of(&seven) == 0xded34221434ebb46u);
    assert_true(volume_digest_of(&small) == 0xABAC21176F624D44u);
    assert_true(volume_digest_of(&tiered) == 0x66559108D9D008E8u);
    assert_true((volume_digest_of(&small) ^ volume_digest_of(&tiered)) == 0xCDF9B01FB6B245ACu);
    assert_true(volume_digest_of(&plain) == 0x66307e701d054e39u);
    assert_true(volume_digest_of(&expiring) == 0x871c4647180d9f75u);
}

static void empty_and_missing_strings_are_the_same(void **state)
{
    struct volume_record missing = {.id = 1};
    struct volume_record empty = {
        .id = 1, .collection = "", .disk_type = "", .remote_storage_name = ""};
    assert_true(volume_digest_of(&missing) == volume_digest_of(&empty));
}

static void a_ttl_without_count_is_none(void **state)
{
    struct volume_record none = {.id = 1}, unit_only = {.id = 1, .ttl = 3};
    assert_true(volume_digest_of(&none) == volume_digest_of(&unit_only));
}

static void counts_are_clamped_to_32_bits(void **state)
{
    struct volume_record most = {.id = 1, .file_count = UINT32_MAX, .delete_count = UINT32_MAX};
    struct volume_record more = {.id = 1, .file_count = 1ull << 40, .delete_count = 1ull << 33};
    assert_true(volume_digest_of(&most) == volume_digest_of(&more));
}

static void every_flag_and_field_counts(void **state)
{
    struct volume_record base = {.id = 1, .version = 3};
    uint64_t h = volume_digest_of(&base);
    struct volume_record r = base;
    r.read_only = true;
    uint64_t read_only = volume_digest_of(&r);
    r.read_only_can_delete = true;
    uint64_t both = volume_digest_of(&r);
    r.read_only = false;
    uint64_t can_delete = volume_digest_of(&r);
    assert_true(h != read_only && h != both && h != can_delete && read_only != both &&
                both != can_delete && read_only != can_delete);
    r = base;
    r.read_only_reasons = VOLUME_RECORD_REASON_LOW_SPACE; /* ours alone: the peer must agree without it */
    assert_true(volume_digest_of(&r) == h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hashes_match_the_peer),
        cmocka_unit_test(empty_and_missing_strings_are_the_same),
        cmocka_unit_test(a_ttl_without_count_is_none),
        cmocka_unit_test(counts_are_clamped_to_32_bits),
        cmocka_unit_test(every_flag_and_field_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
