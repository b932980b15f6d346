/* Rows in order of their offsets, whatever their order in the file and however many they are. */
#include "common/check.h"
#include "tests/unit/storage/sample_volume.h"
#include "volume/storage/index_order.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct disk_os *disk;
static struct index_file file;

static int setup(void **state)
{
    disk_os_create(&disk, 128 << 20);
    assert_int_equal(os_mkdir(disk_os_get(disk), "/d", 0755), 0);
    return 0;
}

static int teardown(void **state)
{
    index_file_close(&file);
    disk_os_destroy(disk);
    return 0;
}

static void save(const struct needle_entry *rows, size_t count)
{
    uint8_t *bytes = must(malloc(count * 17));
    for (size_t i = 0; i < count; i++)
        index_row_store(bytes + i * 17, &rows[i], 5);
    fixture_write_file(disk_os_get(disk), "/d/1.idx", bytes, count * 17);
    free(bytes);
    assert_int_equal(index_file_open(&file, disk_os_get(disk), "/d/1.idx", O_RDONLY, 5, NULL), 0);
}

static int count_row(void *ctx, const struct needle_entry *row, uint64_t position)
{
    (*(size_t *)ctx)++;
    return 0;
}

/* More rows than a window holds, shuffled: each comes once, in order. */
static void many_shuffled_rows_come_in_order(void **state)
{
    enum { ROWS = 2500000 };
    struct needle_entry *rows = must(malloc(ROWS * sizeof(*rows)));
    uint64_t random = 88172645463325252u;
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = (struct needle_entry){i, 8 + 32 * i, 0};
    for (size_t i = ROWS - 1; i > 0; i--) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        size_t other = random % (i + 1);
        struct needle_entry row = rows[i];
        rows[i] = rows[other];
        rows[other] = row;
    }
    save(rows, ROWS);
    free(rows);
    struct index_order *order;
    const struct needle_entry *row;
    size_t visited = 0;
    uint64_t end = 8 + 32ull * ROWS;
    assert_int_equal(index_order_open(&order, &file, UINT64_MAX, 8, end, count_row, &visited, NULL), 0);
    assert_int_equal(visited, ROWS);
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(index_order_next(order, &row, NULL), 0);
        assert_true(row && row->key == i && row->offset == 8 + 32 * i);
    }
    assert_int_equal(index_order_next(order, &row, NULL), 0);
    assert_null(row);
    assert_int_equal(index_order_next(order, &row, NULL), 0);
    assert_null(row);
    assert_int_equal(index_order_crowded(order), 0);
    index_order_close(order);
}

static void rows_outside_of_the_range_are_left_out(void **state)
{
    const struct needle_entry rows[] = {{1, 16, 1}, {2, 0, -1}, {3, 8, 0}, {4, 400, 5}, {5, 16, -1}};
    const uint64_t expected[] = {3, 5, 1};
    struct index_order *order;
    const struct needle_entry *row;
    save(rows, 5);
    assert_int_equal(index_order_open(&order, &file, UINT64_MAX, 8, 400, NULL, NULL, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(index_order_next(order, &row, NULL), 0);
        assert_true(row && row->key == expected[i]);
    }
    assert_int_equal(index_order_next(order, &row, NULL), 0);
    assert_null(row);
    index_order_close(order);
    assert_int_equal(index_order_open(&order, &file, 17, 8, 400, NULL, NULL, NULL), 0);
    assert_int_equal(index_order_next(order, &row, NULL), 0);
    assert_true(row && row->key == 1);
    assert_int_equal(index_order_next(order, &row, NULL), 0);
    assert_null(row);
    index_order_close(order);
}

/* Rubbish that names one place over and over takes no more memory than a sound file could. */
static void rows_that_crowd_one_place_are_counted_and_left_out(void **state)
{
    enum { ROWS = 100000 };
    struct needle_entry *rows = must(malloc(ROWS * sizeof(*rows)));
    for (size_t i = 0; i < ROWS; i++)
        rows[i] = (struct needle_entry){i, 8, 0};
    save(rows, ROWS);
    free(rows);
    struct index_order *order;
    const struct needle_entry *row;
    size_t count = 0;
    assert_int_equal(index_order_open(&order, &file, UINT64_MAX, 8, 1 << 20, NULL, NULL, NULL), 0);
    while (index_order_next(order, &row, NULL) == 0 && row)
        count++;
    assert_true(count < 10000);
    assert_int_equal(count + index_order_crowded(order), ROWS);
    index_order_close(order);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(many_shuffled_rows_come_in_order),
        TEST(rows_outside_of_the_range_are_left_out),
        TEST(rows_that_crowd_one_place_are_counted_and_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
