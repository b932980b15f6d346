/* A bounded pool of threads: one queue under one mutex, threads started while work waits and nobody
 * is idle. The first thread is started with the pool, so that a task that was accepted is always
 * run. */
#include "common/worker_pool.h"

#include "common/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct worker_pool {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t has_work;
    struct worker_task *first;
    struct worker_task **last;
    size_t queued, queue_limit;
    unsigned thread_count, thread_limit, idle_count;
    bool is_stopping;
    char name[11]; /* leaves room for "-1234" in the 15 characters of a thread's name */
    pthread_t threads[];
};

static void *worker_main(void *ctx)
{
    struct worker_pool *pool = ctx;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (!pool->first && !pool->is_stopping) {
            pool->idle_count++;
            pthread_cond_wait(&pool->has_work, &pool->lock);
            pool->idle_count--;
        }
        struct worker_task *task = pool->first;
        if (!task)
            break;
        pool->first = task->next;
        if (!pool->first)
            pool->last = &pool->first;
        pool->queued--;
        pthread_mutex_unlock(&pool->lock);
        task->run(task);
        pthread_mutex_lock(&pool->lock);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

/* Under the lock. Returns a positive errno value. */
static int start_thread(struct worker_pool *pool)
{
    pthread_t *thread = &pool->threads[pool->thread_count];
    int code = pthread_create(thread, NULL, worker_main, pool);
    if (code != 0)
        return code;
    char name[16];
    snprintf(name, sizeof(name), "%s-%u", pool->name, pool->thread_count % 1000);
    pthread_setname_np(*thread, name);
    pool->thread_count++;
    return 0;
}

int worker_pool_create(struct worker_pool **ret, const char *name, unsigned threads,
                       size_t queue_limit, struct error *err)
{
    CHECK(threads > 0);
    struct worker_pool *pool = must(calloc(1, sizeof(*pool) + threads * sizeof(pthread_t)));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->has_work, NULL);
    pool->last = &pool->first;
    pool->queue_limit = queue_limit;
    pool->thread_limit = threads;
    snprintf(pool->name, sizeof(pool->name), "%s", name);
    pthread_mutex_lock(&pool->lock);
    int code = start_thread(pool);
    pthread_mutex_unlock(&pool->lock);
    if (code != 0) {
        worker_pool_destroy(pool);
        return error_set_errno(err, code, "start a thread of the pool %s", name);
    }
    *ret = pool;
    return 0;
}

void worker_pool_destroy(struct worker_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->is_stopping = true;
    pthread_cond_broadcast(&pool->has_work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->thread_count; i++) /* no longer changes: submit refuses */
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->has_work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

int worker_pool_submit(struct worker_pool *pool, struct worker_task *task)
{
    int code = 0;
    pthread_mutex_lock(&pool->lock);
    if (pool->is_stopping || pool->queued >= pool->queue_limit) {
        code = KELP_E_LIMIT;
    } else {
        task->next = NULL;
        *pool->last = task;
        pool->last = &task->next;
        pool->queued++;
        if (pool->queued > pool->idle_count && pool->thread_count < pool->thread_limit)
            start_thread(pool); /* on failure the threads that exist get to it later */
        pthread_cond_signal(&pool->has_work);
    }
    pthread_mutex_unlock(&pool->lock);
    return code;
}
