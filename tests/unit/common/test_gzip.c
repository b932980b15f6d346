/* gzip, base64 and MD5. */
#include "tests/unit/cmocka_all.h"

#include "common/base64.h"
#include "common/check.h"
#include "common/gzip.h"
#include "common/md5.h"

#include <stdlib.h>

static void gives_back_what_it_compressed(void **state)
{
    static const size_t sizes[] = {0, 1, 5, 4096, 100000, 3000000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char *data = must(malloc(sizes[i] + 1)), *packed, *plain;
        size_t packed_size, plain_size;
        uint64_t measured;
        for (size_t k = 0; k < sizes[i]; k++)
            data[k] = (char)(k * k >> 3);
        assert_int_equal(gzip_compress(slice_of(data, sizes[i]), &packed, &packed_size, NULL), 0);
        assert_true(gzip_is_compressed(slice_of(packed, packed_size)));
        struct slice p = slice_of(packed, packed_size);
        assert_int_equal(gzip_decompress(p, sizes[i], &plain, &plain_size, NULL), 0);
        assert_int_equal(plain_size, sizes[i]);
        assert_memory_equal(plain, data, plain_size);
        free(plain);
        assert_int_equal(gzip_measure(p, sizes[i], &measured, NULL), 0);
        assert_int_equal(measured, sizes[i]);
        if (sizes[i] > 0) {
            assert_int_equal(gzip_decompress(p, sizes[i] - 1, &plain, &plain_size, NULL),
                             KELP_E_TOO_LARGE);
            assert_int_equal(gzip_measure(p, sizes[i] - 1, &measured, NULL), KELP_E_TOO_LARGE);
        }
        free(packed);
        free(data);
    }
}

static void refuses_torn_and_garbled_streams(void **state)
{
    char *packed, *plain;
    size_t size, plain_size;
    struct error err;
    assert_int_equal(gzip_compress(SLICE("hello hello hello hello"), &packed, &size, NULL), 0);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(gzip_decompress(slice_of(packed, cut), 1000, &plain, &plain_size, &err),
                         KELP_E_CORRUPT);
    packed[size - 5] ^= 1; /* the checksum */
    assert_int_equal(gzip_decompress(slice_of(packed, size), 1000, &plain, &plain_size, &err),
                     KELP_E_CORRUPT);
    free(packed);
    assert_int_equal(gzip_decompress(SLICE("plain text"), 1000, &plain, &plain_size, &err),
                     KELP_E_CORRUPT);
    assert_false(gzip_is_compressed(SLICE("\x1F")));
}

static void reads_all_members(void **state)
{
    char *packed, *plain, twice[200];
    size_t size, plain_size;
    assert_int_equal(gzip_compress(SLICE("ab"), &packed, &size, NULL), 0);
    memcpy(twice, packed, size);
    memcpy(twice + size, packed, size);
    free(packed);
    assert_int_equal(gzip_decompress(slice_of(twice, 2 * size), 4, &plain, &plain_size, NULL), 0);
    assert_int_equal(plain_size, 4);
    assert_memory_equal(plain, "abab", 4);
    free(plain);
}

static void encodes_base64(void **state)
{
    static const char *const rows[][2] = {
        {"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"foobar", "Zm9vYmFy"},
    };
    struct arena arena;
    struct slice back;
    struct buffer b = BUFFER_INIT;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        buffer_clear(&b);
        base64_encode(&b, slice_cstr(rows[i][0]));
        assert_string_equal(buffer_cstr(&b), rows[i][1]);
        assert_true(base64_decode(&arena, slice_cstr(rows[i][1]), &back));
        assert_true(slice_equals(back, slice_cstr(rows[i][0])));
    }
    static const char *const bad[] = {
        "Z", "Zg", "Zg=", "Zg=a", "====", "Z===", "Zm 9", "Zm9\n", "Zm-_"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(base64_decode(&arena, slice_cstr(bad[i]), &back));
    buffer_fini(&b);
    arena_fini(&arena);
}

static void digests_with_md5(void **state)
{
    char text[MD5_BASE64_SIZE];
    md5_base64(SLICE("hello"), text);
    assert_string_equal(text, "XUFAKrxLKna5cZ2REBfFkg==");
    md5_base64(SLICE(""), text);
    assert_string_equal(text, "1B2M2Y8AsgTpgAmY7PhCfg==");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_back_what_it_compressed),
        cmocka_unit_test(refuses_torn_and_garbled_streams),
        cmocka_unit_test(reads_all_members),
        cmocka_unit_test(encodes_base64),
        cmocka_unit_test(digests_with_md5),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
