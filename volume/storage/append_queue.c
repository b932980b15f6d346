/* The append queue: one writer thread, helpers for what has to be synced, deliveries by sink.
 *
 * Requests wait at their volume, in the order in which they came, and volumes wait in two lists: one for
 * the writer thread, one for the helpers. Volumes of which nothing has to be durable are carried out by
 * the writer thread, one after the other: a few microseconds each. One that must be synced goes to a
 * helper, so that a sync holds up nobody else. A volume is in one of the lists or with one thread, never
 * both: what comes for it meanwhile waits at the volume, wakes nobody, and makes the next batch larger.
 *
 * Requests are the callers' memory and are linked through `next` all the way; nothing is
 * allocated per request. Helpers are started when they are first needed. */
#include "volume/storage/append_queue.h"

#include "common/check.h"
#include "volume/storage/append_worker.h"
#include "volume/storage/volume_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* Helpers. Two keep a disk busy. More would share the same syncs out in smaller batches: each costs the file
 * system a commit and the machine some 50 us of CPU, however few the requests in it. */
#define SYNCERS 2u

/* Linked by append_next. */
struct volume_list {
    struct volume *first, *last;
};

struct append_thread {
    pthread_t thread;
    struct append_queue *queue;
    struct append_worker *worker;
    struct volume_list *list; /* of the volumes that wait for it */
};

struct append_queue {
    char name[16];
    atomic_bool is_always_durable;
    struct append_thread writer;

    pthread_mutex_t lock; /* all that follows */
    pthread_cond_t arrived;
    struct volume_list ready; /* for the writer thread */
    uint64_t bytes; /* of what waits or is being carried out */
    bool is_ending;

    pthread_cond_t sync_arrived;
    struct volume_list syncs; /* for the helpers */
    unsigned idle_syncers, syncer_count;
    bool no_more_syncs;
    struct append_thread syncers[SYNCERS];
};

/* ---- what waits; queue->lock held ---- */

static void push(struct volume_list *list, struct volume *volume)
{
    volume->append_next = NULL;
    if (list->first)
        list->last->append_next = volume;
    else
        list->first = volume;
    list->last = volume;
}

static struct volume *pop(struct volume_list *list)
{
    struct volume *volume = list->first;
    if (volume)
        list->first = volume->append_next;
    return volume;
}

static void add_request(struct volume *volume, struct append_request *request)
{
    struct request_list waiting = {volume->append_first, volume->append_last};
    request_list_append(&waiting, request);
    volume->append_first = waiting.first;
    volume->append_last = waiting.last;
    volume->is_append_durable = volume->is_append_durable || request->is_durable;
}

static struct request_list take_requests(struct volume *volume)
{
    struct request_list waiting = {volume->append_first, volume->append_last};
    volume->append_first = volume->append_last = NULL;
    volume->is_append_durable = false;
    return waiting;
}

static bool has_free_syncer(const struct append_queue *queue)
{
    return queue->idle_syncers > 0 && !queue->syncs.first;
}

static void push_to_syncers(struct append_queue *queue, struct volume *volume)
{
    push(&queue->syncs, volume);
    if (queue->idle_syncers > 0)
        pthread_cond_signal(&queue->sync_arrived);
}

/* The volume's first request, or several, wait for a thread. */
static void queue_volume(struct append_queue *queue, struct volume *volume)
{
    volume->is_append_queued = true;
    if (volume->is_append_durable && (has_free_syncer(queue) || queue->syncer_count == SYNCERS)) {
        push_to_syncers(queue, volume);
        return;
    }
    bool was_empty = !queue->ready.first;
    push(&queue->ready, volume);
    if (was_empty)
        pthread_cond_signal(&queue->arrived);
}

/* ---- what workers tell ---- */

static void on_delivered(void *ctx, uint64_t bytes)
{
    struct append_queue *queue = ((struct append_thread *)ctx)->queue;
    pthread_mutex_lock(&queue->lock);
    queue->bytes -= bytes;
    pthread_mutex_unlock(&queue->lock);
}

