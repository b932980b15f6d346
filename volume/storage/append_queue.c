/* The append queue: one writer thread, helpers for what has to be synced, deliveries by sink.
 *
 * The writer thread takes all that waits and sorts it by volume, keeping the order. Volumes of
 * which nothing has to be durable it carries out itself, one after the other: a few microseconds
 * each. One that must be synced goes to a helper, so that a sync holds up nobody else, and those
 * of several volumes go to the disk together. While a helper has a volume, what comes for it
 * waits with it: no two threads work on one volume.
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

#define SYNCERS 4u /* helpers; more syncs at a time gain little */

struct syncer {
    pthread_t thread;
    struct append_queue *queue;
    struct append_worker *worker;
};

struct append_queue {
    pthread_t thread;
    char name[16];
    atomic_bool is_always_durable;
    struct append_worker *worker; /* the writer thread's own */

    pthread_mutex_t lock; /* all that follows */
    pthread_cond_t arrived;
    struct request_list waiting;
    uint64_t bytes; /* of what waits or is being carried out */
    bool is_ending;

    pthread_cond_t sync_arrived;
    struct volume *sync_first, *sync_last; /* for the helpers, linked by batch_next */
    unsigned idle_syncers, syncer_count;
    bool no_more_syncs;
    struct syncer syncers[SYNCERS];
};

/* ---- what workers ask ---- */

static void on_delivered(void *ctx, uint64_t bytes)
{
    struct append_queue *queue = ctx;
    pthread_mutex_lock(&queue->lock);
    queue->bytes -= bytes;
    pthread_mutex_unlock(&queue->lock);
}

/* queue->lock held. */
static struct request_list take_late(struct volume *volume)
{
    struct request_list late = {volume->late_first, volume->late_last};
    volume->late_first = volume->late_last = NULL;
    return late;
}

/* queue->lock held. The volume's late list is what is to be carried out. */
static void add_to_syncs(struct append_queue *queue, struct volume *volume)
{
    volume->batch_next = NULL;
    if (queue->sync_first)
        queue->sync_last->batch_next = volume;
    else
        queue->sync_first = volume;
    queue->sync_last = volume;
    pthread_cond_signal(&queue->sync_arrived);
}

/* A volume that never rests waits its turn like the others, and meanwhile its next batch grows. */
static struct request_list on_more(void *ctx, struct volume *volume)
{
    struct append_queue *queue = ctx;
    struct request_list next = {0};
    pthread_mutex_lock(&queue->lock);
    volume->is_syncing = volume->late_first != NULL;
    if (volume->is_syncing && queue->sync_first)
        add_to_syncs(queue, volume);
    else
        next = take_late(volume);
    pthread_mutex_unlock(&queue->lock);
    return next;
}

static int create_worker(struct append_queue *queue, struct append_worker **ret, struct error *err)
{
    struct append_worker_owner owner = {on_delivered, on_more, queue};
    return append_worker_create(ret, &owner, err);
}

/* ---- helpers ---- */

