#include "volume/blob_path.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void expect_slice(struct slice got, const char *expected)
{
    if (!slice_equals(got, slice_cstr(expected)))
        fail_msg("expected \"%s\", got \"%.*s\"", expected, (int)got.len, got.ptr ? got.ptr : "");
}

static void expect_parts(const char *path, const char *vid, const char *fid, const char *filename,
                         const char *ext)
{
    struct blob_path parts;
    blob_path_parse(slice_cstr(path), &parts);
    expect_slice(parts.vid, vid);
    expect_slice(parts.fid, fid);
    expect_slice(parts.filename, filename);
    expect_slice(parts.ext, ext);
}

static void paths_of_each_shape_are_taken_apart(void **state)
{
    expect_parts("/3,01637037d6", "3", "01637037d6", "", "");
    expect_parts("/3,01637037d6_2.jpg", "3", "01637037d6_2", "", ".jpg");
    expect_parts("/3/01637037d6.png", "3", "01637037d6", "", ".png");
    expect_parts("/3/01637037d6/my.pic.gif", "3", "01637037d6", "my.pic.gif", ".gif");
    expect_parts("/3/01637037d6/", "3", "01637037d6", "", "");
}

static void paths_that_are_no_blob_leave_vid_or_fid_unusable(void **state)
{
    expect_parts("/", "", "", "", "");
    expect_parts("/3", "3", "", "", "");
    expect_parts("/metrics", "metrics", "", "", "");
    expect_parts("/3,01637037d6/name", "3,01637037d6", "name", "", "");
    expect_parts("/a/b/c/d", "d", "", "", "");
    expect_parts("/3.5,0c00000001", "3.5", "0c00000001", "", "");
    expect_parts("", "", "", "", "");
}

static void writes_take_the_text_behind_the_last_comma(void **state)
{
    expect_slice(blob_path_write_id(slice_cstr("/3,01637037d6.jpg")), "01637037d6");
    expect_slice(blob_path_write_id(slice_cstr("/3,01637037d6")), "01637037d6");
    expect_slice(blob_path_write_id(slice_cstr("/3/01637037d6")), "/3/01637037d6");
    expect_slice(blob_path_write_id(slice_cstr("/3/01637037d6.a")), "/3/01637037d6");
    expect_slice(blob_path_write_id(slice_cstr("/3,.x")), "");
}

static void extension_is_that_of_the_last_segment(void **state)
{
    expect_slice(blob_path_extension(slice_cstr("a.b/c")), "");
    expect_slice(blob_path_extension(slice_cstr("a/b.c.d")), ".d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_of_each_shape_are_taken_apart),
        cmocka_unit_test(paths_that_are_no_blob_leave_vid_or_fid_unusable),
        cmocka_unit_test(writes_take_the_text_behind_the_last_comma),
        cmocka_unit_test(extension_is_that_of_the_last_segment),
    };
    return cmocka_run_group_tests_name("blob_path", tests, NULL, NULL);
}
