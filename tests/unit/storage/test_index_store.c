/* Indexes that outlive the process: what is taken up again, what is read again, and what goes with a volume. */
#include "tests/unit/storage/index_place.h"

#include "volume/storage/volume_vacuum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- marks ---- */

static void clean_close_leaves_nothing_to_replay(void **state)
{
    struct place p;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 700);
    place_put_range(&p, 100, 200);
    for (uint64_t key = 300; key < 350; key++)
        place_delete(&p, key);
    place_close_volume(&p);
    assert_int_equal(place_count_replayed(&p, NULL), 0);
    place_assert_same_counters(&p);
    place_open_volume(&p, 1);
    place_assert_range(&p, 1, 300);
    place_assert_range(&p, 350, 700);
    for (uint64_t key = 300; key < 350; key++)
        assert_false(place_has(&p, key));
    place_end(&p);
}

static void crash_replays_the_rows_behind_the_mark_only(void **state)
{
    struct place p, image;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 1001);
    for (uint64_t key = 1; key < 1000; key += 3)
        place_delete(&p, key);
    place_put_range(&p, 5000, 5100);
    place_take_image(&p, &image);
    uint64_t replayed = place_count_replayed(&image, NULL);
    assert_true(replayed > 0 && replayed < KEEP_ROWS);
    place_assert_same_counters(&image);
    place_open_volume(&image, 1);
    place_assert_range(&image, 5000, 5100);
    for (uint64_t key = 1; key < 1000; key++)
        assert_int_equal(place_has(&image, key), key % 3 != 1);
    place_put_range(&image, 6000, 6010);
    place_end(&image);
    place_end(&p);
}

static void load_after_a_crash_keeps_a_mark(void **state)
{
    struct place p, image;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 400);
    place_take_image(&p, &image);
    place_open_volume(&image, 1);
    struct place second;
    place_take_image(&image, &second); /* nothing was written since */
    assert_int_equal(place_count_replayed(&second, NULL), 0);
    place_end(&second);
    place_end(&image);
    place_end(&p);
}

static void swap_files(const struct place *p, const char *extension)
{
    char command[512];
    snprintf(command, sizeof(command), "cd %s && mv c_1.%s x && mv c_2.%s c_1.%s && mv x c_2.%s",
             p->directory, extension, extension, extension, extension);
    OK(system(command));
}

static void mark_of_other_rows_is_not_believed(void **state)
{
    struct place p;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 300);
    place_close_volume(&p);
    place_create(&p, 2);
    place_put_range(&p, 1001, 1300); /* as many, as long */
    place_close_volume(&p);
    swap_files(&p, "dat");
    swap_files(&p, "idx");
    place_open_volume(&p, 1);
    place_assert_range(&p, 1001, 1300);
    assert_false(place_has(&p, 1));
    place_close_volume(&p);
    place_open_volume(&p, 2);
    place_assert_range(&p, 1, 300);
    assert_false(place_has(&p, 1001));
    place_close_volume(&p);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 299 + 299); /* what was there is gone */
    place_end(&p);
}

static void mark_beyond_the_rows_is_not_believed(void **state)
{
    struct place p;
    char path[96];
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 300);
    place_close_volume(&p);
    snprintf(path, sizeof(path), "%s/c_1.idx", p.directory);
    OK(truncate(path, 100 * 17));
    snprintf(path, sizeof(path), "%s/c_1.dat", p.directory);
    size_t record = (size_t)needle_record_size(3, BLOB + 4 + 1 + 1 + 1 + 5);
    OK(truncate(path, (off_t)(8 + 100 * record)));
    place_open_volume(&p, 1);
    place_assert_range(&p, 1, 101);
    assert_false(place_has(&p, 101));
    place_put_range(&p, 500, 510);
    place_close_volume(&p);
    place_assert_same_counters(&p);
    place_end(&p);
}

/* ---- what goes ---- */

