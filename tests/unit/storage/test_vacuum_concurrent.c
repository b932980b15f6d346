/* Writers and readers who never pause, and one vacuum after the other: each acknowledged change is
 * seen at once, through every swap, by the one who made it. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "common/check.h"
#include "volume/storage/volume_vacuum.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WRITERS        3
#define KEYS_EACH      40u
#define VACUUMS        12
#define CHANGES_BEFORE 30u /* of each writer, between one vacuum and the next */
#define COOKIE         0x77

static struct {
    struct disk_os *disk;
    struct os *os;
    struct volume *volume;
    struct append_queue *queue;
    atomic_bool is_over;
    atomic_uint changes[WRITERS];
    atomic_uint failures;
} scene;

struct writer {
    unsigned number;
    size_t sizes[KEYS_EACH]; /* what each key holds; SIZE_MAX: nothing */
};

static bool is_right(uint64_t key, size_t size)
{
    if (size == SIZE_MAX) {
        struct needle needle;
        void *buf = NULL;
        int code = fixture_get(scene.volume, key, &needle, &buf);
        if (code == 0)
            free(buf);
        return code == KELP_E_NOT_FOUND || code == KELP_E_DELETED;
    }
    uint8_t *data = must(malloc(size + 1));
    fixture_fill(data, size, key);
    bool equals = fixture_has(scene.volume, key, data, size);
    free(data);
    return equals;
}

static int change(uint64_t key, size_t size)
{
    if (size == SIZE_MAX)
        return fixture_delete(scene.queue, scene.volume, key, COOKIE).code;
    uint8_t *data = must(malloc(size + 1));
    fixture_fill(data, size, key);
    struct needle needle = fixture_needle(key, COOKIE, data, size);
    int code = fixture_put(scene.queue, scene.volume, &needle, false).code;
    free(data);
    return code;
}

static void *write_all_the_time(void *ctx)
{
    struct writer *w = ctx;
    uint64_t x = w->number + 1;
    for (unsigned i = 0; i < KEYS_EACH; i++)
        w->sizes[i] = SIZE_MAX;
    while (!atomic_load(&scene.is_over)) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        unsigned i = (unsigned)(x >> 33) % KEYS_EACH;
        uint64_t key = 1 + w->number * 1000 + i;
        size_t size = (x >> 40) % 4 == 0 ? SIZE_MAX : (x >> 42) % 3000;
        if (change(key, size) != 0)
            atomic_fetch_add(&scene.failures, 1);
        w->sizes[i] = size;
        unsigned other = (unsigned)(x >> 50) % KEYS_EACH;
        if (!is_right(key, size) || !is_right(1 + w->number * 1000 + other, w->sizes[other]))
            atomic_fetch_add(&scene.failures, 1);
        atomic_fetch_add(&scene.changes[w->number], 1);
    }
    return NULL;
}

static void *read_all_the_time(void *ctx)
{
    uint64_t key = 0;
    while (!atomic_load(&scene.is_over)) {
        struct needle needle;
        void *buf = NULL;
        key = key % (WRITERS * 1000) + 7;
        int code = fixture_get(scene.volume, key, &needle, &buf);
        if (code == 0)
            free(buf);
        else if (code != KELP_E_NOT_FOUND && code != KELP_E_DELETED)
            atomic_fetch_add(&scene.failures, 1);
    }
    return NULL;
}

static void await_changes(const unsigned *since)
{
    for (unsigned i = 0; i < WRITERS; i++)
        while (atomic_load(&scene.changes[i]) < since[i] + CHANGES_BEFORE)
            sched_yield();
}

static void vacuum_again_and_again(void)
{
    unsigned since[WRITERS];
    struct error err;
    for (int round = 0; round < VACUUMS; round++) {
        for (unsigned i = 0; i < WRITERS; i++)
            since[i] = atomic_load(&scene.changes[i]);
        if (volume_vacuum_compact(scene.volume, &(struct vacuum_options){0}, &err) != 0)
            fail_msg("%s", err.message);
        await_changes(since); /* so that there is something to replay */
        if (volume_vacuum_commit(scene.volume, NULL, &err) != 0)
            fail_msg("%s", err.message);
    }
}

static void open_scene(bool is_new)
{
    struct error err;
    struct volume_place place = {scene.os, "/d", NULL, "", 1};
    struct volume_options options = {.offset_bytes = 5};
    int code = is_new ? volume_create(&scene.volume, &place, &options, &err)
                      : volume_open(&scene.volume, &place, NULL, &err);
    if (code != 0)
        fail_msg("%s", err.message);
}

static void changes_are_seen_through_every_swap(void **state)
{
    static struct writer writers[WRITERS];
    pthread_t threads[WRITERS + 1];
    disk_os_create(&scene.disk, 256 << 20);
    scene.os = disk_os_get(scene.disk);
    assert_int_equal(os_mkdir(scene.os, "/d", 0755), 0);
    open_scene(true);
    assert_int_equal(append_queue_create(&scene.queue, "test", NULL), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_all_the_time, &writers[i]), 0);
    }
    assert_int_equal(pthread_create(&threads[WRITERS], NULL, read_all_the_time, NULL), 0);
    vacuum_again_and_again();
    atomic_store(&scene.is_over, true);
    for (unsigned i = 0; i <= WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&scene.failures), 0);
    volume_close(scene.volume);
    open_scene(false);
    struct volume_stat st;
    volume_stat(scene.volume, &st);
    assert_int_equal(st.compact_revision, VACUUMS);
    for (unsigned i = 0; i < WRITERS; i++)
        for (unsigned k = 0; k < KEYS_EACH; k++)
            assert_true(is_right(1 + i * 1000 + k, writers[i].sizes[k]));
    volume_close(scene.volume);
    append_queue_destroy(scene.queue);
    disk_os_destroy(scene.disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_seen_through_every_swap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