static void *run_syncer(void *arg)
{
    struct syncer *syncer = arg;
    struct append_queue *queue = syncer->queue;
    pthread_setname_np(pthread_self(), queue->name);
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        queue->idle_syncers++;
        while (!queue->sync_first && !queue->no_more_syncs)
            pthread_cond_wait(&queue->sync_arrived, &queue->lock);
        queue->idle_syncers--;
        struct volume *volume = queue->sync_first;
        if (!volume)
            break;
        queue->sync_first = volume->batch_next;
        struct request_list list = take_late(volume);
        pthread_mutex_unlock(&queue->lock);
        append_worker_run(syncer->worker, volume, list);
        append_worker_deliver(syncer->worker);
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* Writer thread only. Whether there is a helper at all. */
static bool start_syncer(struct append_queue *queue)
{
    unsigned count = queue->syncer_count;
    struct syncer *syncer = &queue->syncers[count];
    if (count == SYNCERS)
        return true;
    syncer->queue = queue;
    if (create_worker(queue, &syncer->worker, NULL) == 0 &&
        pthread_create(&syncer->thread, NULL, run_syncer, syncer) == 0) {
        queue->syncer_count = count + 1;
        return true;
    }
    append_worker_destroy(syncer->worker);
    syncer->worker = NULL;
    return count > 0;
}

/* Gives the volume and its list away; false: nobody can take it. */
static bool hand_to_syncer(struct append_queue *queue, struct volume *volume,
                           struct request_list list)
{
    pthread_mutex_lock(&queue->lock);
    bool is_taken = (queue->idle_syncers > 0 && !queue->sync_first) || start_syncer(queue);
    if (is_taken) {
        volume->is_syncing = true;
        volume->late_first = list.first;
        volume->late_last = list.last;
        add_to_syncs(queue, volume);
    }
    pthread_mutex_unlock(&queue->lock);
    return is_taken;
}

/* ---- the writer thread ---- */

/* Adds a request to those of its volume; the first one adds the volume to the round. */
static void add_to_round(struct append_request *request, struct volume ***last)
{
    struct volume *volume = request->volume;
    if (!volume->batch_first) {
        volume->batch_next = NULL;
        volume->is_batch_durable = false;
        **last = volume;
        *last = &volume->batch_next;
    }
    struct request_list mine = {volume->batch_first, volume->batch_last};
    request_list_append(&mine, request);
    volume->batch_first = mine.first;
    volume->batch_last = mine.last;
    volume->is_batch_durable = volume->is_batch_durable || request->is_durable;
}

static struct volume *sort_by_volume(struct append_queue *queue, struct append_request *list)
{
    struct volume *volumes = NULL, **last = &volumes;
    struct append_request *next;
    pthread_mutex_lock(&queue->lock);
    for (struct append_request *request = list; request; request = next) {
        struct volume *volume = request->volume;
        next = request->next;
        if (volume->is_syncing) {
            struct request_list late = {volume->late_first, volume->late_last};
            request_list_append(&late, request);
            volume->late_first = late.first;
            volume->late_last = late.last;
        } else {
            add_to_round(request, &last);
        }
    }
    pthread_mutex_unlock(&queue->lock);
    return volumes;
}

static void run_all(struct append_queue *queue, struct append_request *list)
{
    struct volume *following, *volumes = sort_by_volume(queue, list);
    for (struct volume *volume = volumes; volume; volume = following) {
        following = volume->batch_next; /* it may be gone after its turn */
        struct request_list mine = {volume->batch_first, volume->batch_last};
        volume->batch_first = volume->batch_last = NULL;
        if (!volume->is_batch_durable || !hand_to_syncer(queue, volume, mine))
            append_worker_run(queue->worker, volume, mine);
    }
    append_worker_deliver(queue->worker);
}

static void *run_writer(void *arg)
{
    struct append_queue *queue = arg;
    pthread_setname_np(pthread_self(), queue->name);
    pthread_mutex_lock(&queue->lock);
    for (;;) {
        while (!queue->waiting.first && !queue->is_ending)
            pthread_cond_wait(&queue->arrived, &queue->lock);
        struct append_request *list = queue->waiting.first;
        queue->waiting = (struct request_list){0};
        if (!list)
            break;
        pthread_mutex_unlock(&queue->lock);
        run_all(queue, list);
        pthread_mutex_lock(&queue->lock);
    }
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

/* ---- for everybody ---- */

static void free_queue(struct append_queue *queue)
{
    append_worker_destroy(queue->worker);
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
    int code = create_worker(queue, &queue->worker, err);
    if (code == 0) {
        int result = pthread_create(&queue->thread, NULL, run_writer, queue);
        if (result != 0)
            code = error_set_errno(err, result, "start the writer thread %s", name);
    }
    if (code != 0) {
        free_queue(queue);
        return code;
    }
    *ret = queue;
    return 0;
}

void append_queue_destroy(struct append_queue *queue)
{
    if (!queue)
        return;
    pthread_mutex_lock(&queue->lock);
    queue->is_ending = true;
    pthread_cond_signal(&queue->arrived);
    pthread_mutex_unlock(&queue->lock);
    pthread_join(queue->thread, NULL);
    pthread_mutex_lock(&queue->lock);
    queue->no_more_syncs = true;
    pthread_cond_broadcast(&queue->sync_arrived);
    pthread_mutex_unlock(&queue->lock);
    for (unsigned i = 0; i < queue->syncer_count; i++) {
        pthread_join(queue->syncers[i].thread, NULL);
        append_worker_destroy(queue->syncers[i].worker);
    }
    free_queue(queue);
}

void append_queue_set_always_durable(struct append_queue *queue, bool is_always)
{
    atomic_store(&queue->is_always_durable, is_always);
}

int append_queue_submit(struct append_queue *queue, struct append_request *list)
{
    struct append_request *last = NULL;
    uint64_t bytes = 0;
    bool is_durable = atomic_load_explicit(&queue->is_always_durable, memory_order_relaxed);
    int64_t now_ns = list ? os_monotonic_ns(list->volume->os) : 0;
    for (struct append_request *request = list; request; request = request->next) {
        bytes += append_request_bytes(request);
        request->is_durable = request->is_durable || is_durable;
        request->submitted_at_ns = now_ns;
        last = request;
    }
    if (!last)
        return 0;
    pthread_mutex_lock(&queue->lock);
    CHECK(!queue->is_ending);
    if (queue->bytes > 0 && queue->bytes + bytes > APPEND_QUEUE_BYTES) {
        pthread_mutex_unlock(&queue->lock);
        return KELP_E_LIMIT;
    }
    queue->bytes += bytes;
    for (struct append_request *request = list; request; request = request->next)
        atomic_fetch_add_explicit(&request->volume->pending_appends, 1, memory_order_relaxed);
    bool was_empty = !queue->waiting.first;
    request_list_join(&queue->waiting, &(struct request_list){list, last});
    if (was_empty)
        pthread_cond_signal(&queue->arrived);
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
