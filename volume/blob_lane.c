/* The hand-over of appends is what keeps writing cheap: requests that arrive in one turn of the
 * loop go to the disk's writer thread as one list, and come back as one list with one wake-up. */
#include "volume/blob_lane.h"

#include "common/check.h"

#include <stddef.h>

static void deliver(struct append_sink *sink, struct append_request *list);
static void on_turn_end(struct loop_task *task);
static void on_completed(struct loop_task *task);

#define LANE_OF(pointer, member)                                                                   \
    ((struct blob_lane *)((char *)(pointer) - offsetof(struct blob_lane, member)))

void blob_lane_init(struct blob_lane *lane, struct loop *loop, struct worker_pool *pool,
                    struct worker_pool *const *disk_pools, uint64_t seed)
{
    *lane = (struct blob_lane){
        .loop = loop, .pool = pool, .disk_pools = disk_pools, .random_state = seed | 1};
    lane->sink.deliver = deliver;
    lane->turn_end.run = on_turn_end;
    lane->completed.run = on_completed;
    CHECK(pthread_mutex_init(&lane->lock, NULL) == 0);
}

struct lane_farewell {
    struct loop_task task;
    struct blob_lane *lane;
    uv_sem_t is_done;
};

static void close_clients(struct loop_task *task)
{
    struct lane_farewell *farewell =
        (struct lane_farewell *)((char *)task - offsetof(struct lane_farewell, task));
    replicator_destroy(farewell->lane->replicator);
    http_client_destroy(farewell->lane->http_client);
    uv_sem_post(&farewell->is_done);
}

void blob_lane_fini(struct blob_lane *lane)
{
    struct lane_farewell farewell = {.task = {.run = close_clients}, .lane = lane};
    CHECK(uv_sem_init(&farewell.is_done, 0) == 0);
    loop_post(lane->loop, &farewell.task);
    uv_sem_wait(&farewell.is_done);
    uv_sem_destroy(&farewell.is_done);
    buffer_fini(&lane->scratch);
    free(lane->checked);
    free(lane->sums);
    pthread_mutex_destroy(&lane->lock);
}

struct blob_lane *blob_lane_of(struct blob_lane *lanes, unsigned count, const struct loop *loop)
{
    unsigned i = 0;
    while (lanes[i].loop != loop) {
        i++;
        CHECK(i < count);
    }
    return &lanes[i];
}

/* xorshift64*: request ids and boundaries need to differ, not to be secret. */
uint64_t blob_lane_random(struct blob_lane *lane)
{
    uint64_t x = lane->random_state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    lane->random_state = x;
    return x * 0x2545f4914f6cdd1dull;
}

size_t blob_lane_slot(const struct volume_read *read, size_t count)
{
    return (size_t)(((read->serial * 31 + read->offset / 8) * 0x9e3779b97f4a7c15ull) >> 40) % count;
}

bool blob_lane_has_checked(const struct blob_lane *lane, const struct volume_read *read)
{
    if (!lane->checked)
        return false;
    const struct blob_lane_checked *checked = &lane->checked[blob_lane_slot(read, BLOB_LANE_CHECKED)];
    return checked->serial == read->serial && checked->offset == read->offset;
}

void blob_lane_remember_checked(struct blob_lane *lane, const struct volume_read *read)
{
    if (!lane->checked)
        lane->checked = must(calloc(BLOB_LANE_CHECKED, sizeof(*lane->checked)));
    lane->checked[blob_lane_slot(read, BLOB_LANE_CHECKED)] = (struct blob_lane_checked){read->serial, read->offset};
}

struct replicator *blob_lane_replicator(struct blob_lane *lane, struct error *err)
{
    if (lane->replicator)
        return lane->replicator;
    if (replicator_create(&lane->replicator, lane->loop, err) != 0)
        return NULL;
    replicator_count_errors(lane->replicator, lane->upload_errors);
    return lane->replicator;
}

struct http_client *blob_lane_http_client(struct blob_lane *lane, struct error *err)
{
    if (!lane->http_client && http_client_create(&lane->http_client, lane->loop, err) != 0)
        return NULL;
    return lane->http_client;
}

/* ---- appends ---- */

static void finish_append(struct append_request *request)
{
    struct blob_append *append =
        (struct blob_append *)((char *)request - offsetof(struct blob_append, request));
    append->done(append);
}