static void vacuum_leaves_one_generation(void **state)
{
    struct place p;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 1000);
    for (uint64_t key = 1; key < 1000; key += 2)
        place_delete(&p, key);
    OK(volume_vacuum_compact(p.volume, &(struct vacuum_options){0}, &p.err));
    place_put_range(&p, 2000, 2100);
    OK(volume_vacuum_commit(p.volume, NULL, &p.err));
    place_assert_range(&p, 2000, 2100);
    for (uint64_t key = 1; key < 1000; key++)
        assert_int_equal(place_has(&p, key), key % 2 == 0);
    place_close_volume(&p);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 499 + 100);
    assert_int_equal(place_count_replayed(&p, NULL), 0);
    place_assert_same_counters(&p);
    place_end(&p);
}

static void vacuum_that_is_dropped_leaves_nothing(void **state)
{
    struct place p;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 500);
    OK(volume_vacuum_compact(p.volume, &(struct vacuum_options){0}, &p.err));
    OK(volume_vacuum_cleanup(p.volume, &p.err));
    place_assert_range(&p, 1, 500);
    place_close_volume(&p);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 499);
    assert_int_equal(place_count_replayed(&p, NULL), 0);
    place_end(&p);
}

static void vacuum_that_a_crash_cut_off_leaves_nothing(void **state)
{
    struct place p, image;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 500);
    OK(volume_vacuum_compact(p.volume, &(struct vacuum_options){0}, &p.err));
    place_take_image(&p, &image);
    place_open_volume(&image, 1);
    place_assert_range(&image, 1, 500);
    place_close_volume(&image);
    index_store_settle(image.store);
    assert_int_equal(index_store_count_rows(image.store), 499);
    place_end(&image);
    place_end(&p);
}

static void deleted_volume_takes_its_rows_along(void **state)
{
    struct place p;
    place_begin(&p);
    place_create(&p, 2);
    place_put_range(&p, 1, 300);
    place_close_volume(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 300);
    OK(volume_delete_files(p.volume, &p.err));
    p.volume = NULL;
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 299);
    place_create(&p, 1); /* of the same name, and empty */
    assert_false(place_has(&p, 1));
    place_end(&p);
}

static void volumes_that_are_gone_are_forgotten(void **state)
{
    struct place p;
    place_begin(&p);
    for (uint32_t id = 1; id <= 2; id++) {
        place_create(&p, id);
        place_put_range(&p, 1, 300);
        place_close_volume(&p);
    }
    index_store_close(p.store);
    place_open_store(&p);
    assert_null(p.note);
    place_open_volume(&p, 2);
    index_store_forget_unused(p.store);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 299);
    place_assert_range(&p, 1, 300);
    place_end(&p);
}

static void rubbish_goes_when_it_is_opened_next(void **state)
{
    struct place p;
    place_begin(&p);
    struct index_tenant tenant;
    struct needle_entry rows[1000];
    for (uint64_t i = 0; i < 1000; i++)
        rows[i] = (struct needle_entry){i, 8 + i * 8, 1};
    index_store_join(p.store, &tenant, "c", 9, 0);
    OK(index_store_write(&tenant, rows, 1000, NULL, &p.err)); /* without a mark */
    struct place image;
    place_create(&p, 1); /* an image has a volume */
    place_put(&p, 1);
    place_close_volume(&p);
    place_take_image(&p, &image);
    index_store_settle(image.store);
    assert_int_equal(index_store_count_rows(image.store), 1);
    place_end(&image);
    index_store_leave(&tenant);
    place_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_close_leaves_nothing_to_replay),
        cmocka_unit_test(crash_replays_the_rows_behind_the_mark_only),
        cmocka_unit_test(load_after_a_crash_keeps_a_mark),
        cmocka_unit_test(mark_of_other_rows_is_not_believed),
        cmocka_unit_test(mark_beyond_the_rows_is_not_believed),
        cmocka_unit_test(vacuum_leaves_one_generation),
        cmocka_unit_test(vacuum_that_is_dropped_leaves_nothing),
        cmocka_unit_test(vacuum_that_a_crash_cut_off_leaves_nothing),
        cmocka_unit_test(deleted_volume_takes_its_rows_along),
        cmocka_unit_test(volumes_that_are_gone_are_forgotten),
        cmocka_unit_test(rubbish_goes_when_it_is_opened_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
