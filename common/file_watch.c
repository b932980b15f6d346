/* A thread that sleeps between two looks. Files are looked at rather than watched by inotify: they are
 * often on network file systems or behind links that are swapped, which it does not see. */
#include "common/file_watch.h"

#include "common/check.h"
#include "common/os.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct file_watch {
    char *paths[FILE_WATCH_MAX];
    size_t count;
    unsigned interval_s;
    void (*on_change)(void *ctx);
    void *ctx;
    pthread_mutex_t lock; /* guards what follows */
    struct os_stat seen[FILE_WATCH_MAX];
    pthread_cond_t wake;
    bool is_ending;
    pthread_t thread;
    bool has_thread;
};

static void look(const struct file_watch *watch, struct os_stat seen[FILE_WATCH_MAX])
{
    for (size_t i = 0; i < watch->count; i++)
        if (!*watch->paths[i] || os_stat(os_real(), watch->paths[i], &seen[i]) < 0)
            seen[i] = (struct os_stat){0};
}

/* What it has seen is known from then on. */
static bool note_changes(struct file_watch *watch)
{
    struct os_stat now[FILE_WATCH_MAX];
    bool is_changed = false;
    look(watch, now);
    pthread_mutex_lock(&watch->lock);
    for (size_t i = 0; i < watch->count; i++) {
        struct os_stat *seen = &watch->seen[i];
        is_changed |= now[i].inode != seen->inode || now[i].size != seen->size ||
                      now[i].mtime_ns != seen->mtime_ns;
        *seen = now[i];
    }
    pthread_mutex_unlock(&watch->lock);
    return is_changed;
}

void file_watch_note(struct file_watch *watch) { note_changes(watch); }

static bool wait_for_next_look(struct file_watch *watch)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)watch->interval_s;
    pthread_mutex_lock(&watch->lock);
    int rc = 0;
    while (!watch->is_ending && rc == 0)
        rc = pthread_cond_timedwait(&watch->wake, &watch->lock, &until);
    bool goes_on = !watch->is_ending;
    pthread_mutex_unlock(&watch->lock);
    return goes_on;
}

static void *watch_files(void *arg)
{
    struct file_watch *watch = arg;
    while (wait_for_next_look(watch))
        if (note_changes(watch))
            watch->on_change(watch->ctx);
    return NULL;
}

int file_watch_create(struct file_watch **ret, const char *const *paths, size_t count,
                      unsigned interval_s, void (*on_change)(void *ctx), void *ctx,
                      struct error *err)
{
    CHECK(count <= FILE_WATCH_MAX);
    struct file_watch *watch = must(calloc(1, sizeof(*watch)));
    watch->count = count;
    watch->interval_s = interval_s;
    watch->on_change = on_change;
    watch->ctx = ctx;
    for (size_t i = 0; i < count; i++)
        watch->paths[i] = must(strdup(paths[i]));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&watch->lock, NULL);
    file_watch_note(watch);
    *ret = watch; /* before on_change can ask for it */
    if (interval_s == 0)
        return 0;
    int rc = pthread_create(&watch->thread, NULL, watch_files, watch);
    if (rc) {
        file_watch_destroy(watch);
        *ret = NULL;
        return error_set_errno(err, rc, "start a thread");
    }
    watch->has_thread = true;
    return 0;
}

void file_watch_destroy(struct file_watch *watch)
{
    if (!watch)
        return;
    pthread_mutex_lock(&watch->lock);
    watch->is_ending = true;
    pthread_cond_signal(&watch->wake);
    pthread_mutex_unlock(&watch->lock);
    if (watch->has_thread)
        pthread_join(watch->thread, NULL);
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
    for (size_t i = 0; i < watch->count; i++)
        free(watch->paths[i]);
    free(watch);
}
