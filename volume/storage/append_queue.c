/* The append queue: one writer thread, batches by volume, deliveries by sink.
 *
 * The thread takes all that waits, sorts it by volume (keeping the order), and works through one volume
 * after the other under that volume's append lock: each request is checked against the index, encoded
 * into the record writer, and the batch flushed when it is full, or when a key comes up a second time
 * (its second request has to see the first one published). Readers share no lock with it beyond the
 * needle index's own.
 *
 * Requests are the callers' memory and are linked through `next` all the way; nothing is allocated per
 * request. */
#include "volume/storage/append_queue.h"

#include "common/check.h"
#include "volume/storage/append_rules.h"
#include "volume/storage/record_writer.h"
#include "volume/storage/volume_internal.h"

#include <pthread.h>
#include <stdlib.h>

#define SINKS 64u /* of one round of deliveries; one more makes an early round */

struct request_list {
    struct append_request *first, *last;
};

struct append_queue {
    pthread_t thread;
    char name[16];
    pthread_mutex_t lock; /* all up to is_ending */
    pthread_cond_t arrived;
    struct request_list waiting;
    uint64_t bytes; /* of what waits or is being carried out */
    bool is_ending;

    /* The writer thread's own. */
    struct record_writer *writer;
    uint8_t *scratch;
    struct request_list batch; /* added to the record writer, not flushed */
    bool is_batch_durable;
    struct request_list done; /* of the volume in work: to be delivered */
    struct {
        struct append_sink *sink;
        struct request_list list;
    } sinks[SINKS];
    size_t sink_count;
    uint64_t done_bytes;
};

