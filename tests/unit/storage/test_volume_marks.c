/* Marks of two threads at once: what the .vif remembers is what holds. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_NS 100000000 /* for what must not happen */

static char folder[64];
static struct volume *volume;

/* Counts how often a .vif was written. */
static struct {
    struct os os;
    struct os_ops ops;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned saves;
} counting = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int counted_rename(struct os *os, const char *from, const char *to)
{
    int result = os_rename(os_real(), from, to);
    pthread_mutex_lock(&counting.lock);
    counting.saves++;
    pthread_cond_broadcast(&counting.changed);
    pthread_mutex_unlock(&counting.lock);
    return result;
}

static void wait_saved(unsigned count)
{
    pthread_mutex_lock(&counting.lock);
    while (counting.saves < count)
        pthread_cond_wait(&counting.changed, &counting.lock);
    pthread_mutex_unlock(&counting.lock);
}

/* Whether so many come, if they are let. */
static bool gets_saved(unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (until.tv_nsec + PATIENCE_NS) / 1000000000;
    until.tv_nsec = (until.tv_nsec + PATIENCE_NS) % 1000000000;
    int result = 0;
    pthread_mutex_lock(&counting.lock);
    while (counting.saves < count && result == 0)
        result = pthread_cond_timedwait(&counting.changed, &counting.lock, &until);
    bool is_reached = counting.saves >= count;
    pthread_mutex_unlock(&counting.lock);
    return is_reached;
}

static void *close_to_writes(void *arg)
{
    CHECK(volume_mark_read_only(volume, false, true, NULL) == 0);
    return NULL;
}

/* A mark waits for the batch that runs. The next mark must wait for that mark: else the .vif would have
 * the one, and memory, maybe, the other. */
static void a_mark_waits_for_the_one_before_it(void **state)
{
    struct volume_options options = {.offset_bytes = 5};
    struct volume_info info;
    pthread_t threads[2];
    fixture_make_folder(folder);
    counting.ops = *os_real()->ops;
    counting.ops.rename = counted_rename;
    counting.os.ops = &counting.ops;
    struct volume_place place = {&counting.os, folder, NULL, "", 1};
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
    unsigned before = counting.saves;
    volume_lock_appends(volume);
    assert_int_equal(pthread_create(&threads[0], NULL, close_to_writes, NULL), 0);
    wait_saved(before + 1);
    assert_int_equal(pthread_create(&threads[1], NULL, close_to_writes, NULL), 0);
    assert_false(gets_saved(before + 2));
    volume_unlock_appends(volume);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
    assert_int_equal(counting.saves, before + 2);
    assert_int_equal(atomic_load(&volume->read_only), VOLUME_RO_OPERATOR);
    const char *vif = volume_files_path(&volume->files, VOLUME_FILE_VIF);
    assert_int_equal(volume_info_file_load(os_real(), vif, &info, NULL), 0);
    assert_true(info.is_read_only);
    volume_info_fini(&info);
    assert_int_equal(volume_delete_files(volume, NULL), 0);
    fixture_remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mark_waits_for_the_one_before_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
