/* Files that change are told of. */
#include "common/file_watch.h"

#include "tests/unit/cmocka_all.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_S 20

static char path[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned changes;

static void on_change(void *ctx)
{
    pthread_mutex_lock(&lock);
    changes++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static int set_up(void **state)
{
    strcpy(path, "/tmp/kelp-watch-XXXXXX");
    int fd = mkstemp(path);
    changes = 0;
    return fd < 0 ? -1 : close(fd);
}

static int tear_down(void **state)
{
    unlink(path);
    return 0;
}

static void wait_for_a_change_after(unsigned known)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&lock);
    while (changes == known && pthread_cond_timedwait(&changed, &lock, &until) == 0)
        ;
    assert_true(changes > known);
    pthread_mutex_unlock(&lock);
}

static void changed_and_removed_files_are_told_of(void **state)
{
    struct file_watch *watch;
    const char *const paths[] = {"", path, "/nowhere/at/all"};
    assert_int_equal(file_watch_create(&watch, paths, 3, 1, on_change, NULL, NULL), 0);
    write_file("longer than before");
    wait_for_a_change_after(0);
    pthread_mutex_lock(&lock);
    unsigned known = changes;
    pthread_mutex_unlock(&lock);
    unlink(path);
    wait_for_a_change_after(known);
    file_watch_destroy(watch);
    file_watch_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(changed_and_removed_files_are_told_of, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