static void list_append(struct request_list *list, struct append_request *request)
{
    request->next = NULL;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

static void list_join(struct request_list *list, struct request_list *more)
{
    if (!more->first)
        return;
    if (list->last)
        list->last->next = more->first;
    else
        list->first = more->first;
    list->last = more->last;
    *more = (struct request_list){0};
}

/* What a request counts for against APPEND_QUEUE_BYTES: it must not change while it is queued. */
static uint64_t request_bytes(const struct append_request *request)
{
    return sizeof(*request) + request->needle.data.len + request->needle.name.len +
           request->needle.mime.len + request->needle.pairs.len;
}

/* ---- deliveries ---- */

static void deliver(struct append_queue *queue)
{
    if (queue->done_bytes > 0) {
        pthread_mutex_lock(&queue->lock);
        queue->bytes -= queue->done_bytes;
        pthread_mutex_unlock(&queue->lock);
        queue->done_bytes = 0;
    }
    for (size_t i = 0; i < queue->sink_count; i++)
        queue->sinks[i].sink->deliver(queue->sinks[i].sink, queue->sinks[i].list.first);
    queue->sink_count = 0;
}

static void collect_delivery(struct append_queue *queue, struct append_request *request)
{
    size_t i = queue->sink_count;
    while (i > 0 && queue->sinks[i - 1].sink != request->sink)
        i--;
    if (i == 0) {
        if (queue->sink_count == SINKS)
            deliver(queue);
        queue->sinks[queue->sink_count].sink = request->sink;
        queue->sinks[queue->sink_count].list = (struct request_list){0};
        i = ++queue->sink_count;
    }
    queue->done_bytes += request_bytes(request);
    list_append(&queue->sinks[i - 1].list, request);
}

/* ---- one volume's requests, under its append lock ---- */

static void finish(struct append_queue *queue, struct append_request *request, int code)
{
    request->code = code;
    list_append(&queue->done, request);
}

static void flush(struct append_queue *queue, struct volume *volume)
{
    bool is_lost;
    struct error err = {0};
    bool is_empty = record_writer_count(queue->writer) == 0;
    int code = record_writer_flush(queue->writer, queue->is_batch_durable, NEEDLE_INDEX_RUNTIME,
                                   &is_lost, &err);
    if (is_lost)
        volume_quarantine(volume);
    if (!is_empty)
        volume_note_io(volume, code);
    for (struct append_request *r = queue->batch.first; r; r = r->next) {
        r->code = code;
        if (code != 0) {
            r->err = err;
            error_prefix(&r->err, "volume %u", volume->id);
        } else if (r->kind == APPEND_PUT) {
            uint64_t old = atomic_load_explicit(&volume->modified_at_second, memory_order_relaxed);
            if (r->needle.last_modified > old)
                atomic_store_explicit(&volume->modified_at_second, r->needle.last_modified,
                                      memory_order_relaxed);
        }
    }
    list_join(&queue->done, &queue->batch);
    queue->is_batch_durable = false;
}

/* Nothing was written for it, but what it relies on may not be safe yet. */
static int sync_now(struct volume *volume, struct append_request *request)
{
    struct volume_generation *generation = volume->generation;
    int result = os_fdatasync(volume->os, generation->dat_fd);
    if (result >= 0)
        return 0;
    volume_quarantine(volume);
    return error_set_errno(&request->err, -result, "volume %u: fdatasync %s", volume->id,
                           atomic_load(&generation->dat_path));
}

static int check_writable(struct volume *volume, unsigned blocking, struct append_request *request)
{
    static const struct {
        unsigned bit;
        const char *text;
    } reasons[] = {
        {VOLUME_RO_OPERATOR, "marked by the operator"},
        {VOLUME_RO_OPERATOR_CAN_DELETE, "marked by the operator, deletes are allowed"},
        {VOLUME_RO_LOW_SPACE, "its disk is low on space"},
        {VOLUME_RO_IO_ERROR, "its disk failed: check the disk, then mark it writable"},
        {VOLUME_RO_CORRUPT, "it could not be repaired: fetch it from a replica"},
        {VOLUME_RO_FILE_MODE, "its files are not writable"},
        {VOLUME_RO_TIERED, "its data is in remote storage"},
    };
    unsigned read_only = atomic_load_explicit(&volume->read_only, memory_order_relaxed) & blocking;
    if (read_only == 0)
        return 0;
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (read_only & reasons[i].bit)
            return error_set(&request->err, KELP_E_READ_ONLY, "volume %u is read only: %s",
                             volume->id, reasons[i].text);
    return error_set(&request->err, KELP_E_READ_ONLY, "volume %u is read only", volume->id);
}

/* Adds the record to the batch, or finishes the request. The batch has room, and not this key. */
static void prepare_put(struct append_queue *queue, struct volume *volume,
                        struct append_request *request)
{
    struct volume_generation *generation = volume->generation;
    struct needle *needle = &request->needle;
    struct needle_entry old, entry;
    bool is_unchanged = false;
    int code = check_writable(volume, ~0u, request);
    if (code == 0 && needle_index_get(generation->index, needle->key, &old)) {
        code = append_check_put(generation, &old, needle, request->check_cookie,
                                !ttl_is_set(volume->ttl), os_now_ns(volume->os), queue->scratch,
                                &is_unchanged, &request->err);
        if (code != KELP_E_COOKIE)
            volume_note_io(volume, code);
    }
    if (code == 0 && is_unchanged) {
        request->is_unchanged = true;
        request->body_size = old.size;
        finish(queue, request, request->is_durable ? sync_now(volume, request) : 0);
        return;
    }
    if (code == 0) {
        needle->append_at_ns = volume_next_append_at_ns(volume);
        code = record_writer_put(queue->writer, needle, &entry, &request->err);
    }
    if (code != 0) {
        finish(queue, request, code);
        return;
    }
    request->body_size = entry.size;
    queue->is_batch_durable = queue->is_batch_durable || request->is_durable;
    list_append(&queue->batch, request);
}

static void prepare_delete(struct append_queue *queue, struct volume *volume,
                           struct append_request *request)
{
    struct needle_entry old;
    int code = check_writable(volume, VOLUME_BLOCKS_DELETE_MASK, request);
    if (code != 0) {
        finish(queue, request, code);
        return;
    }
    if (!needle_index_get(volume->generation->index, request->needle.key, &old) || old.size < 0) {
        finish(queue, request, request->is_durable ? sync_now(volume, request) : 0);
        return;
    }
    bool is_tiered = (atomic_load(&volume->read_only) & VOLUME_RO_TIERED) != 0;
    request->needle.append_at_ns = volume_next_append_at_ns(volume);
    code = record_writer_delete(queue->writer, &request->needle, is_tiered, &request->err);
    if (code != 0) {
        finish(queue, request, code);
        return;
    }
    request->body_size = old.size;
    queue->is_batch_durable = queue->is_batch_durable || request->is_durable;
    list_append(&queue->batch, request);
}

/* The parts that a record cannot hold are refused before they can size anything; a volume's TTL is
 * inherited. */
static int prepare_needle(struct volume *volume, struct append_request *request)
{
    struct needle *needle = &request->needle;
    int32_t body_size;
    if (ttl_is_set(volume->ttl) && !((needle->flags & NEEDLE_HAS_TTL) && ttl_is_set(needle->ttl))) {
        needle->flags |= NEEDLE_HAS_TTL;
        needle->ttl = volume->ttl;
    }
    return needle_body_size(needle, volume->generation->version, &body_size, &request->err);
}

static void run_volume(struct append_queue *queue, struct volume *volume)
{
    size_t count = 0;
    bool has_synced = false;
    volume_lock_appends(volume);
    CHECK(volume->generation);
    record_writer_begin(queue->writer, volume->generation);
    struct append_request *next = volume->batch_first;
    volume->batch_first = volume->batch_last = NULL;
    for (struct append_request *request = next; request; request = next) {
        next = request->next;
        count++;
        request->code = 0;
        request->is_unchanged = false;
        request->body_size = 0;
        has_synced = has_synced || request->is_durable;
        int code = request->kind == APPEND_PUT ? prepare_needle(volume, request) : 0;
        if (code != 0) {
            finish(queue, request, code);
            continue;
        }
        size_t tail_size = request->kind == APPEND_PUT
                               ? needle_tail_size(&request->needle, volume->generation->version)
                               : NEEDLE_ALIGNMENT * 3;
        if (!record_writer_has_room(queue->writer, request->needle.key, tail_size))
            flush(queue, volume);
        if (request->kind == APPEND_PUT)
            prepare_put(queue, volume, request);
        else
            prepare_delete(queue, volume, request);
    }
    flush(queue, volume);
    /* The last touch of the volume: once nothing is pending it may be closed. */
    if (atomic_fetch_sub(&volume->pending_appends, count) == count)
        pthread_cond_broadcast(&volume->append_idle);
    volume_unlock_appends(volume);

    for (struct append_request *request = queue->done.first; request; request = next) {
        next = request->next;
        collect_delivery(queue, request);
    }
    queue->done = (struct request_list){0};
    if (has_synced) /* the next volume's sync need not hold these up */
        deliver(queue);
}

static void run_all(struct append_queue *queue, struct append_request *list)
{
    struct volume *volumes = NULL, **last = &volumes;
    struct append_request *next;
    for (struct append_request *request = list; request; request = next) {
        struct volume *volume = request->volume;
        next = request->next;
        if (!volume->batch_first) {
            volume->batch_next = NULL;
            *last = volume;
            last = &volume->batch_next;
        }
        struct request_list mine = {volume->batch_first, volume->batch_last};
        list_append(&mine, request);
        volume->batch_first = mine.first;
        volume->batch_last = mine.last;
    }
    struct volume *following;
    for (struct volume *volume = volumes; volume; volume = following) {
        following = volume->batch_next; /* it may be gone after its turn */
        run_volume(queue, volume);
    }
    deliver(queue);
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
    record_writer_destroy(queue->writer);
    free(queue->scratch);
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->arrived);
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
    int code = record_writer_create(&queue->writer, err);
    if (code == 0) {
        queue->scratch = malloc(APPEND_SCRATCH_SIZE);
        if (!queue->scratch)
            code = error_set(err, KELP_E_NO_MEMORY, "no memory for the append queue %s", name);
    }
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
    free_queue(queue);
}

int append_queue_submit(struct append_queue *queue, struct append_request *list)
{
    struct append_request *last = NULL;
    uint64_t bytes = 0;
    for (struct append_request *request = list; request; request = request->next) {
        bytes += request_bytes(request);
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
    list_join(&queue->waiting, &(struct request_list){list, last});
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