/* A volume that never rests waits its turn like the others. Nobody is woken: the thread that had it looks
 * at its list next. */
static void on_let_go(void *ctx, struct volume *volume)
{
    struct append_thread *thread = ctx;
    pthread_mutex_lock(&thread->queue->lock);
    volume->is_append_queued = volume->append_first != NULL;
    if (volume->is_append_queued)
        push(thread->list, volume);
    pthread_mutex_unlock(&thread->queue->lock);
}

/* queue->lock held, and dropped while it works. */
static void carry_out(struct append_thread *thread, struct volume *volume)
{
    struct request_list list = take_requests(volume);
    pthread_mutex_unlock(&thread->queue->lock);
    append_worker_run(thread->worker, volume, list);
    pthread_mutex_lock(&thread->queue->lock);
}

static void deliver(struct append_thread *thread)
{
    pthread_mutex_unlock(&thread->queue->lock);
    append_worker_deliver(thread->worker);
    pthread_mutex_lock(&thread->queue->lock);
}

/* ---- helpers ---- */

static void *run_syncer(void *arg)
{
    struct append_thread *syncer = arg;
    struct append_queue *queue = syncer->queue;
    pthread_setname_np(pthread_self(), queue->name);
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        queue->idle_syncers++;
        while (!queue->syncs.first && !queue->no_more_syncs)
            pthread_cond_wait(&queue->sync_arrived, &queue->lock);
        queue->idle_syncers--;
        struct volume *volume = pop(&queue->syncs);
        if (!volume)
            break;
        carry_out(syncer, volume);
        deliver(syncer);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

static int start_thread(struct append_queue *queue, struct append_thread *thread,
                        struct volume_list *list, void *(*run)(void *), struct error *err)
{
    struct append_worker_owner owner = {on_delivered, on_let_go, thread};
    thread->queue = queue;
    thread->list = list;
    int code = append_worker_create(&thread->worker, &owner, err);
    if (code != 0)
        return code;
    int result = pthread_create(&thread->thread, NULL, run, thread);
    if (result != 0) {
        append_worker_destroy(thread->worker);
        return error_set_errno(err, result, "start the writer thread %s", queue->name);
    }
    return 0;
}

/* queue->lock held; writer thread only. Gives the volume away; false: nobody can take it. */
static bool hand_to_syncer(struct append_queue *queue, struct volume *volume)
{
    unsigned count = queue->syncer_count;
    if (!has_free_syncer(queue) && count < SYNCERS &&
        start_thread(queue, &queue->syncers[count], &queue->syncs, run_syncer, NULL) == 0)
        queue->syncer_count++;
    if (queue->syncer_count == 0)
        return false;
    push_to_syncers(queue, volume);
    return true;
}

/* ---- the writer thread ---- */

static void *run_writer(void *arg)
{
    struct append_thread *writer = arg;
    struct append_queue *queue = writer->queue;
    pthread_setname_np(pthread_self(), queue->name);
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        while (!queue->ready.first && !queue->is_ending)
            pthread_cond_wait(&queue->arrived, &queue->lock);
        struct volume_list round = queue->ready; /* what comes after it waits for its completions */
        queue->ready = (struct volume_list){0};
        if (!round.first)
            break;
        for (struct volume *volume; (volume = pop(&round)) != NULL;)
            if (!volume->is_append_durable || !hand_to_syncer(queue, volume))
                carry_out(writer, volume);
        deliver(writer);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* ---- for everybody ---- */

static void free_queue(struct append_queue *queue)
{
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->arrived);
    pthread_cond_destroy(&queue->sync_arrived);
    free(queue);
}

int append_queue_create(struct append_queue **ret, const char *name, struct error *err)
{
    struct append_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for the append queue %s", name);
    snprintf(queue->name, sizeof(queue->name), "%s", name);
    CHECK(pthread_mutex_init(&queue->lock, NULL) == 0);
    CHECK(pthread_cond_init(&queue->arrived, NULL) == 0);
    CHECK(pthread_cond_init(&queue->sync_arrived, NULL) == 0);
    int code = start_thread(queue, &queue->writer, &queue->ready, run_writer, err);
    if (code != 0) {
        free_queue(queue);
        return code;
    }
    *ret = queue;
    return 0;
}

static void join(struct append_thread *thread)
{
    pthread_join(thread->thread, NULL);
    append_worker_destroy(thread->worker);
}

void append_queue_destroy(struct append_queue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->is_ending = true;
    pthread_cond_signal(&queue->arrived);
    pthread_mutex_unlock(&queue->lock);
    join(&queue->writer);
    pthread_mutex_lock(&queue->lock);
    queue->no_more_syncs = true;
    pthread_cond_broadcast(&queue->sync_arrived);
    pthread_mutex_unlock(&queue->lock);
    for (unsigned i = 0; i < queue->syncer_count; i++)
        join(&queue->syncers[i]);
    free_queue(queue);
}

void append_queue_set_always_durable(struct append_queue *queue, bool is_always)
{
    atomic_store(&queue->is_always_durable, is_always);
}

int append_queue_submit(struct append_queue *queue, struct append_request *list)
{
    uint64_t bytes = 0;
    bool is_durable = atomic_load_explicit(&queue->is_always_durable, memory_order_relaxed);
    int64_t now_ns = list ? os_monotonic_ns(list->volume->os) : 0;
    for (struct append_request *request = list; request; request = request->next) {
        bytes += append_request_bytes(request);
        request->is_durable = request->is_durable || is_durable;
        request->submitted_at_ns = now_ns;
    }
    struct append_request *next;
    pthread_mutex_lock(&queue->lock);
    CHECK(!queue->is_ending);
    if (queue->bytes > 0 && queue->bytes + bytes > APPEND_QUEUE_BYTES) {
        pthread_mutex_unlock(&queue->lock);
        return KELP_E_LIMIT;
    }
    queue->bytes += bytes;
    for (struct append_request *request = list; request; request = next) {
        struct volume *volume = request->volume;
        next = request->next;
        atomic_fetch_add_explicit(&volume->pending_appends, 1, memory_order_relaxed);
        add_request(volume, request);
        if (!volume->is_append_queued)
            queue_volume(queue, volume);
    }
    pthread_mutex_unlock(&queue->lock);
    return 0;
}

struct waiter {
    struct append_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t delivered;
    bool is_done;
};

static void wake_waiter(struct append_sink *sink, struct append_request *list)
{
    struct waiter *waiter = (struct waiter *)sink;
    pthread_mutex_lock(&waiter->lock);
    waiter->is_done = true;
    pthread_cond_signal(&waiter->delivered);
    pthread_mutex_unlock(&waiter->lock);
}

int append_queue_wait(struct append_queue *queue, struct append_request *request)
{
    struct waiter waiter = {.sink = {wake_waiter}};
    CHECK(pthread_mutex_init(&waiter.lock, NULL) == 0);
    CHECK(pthread_cond_init(&waiter.delivered, NULL) == 0);
    request->next = NULL;
    request->sink = &waiter.sink;
    int code = append_queue_submit(queue, request);
    if (code != 0) {
        error_set(&request->err, code, "too many writes wait for the disk: try again later");
        request->code = code;
    } else {
        pthread_mutex_lock(&waiter.lock);
        while (!waiter.is_done)
            pthread_cond_wait(&waiter.delivered, &waiter.lock);
        pthread_mutex_unlock(&waiter.lock);
        code = request->code;
    }
    pthread_mutex_destroy(&waiter.lock);
    pthread_cond_destroy(&waiter.delivered);
    return code;
}
