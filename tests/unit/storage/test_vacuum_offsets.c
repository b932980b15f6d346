/* Vacuum of volumes whose records lie beyond 4 and 32 GiB, in sparse files on the real file
 * system. */
#include "tests/fixtures/volume_stage.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/volume_internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB ((uint64_t)1 << 30)
#define OK(call) assert_int_equal(call, 0)

static char directory[64];
static struct stage stage;

static int setup(void **state)
{
    const char *parent = getenv("TMPDIR");
    memset(&stage, 0, sizeof(stage));
    snprintf(directory, sizeof(directory), "%.40s/kelp-test-XXXXXX", parent ? parent : "/tmp");
    return mkdtemp(directory) ? 0 : 1;
}

static int remove_file(void *ctx, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%.32s", directory, name);
    return unlink(path);
}

static int teardown(void **state)
{
    stage_close(&stage);
    os_list(os_real(), directory, remove_file, NULL);
    return rmdir(directory);
}

/* The next record goes there; what lies between is a hole that nobody reads. */
static void jump(uint64_t offset)
{
    volume_lock_appends(stage.volume);
    atomic_store(&stage.volume->generation->dat_end, offset);
    volume_unlock_appends(stage.volume);
}

static uint64_t offset_of(uint64_t key)
{
    struct volume_read read;
    OK(volume_read_begin(stage.volume, key, false, &read, &stage.err));
    uint64_t offset = read.offset;
    volume_read_end(&read);
    return offset;
}

static void check(void)
{
    if (stage_check(&stage) != 0)
        fail_msg("%s", stage.complaint);
}

static void reopen(void)
{
    struct volume_stat st;
    stage_close(&stage);
    if (stage_open(&stage, os_real()) != 0)
        fail_msg("%s", stage.err.message);
    volume_stat(stage.volume, &st);
    assert_int_equal(st.read_only, 0);
    check();
}

static void records_beyond_4_and_32_gib_come_home(void **state)
{
    OK(stage_create(&stage, os_real(), directory, NULL, 5, ""));
    for (uint64_t key = 1; key <= 30; key++) {
        if (key == 10)
            jump(4 * GIB - 512); /* a record across the line */
        if (key == 20)
            jump(40 * GIB);
        OK(stage_put(&stage, key, key * 100));
    }
    assert_true(offset_of(15) > 4 * GIB && offset_of(25) > 40 * GIB);
    OK(stage_delete(&stage, 12));
    check();
    OK(stage_compact(&stage));
    jump(70 * GIB);
    OK(stage_put(&stage, 40, 1000)); /* replayed from another 32 GiB window */
    OK(stage_put(&stage, 5, 500));
    OK(stage_delete(&stage, 25));
    OK(stage_commit(&stage));
    assert_true(offset_of(40) < GIB);
    check();
    reopen();
}

static void full_volume_of_4_byte_offsets_takes_writes_again(void **state)
{
    OK(stage_create(&stage, os_real(), directory, NULL, 4, ""));
    OK(stage_put(&stage, 1, 3000));
    jump(index_row_limit(4) - 4096);
    OK(stage_put(&stage, 2, 5000)); /* begins below the limit, ends beyond */
    assert_int_equal(stage_put(&stage, 3, 10), KELP_E_TOO_LARGE);
    check();
    OK(stage_vacuum(&stage));
    OK(stage_put(&stage, 3, 10));
    check();
    reopen();
}

/* SeaweedFS lets a volume grow on; what is live may then be too much for rows that say where it is. */
static void more_live_bytes_than_4_byte_offsets_can_address_are_refused(void **state)
{
    OK(stage_create(&stage, os_real(), directory, NULL, 4, ""));
    OK(stage_put(&stage, 1, 3000));
    struct needle_entry entry = {.key = 2, .offset = 8192, .size = INT32_MAX};
    for (; entry.key < 22; entry.key++)
        OK(needle_index_put(stage.volume->generation->index, &entry, NEEDLE_INDEX_LOAD, &stage.err));
    assert_int_equal(stage_compact(&stage), KELP_E_TOO_LARGE);
    if (!strstr(stage.err.message, "copy them to a volume with 5-byte offsets"))
        fail_msg("%s", stage.err.message);
    char path[128];
    struct os_stat st;
    snprintf(path, sizeof(path), "%s/1.cpd", directory);
    assert_int_equal(os_stat(os_real(), path, &st), -ENOENT);
    for (uint64_t key = 2; key < 22; key++)
        OK(needle_index_delete(stage.volume->generation->index, key, NEEDLE_INDEX_LOAD, &stage.err));
    check();
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(records_beyond_4_and_32_gib_come_home),
        CASE(full_volume_of_4_byte_offsets_takes_writes_again),
        CASE(more_live_bytes_than_4_byte_offsets_can_address_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
