/* The last look before a swap (VACUUM rule 7): a copy that is not what the volume is never takes its place.
 * No fault of the disk gets that far, since all that is written is read back; so the copy is spoiled here from
 * the inside. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_stage.h"
#include "volume/storage/vacuum_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct disk_os *disk;
static struct stage stage;

static int setup(void **state)
{
    stage = (struct stage){.is_durable = true};
    disk_os_create(&disk, 64 << 20);
    assert_int_equal(os_mkdir(disk_os_get(disk), "/d", 0755), 0);
    assert_int_equal(stage_create(&stage, disk_os_get(disk), "/d", NULL, 5, ""), 0);
    for (uint64_t key = 1; key <= 9; key++)
        assert_int_equal(stage_put(&stage, key, key * 100), 0);
    assert_int_equal(stage_delete(&stage, 4), 0);
    assert_int_equal(stage_compact(&stage), 0);
    return 0;
}

static int teardown(void **state)
{
    stage_close(&stage);
    disk_os_destroy(disk);
    return 0;
}

static struct vacuum *job(void) { return (struct vacuum *)stage.volume->vacuum; }

/* The old files serve on, the copy is gone, and the next vacuum does its work. */
static void assert_refused(const char *why)
{
    assert_int_equal(stage_commit(&stage), KELP_E_CORRUPT);
    assert_non_null(strstr(stage.err.message, why));
    assert_non_null(strstr(stage.err.message, "nothing was changed"));
    assert_int_equal(stage_check(&stage), 0);
    struct os_stat st;
    assert_true(os_stat(disk_os_get(disk), "/d/1.cpd", &st) < 0);
    assert_true(os_stat(disk_os_get(disk), "/d/1.cpc", &st) < 0);
    assert_int_equal(stage_put(&stage, 20, 50), 0);
    assert_int_equal(stage_vacuum(&stage), 0);
    assert_int_equal(stage_check(&stage), 0);
}

static void copy_that_lacks_a_needle_is_refused(void **state)
{
    assert_int_equal(needle_index_delete(job()->next->index, 5, NEEDLE_INDEX_RUNTIME, NULL), 0);
    assert_refused("the copy has 7 needles");
}

static void copy_that_brings_a_needle_back_is_refused(void **state)
{
    struct needle_entry entry = {4, SUPER_BLOCK_SIZE, 400};
    assert_int_equal(needle_index_put(job()->next->index, &entry, NEEDLE_INDEX_RUNTIME, NULL), 0);
    assert_refused("the copy has 9 needles");
}

static void copy_with_other_content_of_the_same_length_is_refused(void **state)
{
    job()->result.sum ^= 1;
    assert_refused("the digest of the copy is");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(copy_that_lacks_a_needle_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(copy_that_brings_a_needle_back_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(copy_with_other_content_of_the_same_length_is_refused, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