static void hand_over(struct blob_lane_batch *batch)
{
    if (append_queue_submit(batch->queue, batch->first) == 0)
        return;
    for (struct append_request *request = batch->first, *next; request; request = next) {
        next = request->next;
        request->code =
            error_set(&request->err, KELP_E_LIMIT,
                      "too many bytes wait to be written to this disk: try again later");
        finish_append(request);
    }
}

static void hand_over_all(struct blob_lane *lane)
{
    /* A refused batch answers its clients, which may collect new appends: work on a copy. */
    struct blob_lane_batch batches[BLOB_LANE_BATCHES];
    unsigned count = lane->batch_count;
    memcpy(batches, lane->batches, count * sizeof(batches[0]));
    lane->batch_count = 0;
    for (unsigned i = 0; i < count; i++)
        hand_over(&batches[i]);
}

static void on_turn_end(struct loop_task *task)
{
    struct blob_lane *lane = LANE_OF(task, turn_end);
    lane->is_turn_end_due = false;
    hand_over_all(lane);
}

void blob_lane_append(struct blob_lane *lane, struct append_queue *queue,
                      struct blob_append *append)
{
    struct append_request *request = &append->request;
    request->next = NULL;
    request->sink = &lane->sink;
    if (!lane->is_turn_end_due) {
        lane->is_turn_end_due = true;
        loop_at_turn_end(lane->loop, &lane->turn_end);
    }
    for (unsigned i = 0; i < lane->batch_count; i++) {
        struct blob_lane_batch *batch = &lane->batches[i];
        if (batch->queue == queue) {
            batch->last->next = request;
            batch->last = request;
            return;
        }
    }
    if (lane->batch_count == BLOB_LANE_BATCHES)
        hand_over_all(lane);
    lane->batches[lane->batch_count++] =
        (struct blob_lane_batch){.queue = queue, .first = request, .last = request};
}

/* Writer thread of a disk. */
static void deliver(struct append_sink *sink, struct append_request *list)
{
    struct blob_lane *lane = LANE_OF(sink, sink);
    struct append_request *last = list;
    unsigned count = 1;
    for (; last->next; last = last->next)
        count++;
    if (lane->group_sizes)
        metric_observe(lane->group_sizes, count);
    pthread_mutex_lock(&lane->lock);
    if (lane->completed_last)
        lane->completed_last->next = list;
    else
        lane->completed_first = list;
    lane->completed_last = last;
    bool is_to_post = !lane->is_posted;
    lane->is_posted = true;
    pthread_mutex_unlock(&lane->lock);
    if (is_to_post)
        loop_post(lane->loop, &lane->completed);
}

static void on_completed(struct loop_task *task)
{
    struct blob_lane *lane = LANE_OF(task, completed);
    pthread_mutex_lock(&lane->lock);
    struct append_request *list = lane->completed_first;
    lane->completed_first = lane->completed_last = NULL;
    lane->is_posted = false;
    pthread_mutex_unlock(&lane->lock);
    loop_doing("answering writes that are done");
    for (struct append_request *request = list, *next; request; request = next) {
        next = request->next;
        finish_append(request);
    }
}

/* ---- work for the pool ---- */

static void return_to_loop(struct loop_task *task)
{
    struct blob_offload *offload =
        (struct blob_offload *)((char *)task - offsetof(struct blob_offload, loop_task));
    loop_doing("going on after work of another thread");
    offload->done(offload);
}

static void run_on_worker(struct worker_task *task)
{
    struct blob_offload *offload =
        (struct blob_offload *)((char *)task - offsetof(struct blob_offload, worker_task));
    offload->work(offload);
    loop_post(offload->loop, &offload->loop_task);
}

static int submit(struct blob_lane *lane, struct worker_pool *pool, struct blob_offload *offload)
{
    offload->loop = lane->loop;
    offload->worker_task.run = run_on_worker;
    offload->loop_task.run = return_to_loop;
    return worker_pool_submit(pool, &offload->worker_task);
}

int blob_lane_offload(struct blob_lane *lane, struct blob_offload *offload)
{
    return submit(lane, lane->pool, offload);
}

int blob_lane_offload_to_disk(struct blob_lane *lane, const struct disk_location *location,
                              struct blob_offload *offload)
{
    return submit(lane, lane->disk_pools[disk_location_id(location)], offload);
}
