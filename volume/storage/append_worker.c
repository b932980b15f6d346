/* The requests of a volume, carried out under its append lock.
 *
 * Each request is checked against the index and encoded into the record writer; the batch is
 * flushed when it is full, or when a key comes up a second time (its second request has to see
 * the first one published). Readers share no lock with this beyond the needle index's own.
 * Nothing is allocated per request. Runs on the threads of append_queue.c. */
#include "volume/storage/append_worker.h"

#include "common/check.h"
#include "volume/storage/append_rules.h"
#include "volume/storage/foreground.h"
#include "volume/storage/record_writer.h"
#include "volume/storage/volume_internal.h"

#include <stdlib.h>

#define SINKS 64u /* of one round of deliveries; one more makes an early round */

/* After so many rows an index on disk is brought up to date: no more than these, and a batch, have to be
 * read again after a crash, and wait in memory for each volume. */
#define KEEP_ROWS 256u

struct append_worker {
    struct append_worker_owner owner;
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

uint64_t append_request_bytes(const struct append_request *request)
{
    if (request->kind == APPEND_RAW)
        return sizeof(*request) + request->record_size;
    return sizeof(*request) + request->needle.data.len + request->needle.name.len +
           request->needle.mime.len + request->needle.pairs.len;
}

/* ---- deliveries ---- */

void append_worker_deliver(struct append_worker *worker)
{
    if (worker->done_bytes > 0)
        worker->owner.delivered(worker->owner.ctx, worker->done_bytes);
    worker->done_bytes = 0;
    for (size_t i = 0; i < worker->sink_count; i++)
        worker->sinks[i].sink->deliver(worker->sinks[i].sink, worker->sinks[i].list.first);
    worker->sink_count = 0;
}

static void collect_delivery(struct append_worker *worker, struct append_request *request)
{
    size_t i = worker->sink_count;
    while (i > 0 && worker->sinks[i - 1].sink != request->sink)
        i--;
    if (i == 0) {
        if (worker->sink_count == SINKS)
            append_worker_deliver(worker);
        worker->sinks[worker->sink_count].sink = request->sink;
        worker->sinks[worker->sink_count].list = (struct request_list){0};
        i = ++worker->sink_count;
    }
    worker->done_bytes += append_request_bytes(request);
    request_list_append(&worker->sinks[i - 1].list, request);
}

/* ---- one volume's requests, under its append lock ---- */

static void finish(struct append_worker *worker, struct append_request *request, int code)
{
    request->code = code;
    request_list_append(&worker->done, request);
}

static void flush(struct append_worker *worker, struct volume *volume)
{
    bool is_lost = true; /* a swap that cannot be settled */
    struct error err = {0};
    bool is_empty = record_writer_count(worker->writer) == 0;
    int code = worker->is_batch_durable ? volume_settle(volume, &err) : 0;
    if (code == 0)
        code = record_writer_flush(worker->writer, worker->is_batch_durable, NEEDLE_INDEX_RUNTIME,
                                   &is_lost, &err);
    else
        record_writer_discard(worker->writer);
    if (is_lost)
        volume_quarantine(volume, err.message);
    if (code == 0 && worker->is_batch_durable && !is_empty)
        volume_generation_promise(volume->generation, volume_generation_end(volume->generation));
    if (!is_empty && code == 0)
        atomic_store(&volume->is_unsynced, true);
    if (!is_empty)
        volume_note_io(volume, code);
    for (struct append_request *r = worker->batch.first; r; r = r->next) {
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
    request_list_join(&worker->done, &worker->batch);
    worker->is_batch_durable = false;
}

/* Nothing was written for it, but what it relies on may not be safe yet: that has_row_only tells that a row
 * is all there is of it. */
static int sync_now(struct volume *volume, struct append_request *request, bool has_row_only)
{
    struct volume_generation *generation = volume->generation;
    int code = volume_settle(volume, &request->err);
    if (code == 0)
        code = volume_generation_sync_records(generation, &request->err);
    if (code == 0 && has_row_only)
        code = volume_generation_sync_rows(generation, &request->err);
    if (code == 0) {
        volume_generation_promise(generation, volume_generation_end(generation));
        return 0;
    }
    volume_quarantine(volume, request->err.message);
    error_prefix(&request->err, "volume %u", volume->id);
    return code;
}

static void finish_unwritten(struct append_worker *worker, struct volume *volume,
                             struct append_request *request, bool has_row_only)
{
    finish(worker, request, request->is_durable ? sync_now(volume, request, has_row_only) : 0);
}

/* Its record is in the record writer, or it failed. */
static void join_batch(struct append_worker *worker, struct append_request *request, int code,
                       int32_t body_size)
{
    if (code != 0) {
        finish(worker, request, code);
        return;
    }
    request->body_size = body_size;
    worker->is_batch_durable = worker->is_batch_durable || request->is_durable;
    request_list_append(&worker->batch, request);
}

/* Adds the record to the batch, or finishes the request. The batch has room, and not this key. */
static void prepare_put(struct append_worker *worker, struct volume *volume,
                        struct append_request *request)
{
    struct volume_generation *generation = volume->generation;
    struct needle *needle = &request->needle;
    struct needle_entry old, entry;
    bool is_unchanged = false;
    int code = volume_refuse(volume, ~0u, &request->err);
    if (code == 0)
        code = needle_index_get(generation->index, needle->key, &old, &request->err);
    request->is_new = code == KELP_E_NOT_FOUND || (code == 0 && old.size < 0);
    if (code == KELP_E_NOT_FOUND) {
        code = 0;
    } else if (code == 0) {
        code = append_check_put(generation, &old, needle, request->check_cookie,
                                !ttl_is_set(volume->ttl), os_now_ns(volume->os), worker->scratch,
                                &is_unchanged, &request->err);
        if (code != KELP_E_COOKIE)
            volume_note_io(volume, code);
    }
    if (code == 0 && is_unchanged) {
        request->is_unchanged = true;
        request->body_size = old.size;
        finish_unwritten(worker, volume, request, old.size == 0);
        return;
    }
    if (code == 0) {
        needle->append_at_ns = volume_next_append_at_ns(volume);
        code = record_writer_put(worker->writer, needle, &entry, &request->err);
    }
    join_batch(worker, request, code, code == 0 ? entry.size : 0);
}

static void prepare_delete(struct append_worker *worker, struct volume *volume,
                           struct append_request *request)
{
    struct needle_entry old;
    int code = volume_refuse(volume, VOLUME_BLOCKS_DELETE_MASK, &request->err);
    if (code == 0)
        code = needle_index_get(volume->generation->index, request->needle.key, &old, &request->err);
    if (code != 0 && code != KELP_E_NOT_FOUND) {
        finish(worker, request, code);
        return;
    }
    bool is_tiered = (atomic_load(&volume->read_only) & VOLUME_RO_TIERED) != 0;
    if (code == KELP_E_NOT_FOUND || old.size < 0) {
        finish_unwritten(worker, volume, request, is_tiered);
        return;
    }
    request->needle.append_at_ns = volume_next_append_at_ns(volume);
    code = record_writer_delete(worker->writer, &request->needle, is_tiered, &request->err);
    join_batch(worker, request, code, old.size);
}

/* The record of a replica, as it is but for its stamp. */
static void prepare_raw(struct append_worker *worker, struct volume *volume,
                        struct append_request *request)
{
    struct volume_generation *generation = volume->generation;
    struct needle_entry old, entry;
    bool is_unchanged = false;
    int32_t size = 0;
    int code = volume_refuse(volume, ~0u, &request->err);
    if (code == 0)
        code = append_check_raw(generation, request->record, request->record_size, &size,
                                &request->err);
    if (code == 0)
        code = needle_index_get(generation->index, request->needle.key, &old, &request->err);
    if (code == 0)
        is_unchanged = append_is_same_record(generation, &old, request->record, worker->scratch);
    if (is_unchanged) {
        request->is_unchanged = true;
        request->body_size = old.size;
        finish_unwritten(worker, volume, request, old.size == 0);
        return;
    }
    if (code == 0 || code == KELP_E_NOT_FOUND) {
        store_be64(request->record + 4, request->needle.key); /* or no read of the key would take it */
        if (generation->version >= 3)
            store_be64(request->record + NEEDLE_HEADER_SIZE + (uint32_t)size + 4,
                       volume_next_append_at_ns(volume));
        code = record_writer_raw(worker->writer, request->needle.key, size, request->record, &entry,
                                 &request->err);
    }
    join_batch(worker, request, code, code == 0 ? entry.size : 0);
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

static void carry_out(struct append_worker *worker, struct volume *volume,
                      struct append_request *request)
{
    request->code = 0;
    request->is_unchanged = false;
    request->body_size = 0;
    int code = request->kind == APPEND_PUT ? prepare_needle(volume, request) : 0;
    if (code != 0) {
        finish(worker, request, code);
        return;
    }
    size_t tail_size = NEEDLE_ALIGNMENT * 3;
    if (request->kind == APPEND_PUT)
        tail_size = needle_tail_size(&request->needle, volume->generation->version);
    if (!record_writer_has_room(worker->writer, request->needle.key, tail_size))
        flush(worker, volume);
    if (request->kind == APPEND_PUT)
        prepare_put(worker, volume, request);
    else if (request->kind == APPEND_DELETE)
        prepare_delete(worker, volume, request);
    else
        prepare_raw(worker, volume, request);
}

/* An index on disk that cannot be written says so when nothing is lost yet: the rows are in the .idx. */
static void keep_index(struct volume *volume)
{
    struct error err;
    if (volume_generation_keep_mark(volume->generation, KEEP_ROWS, &err) != 0)
        volume_quarantine(volume, err.message);
}

static void collect_done(struct append_worker *worker, struct volume *volume)
{
    struct append_request *next;
    int64_t now_ns = os_monotonic_ns(volume->os);
    for (struct append_request *request = worker->done.first; request; request = next) {
        next = request->next;
        foreground_note(volume->foreground, FOREGROUND_WRITE, now_ns,
                        now_ns - request->submitted_at_ns);
        collect_delivery(worker, request);
    }
    worker->done = (struct request_list){0};
}

/* What puts left to be done in the index, now and then, when all that waited for them know. */
static void maintain_index(struct append_worker *worker, struct volume *volume)
{
    struct needle_index *index = volume->generation->index;
    if (!needle_index_owes(index))
        return;
    append_worker_deliver(worker);
    while (needle_index_maintain(index))
        ;
}

void append_worker_run(struct append_worker *worker, struct volume *volume,
                       struct request_list list)
{
    size_t count = 0;
    bool has_synced = false;
    struct append_request *next;
    volume_lock_appends(volume);
    CHECK(volume->generation);
    record_writer_begin(worker->writer, volume->generation);
    for (struct append_request *request = list.first; request; request = next) {
        next = request->next;
        count++;
        has_synced = has_synced || request->is_durable;
        carry_out(worker, volume, request);
    }
    flush(worker, volume);
    keep_index(volume);
    collect_done(worker, volume);
    maintain_index(worker, volume);
    worker->owner.let_go(worker->owner.ctx, volume);
    /* The last touch of the volume: once nothing is pending it may be closed. */
    if (atomic_fetch_sub(&volume->pending_appends, count) == count)
        pthread_cond_broadcast(&volume->append_idle);
    volume_unlock_appends(volume);
    if (has_synced) /* the next volume's sync need not hold these up */
        append_worker_deliver(worker);
}

/* ---- life ---- */

int append_worker_create(struct append_worker **ret, const struct append_worker_owner *owner,
                         struct error *err)
{
    struct append_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a writer thread");
    worker->owner = *owner;
    int code = record_writer_create(&worker->writer, err);
    if (code == 0) {
        worker->scratch = malloc(APPEND_SCRATCH_SIZE);
        if (!worker->scratch)
            code = error_set(err, KELP_E_NO_MEMORY, "no memory for a writer thread");
    }
    if (code != 0) {
        append_worker_destroy(worker);
        return code;
    }
    *ret = worker;
    return 0;
}

void append_worker_destroy(struct append_worker *worker)
{
    if (!worker)
        return;
    record_writer_destroy(worker->writer);
    free(worker->scratch);
    free(worker);
}
