#include "volume/blob_manifest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct arena arena;
static struct blob_manifest manifest;

static int parse(const char *json)
{
    return blob_manifest_parse(&arena, slice_cstr(json), &manifest, NULL);
}

static int start(void **state)
{
    arena_init(&arena);
    return 0;
}

static int stop(void **state)
{
    arena_fini(&arena);
    return 0;
}

static void chunks_are_put_in_order_and_summed(void **state)
{
    assert_int_equal(parse("{\"name\":\"n\",\"mime\":\"m/n\",\"size\":99,\"chunks\":["
                           "{\"fid\":\"4,0200000001\",\"offset\":5,\"size\":7},"
                           "{\"fid\":\"3,0100000001\",\"size\":5}]}"),
                     0);
    assert_true(slice_equals(manifest.name, SLICE("n")));
    assert_true(slice_equals(manifest.mime, SLICE("m/n")));
    assert_int_equal(manifest.size, 99);
    assert_int_equal(manifest.total, 12);
    assert_int_equal(manifest.count, 2);
    assert_int_equal(manifest.chunks[0].volume_id, 3);
    assert_int_equal(manifest.chunks[1].offset, 5);
}

static void missing_members_are_empty(void **state)
{
    assert_int_equal(parse("{\"other\":1}"), 0);
    assert_int_equal(manifest.count, 0);
    assert_int_equal(manifest.name.len, 0);
    assert_int_equal(parse("{\"chunks\":null,\"name\":null}"), 0);
}

static void what_is_no_manifest_is_refused(void **state)
{
    static const char *const bad[] = {
        "", "{", "[]", "7", "{\"name\":7}", "{\"size\":\"x\"}", "{\"size\":-1}", "{\"chunks\":{}}",
        "{\"chunks\":[7]}", "{\"chunks\":[{}]}", "{\"chunks\":[{\"fid\":\"nothing\"}]}",
        "{\"chunks\":[{\"fid\":\"3,0100000001\",\"size\":9223372036854775807},"
        "{\"fid\":\"3,0100000001\",\"size\":9}]}",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (parse(bad[i]) == 0)
            fail_msg("taken for a manifest: %s", bad[i]);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(chunks_are_put_in_order_and_summed),
        CASE(missing_members_are_empty),
        CASE(what_is_no_manifest_is_refused),
    };
    return cmocka_run_group_tests_name("blob_manifest", tests, NULL, NULL);
}
