/* Loads that are stopped, at every read: of rows, of the records behind them, of all records. */
#include "tests/unit/cmocka_all.h"

#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_internal.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOBS     300u
#define BLOB_SIZE 8000u /* together more than is read at once */

static char folder[64];
static char body[BLOB_SIZE];

/* The read after which the load is stopped. */
static struct {
    struct os os;
    struct os_ops ops;
    unsigned reads, stop_after; /* 0: never */
    atomic_bool is_stopping;
} stopping;

static ssize_t counted_pread(struct os *os, int fd, void *buf, size_t n, uint64_t offset)
{
    if (++stopping.reads == stopping.stop_after)
        atomic_store(&stopping.is_stopping, true);
    return os_pread(os_real(), fd, buf, n, offset);
}

static struct volume_place place(void)
{
    return (struct volume_place){
        .os = &stopping.os, .data_dir = folder, .id = 1, .is_stopping = &stopping.is_stopping};
}

static int open_and_stop(struct volume **ret, unsigned after)
{
    const struct volume_place at = place();
    struct error err;
    stopping.reads = 0;
    stopping.stop_after = after;
    atomic_store(&stopping.is_stopping, false);
    return volume_open(ret, &at, NULL, &err);
}

static int set_up(void **state)
{
    struct volume_options options = {.offset_bytes = 5};
    struct append_queue *queue;
    struct volume *volume;
    fixture_make_folder(folder);
    stopping.ops = *os_real()->ops;
    stopping.ops.pread = counted_pread;
    stopping.os.ops = &stopping.ops;
    memset(body, 'b', sizeof(body));
    const struct volume_place at = place();
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    assert_int_equal(volume_create(&volume, &at, &options, NULL), 0);
    for (uint64_t key = 1; key <= BLOBS; key++) {
        struct needle needle = fixture_needle(key, 1, body, BLOB_SIZE);
        assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    }
    volume_close(volume);
    append_queue_destroy(queue);
    return 0;
}

static int tear_down(void **state)
{
    fixture_remove_folder(folder);
    return 0;
}

static void path_of(char path[128], const char *extension)
{
    snprintf(path, 128, "%s/1.%s", folder, extension);
}

/* As a process that was killed leaves it: no checkpoint. */
static void forget_checkpoint(void)
{
    char path[128];
    path_of(path, "kix");
    unlink(path);
}

/* `spoil` is done before each load. Each load is stopped one read later than the one before, until one
 * comes to its end. How many were cut off is the answer. */
static unsigned stop_everywhere(void (*spoil)(void))
{
    unsigned stopped = 0;
    for (unsigned after = 1;; after++) {
        struct volume *volume;
        if (spoil)
            spoil();
        int code = open_and_stop(&volume, after);
        if (code != 0) {
            assert_int_equal(code, KELP_E_CANCELLED);
            stopped++;
            continue;
        }
        struct volume_stat stat;
        volume_stat(volume, &stat);
        assert_int_equal(stat.live_count, BLOBS);
        assert_int_equal(stat.read_only, 0);
        assert_true(fixture_has(volume, 1, body, BLOB_SIZE) && fixture_has(volume, BLOBS, body, BLOB_SIZE));
        bool is_whole = !atomic_load(&stopping.is_stopping);
        volume_close(volume);
        if (is_whole) /* else it was past all checks already */
            return stopped;
    }
}

static void spoil_nothing(void) { forget_checkpoint(); }

static void lose_index(void)
{
    char path[128];
    forget_checkpoint();
    path_of(path, "idx");
    unlink(path);
}

/* The key of one of the first rows. */
static void garble_row(void)
{
    char path[128];
    forget_checkpoint();
    path_of(path, "idx");
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\x7f\xff\xff\xff\xff\xff", 6, 17 * 3 + 8), 6);
    close(fd);
}

static void a_load_of_rows_can_be_stopped(void **state)
{
    assert_true(stop_everywhere(spoil_nothing) >= 1);
}

static void a_repair_of_the_tail_can_be_stopped(void **state)
{
    assert_true(stop_everywhere(lose_index) >= 2);
}

static void a_rebuild_can_be_stopped(void **state)
{
    assert_true(stop_everywhere(garble_row) >= 2);
}

static void what_a_stopped_repair_did_is_not_done_again(void **state)
{
    struct volume *volume;
    lose_index();
    unsigned after = 1;
    while (open_and_stop(&volume, after) == KELP_E_CANCELLED)
        after++;
    volume_close(volume);
    assert_int_equal(open_and_stop(&volume, 0), 0);
    assert_true(fixture_has(volume, BLOBS / 2, body, BLOB_SIZE));
    volume_close(volume);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_load_of_rows_can_be_stopped),
        T(a_repair_of_the_tail_can_be_stopped),
        T(a_rebuild_can_be_stopped),
        T(what_a_stopped_repair_did_is_not_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
