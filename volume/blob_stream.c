/* Two buffers: while one is on its way to the client, the other is filled, if the disk is to be
 * waited for; one is enough otherwise. What is in the page cache is read on the loop, the rest on the pool.
 *
 * The header goes out with the first piece, so a first read that fails is still a 500. The CRC
 * can only be known at the end: when all of the data was asked for in one stretch, the last
 * piece is held back unless it matches, and the connection is cut instead, so that a client
 * never takes damaged data for whole. When only parts were asked for, all of it is read and
 * checked first, on the pool, unless this lane has done so of late. So it is when damage has been
 * seen in the volume and another server may have a better copy: once a byte is out, it is too late
 * for that one.
 *
 *   fill -> (full) -> write -> (written) -> fill ...       one fill and one write at a time
 *   a check (of parts) comes before the first fill
 *   a failed fill waits for the write that is under way, then cuts. */
#include "volume/blob_stream.h"

#include "common/crc32c.h"
#include "common/mime.h"
#include "volume/blob_remote.h"

#include <stddef.h>
#include <stdlib.h>

struct piece {
    char *data; /* stream->capacity bytes; NULL: never needed */
    size_t length;
    bool is_full;
};

struct stream {
    struct blob *blob;
    struct blob_stream_plan plan;
    struct blob_offload offload;
    struct piece pieces[2];
    size_t capacity;
    unsigned filling_index, writing_index;
    bool is_filling, is_writing, is_started;
    bool is_cold;   /* the last fill had to wait for the disk */
    bool is_gone;   /* the client is */
    int code;       /* why a fill failed */
    /* How far the filling has come; whoever fills has this to himself. */
    int fill_code;
    struct error err;
    size_t segment, head_done;
    uint64_t segment_done;
    size_t tail_done;
    bool is_filled; /* nothing is left to fill */
    uint32_t crc;
    bool is_checked; /* all of the data goes out in one stretch */
};

static void pump(struct stream *stream);

/* ---- filling; on the loop or, with is_waiting, on the pool ---- */

static size_t copy_some(struct stream *stream, struct piece *piece, struct slice from, size_t done)
{
    size_t room = stream->capacity - piece->length;
    size_t n = from.len - done < room ? from.len - done : room;
    if (n > 0)
        memcpy(piece->data + piece->length, from.ptr + done, n);
    piece->length += n;
    return n;
}

static int fill_data(struct stream *stream, struct piece *piece, bool is_waiting)
{
    const struct blob_stream_segment *segment = &stream->plan.segments[stream->segment];
    uint64_t left = segment->length - stream->segment_done;
    size_t room = stream->capacity - piece->length;
    size_t n = left < room ? (size_t)left : room;
    if (n == 0)
        return 0;
    char *into = piece->data + piece->length;
    uint64_t position = segment->position + stream->segment_done;
    int code = 0;
    if (stream->blob->is_streamed)
        code = volume_read_data(&stream->blob->read, into, n, position, !is_waiting, &stream->err);
    else
        memcpy(into, stream->blob->content.ptr + position, n);
    if (code != 0)
        return code;
    piece->length += n;
    stream->segment_done += n;
    if (!stream->is_checked)
        return 0;
    stream->crc = crc32c(stream->crc, into, n);
    uint32_t stored = stream->blob->needle.checksum;
    if (stream->segment_done < segment->length || needle_checksum_matches(stored, stream->crc))
        return 0;
    code = error_set(&stream->err, KELP_E_CORRUPT,
                     "ReadNeedleData checksum %u expected %u for Needle: %u,%llx", stream->crc, stored,
                     stream->blob->volume_id, (unsigned long long)stream->blob->key);
    volume_read_damaged(&stream->blob->read, stream->err.message);
    return code;
}

/* The whole of a blob of which parts go out. */
static void check_on_worker(struct blob_offload *offload)
{
    struct stream *stream = (struct stream *)((char *)offload - offsetof(struct stream, offload));
    struct blob *blob = stream->blob;
    stream->fill_code = volume_read_check(&blob->read, &blob->needle, &stream->err);
}

static void on_checked(struct blob_offload *offload)
{
    struct stream *stream = (struct stream *)((char *)offload - offsetof(struct stream, offload));
    struct blob *blob = stream->blob;
    stream->is_filling = false;
    stream->code = stream->fill_code;
    if (stream->code == 0)
        blob_lane_remember_checked(blob->call->lane, &blob->read);
    pump(stream);
}

static void start_check(struct stream *stream)
{
    struct blob_call *call = stream->blob->call;
    stream->is_filling = true;
    stream->offload.work = check_on_worker;
    stream->offload.done = on_checked;
    int code = blob_lane_offload_to_disk(
        call->lane, store_location_of(call->http->config.store, stream->blob->volume),
        &stream->offload);
    if (code == 0)
        return;
    stream->is_filling = false;
    stream->code = error_set(&stream->err, code, "too many reads wait for this disk: try again later");
    pump(stream);
}

/* KELP_E_AGAIN: what is there stays, go on waiting. */
static int fill(struct stream *stream, bool is_waiting)
{
    struct piece *piece = &stream->pieces[stream->filling_index];
    while (stream->segment < stream->plan.segment_count) {
        const struct blob_stream_segment *segment = &stream->plan.segments[stream->segment];
        stream->head_done += copy_some(stream, piece, segment->head, stream->head_done);
        int code = fill_data(stream, piece, is_waiting);
        if (code != 0)
            return code;
        if (stream->head_done < segment->head.len || stream->segment_done < segment->length)
            return 0; /* full */
        stream->segment++;
        stream->head_done = 0;
        stream->segment_done = 0;
    }
    stream->tail_done += copy_some(stream, piece, stream->plan.tail, stream->tail_done);
    stream->is_filled = stream->tail_done == stream->plan.tail.len;
    return 0;
}

static void finish_fill(struct stream *stream, int code)
{
    stream->is_filling = false;
    stream->code = code;
    if (code == 0) {
        stream->pieces[stream->filling_index].is_full = true;
        stream->filling_index ^= 1;
    }
}

static void fill_on_worker(struct blob_offload *offload)
{
    struct stream *stream = (struct stream *)((char *)offload - offsetof(struct stream, offload));
    stream->fill_code = fill(stream, true);
}

static void on_filled(struct blob_offload *offload)
{
    struct stream *stream = (struct stream *)((char *)offload - offsetof(struct stream, offload));
    finish_fill(stream, stream->fill_code);
    pump(stream);
}

static void start_fill(struct stream *stream)
{
    if (!stream->is_writing && !stream->pieces[stream->writing_index].is_full)
        stream->filling_index = stream->writing_index = 0; /* both are free: the one used last */
    struct piece *piece = &stream->pieces[stream->filling_index];
    if (!piece->data && !(piece->data = malloc(stream->capacity))) {
        stream->code = error_set(&stream->err, KELP_E_NO_MEMORY, "out of memory: try again later");
        return;
    }
    stream->is_filling = true;
    piece->length = 0;
    int code = fill(stream, false);
    stream->is_cold = code == KELP_E_AGAIN;
    if (code == KELP_E_AGAIN) {
        stream->offload.work = fill_on_worker;
        stream->offload.done = on_filled;
        struct blob_call *call = stream->blob->call;
        code = blob_lane_offload_to_disk(
            call->lane, store_location_of(call->http->config.store, stream->blob->volume),
            &stream->offload);
        if (code == 0)
            return;
        error_set(&stream->err, code, "too many reads wait for this disk: try again later");
    }
    finish_fill(stream, code);
}

/* ---- writing ---- */

static void on_written(struct http_request *request, int status, void *ctx)
{
    struct stream *stream = ctx;
    stream->is_writing = false;
    stream->pieces[stream->writing_index].is_full = false;
    stream->writing_index ^= 1;
    stream->is_gone = stream->is_gone || status < 0;
    pump(stream);
}

static void start_response(struct stream *stream, const struct piece *first)
{
    struct http_request *request = stream->blob->call->request;
    if (stream->plan.is_to_sniff && stream->plan.segment_count > 0) {
        size_t head = stream->plan.segments[0].head.len;
        struct slice shown = slice_from(slice_of(first->data, first->length), head);
        http_response_set_header(request, "Content-Type", mime_sniff(shown));
    }
    http_response_start(request, stream->plan.status, stream->plan.total_length);
    stream->is_started = true;
}

static void start_write(struct stream *stream)
{
    struct piece *piece = &stream->pieces[stream->writing_index];
    if (!stream->is_started)
        start_response(stream, piece);
    stream->is_writing = true;
    http_response_write(stream->blob->call->request, slice_of(piece->data, piece->length),
                        on_written, stream);
}

/* ---- the end ---- */

static void free_pieces(struct stream *stream)
{
    free(stream->pieces[0].data);
    free(stream->pieces[1].data);
}

static void finish(struct stream *stream)
{
    struct blob_call *call = stream->blob->call;
    bool is_complete = stream->code == 0 && !stream->is_gone;
    free_pieces(stream);
    if (!stream->is_started && blob_replace(stream->blob, stream->code, stream->err.message))
        return;
    blob_let_go(stream->blob);
    blob_free(stream->blob);
    if (!stream->is_started) {
        blob_metrics_event(call->http->metrics, BLOB_EVENT_GET_INTERNAL);
        if (stream->code == KELP_E_CORRUPT)
            blob_metrics_event(call->http->metrics, BLOB_EVENT_GET_DAMAGED);
        blob_metrics_read_failed(call->http->metrics, false);
        blob_metrics_outcome(call->http->metrics, stream->code);
        bool is_short = stream->code == KELP_E_LIMIT || stream->code == KELP_E_NO_MEMORY;
        blob_call_reply_text(call, is_short ? 503 : 500, stream->err.message);
        return;
    }
    blob_call_close(call, stream->plan.status);
    if (is_complete)
        http_response_end(call->request);
    else
        http_response_abort(call->request);
}

/* Ahead only of a disk: what memory has is best read right before it is written, while the
 * processor has it at hand. */
static bool may_fill(const struct stream *stream)
{
    return !stream->is_filling && !stream->is_filled &&
           !stream->pieces[stream->filling_index].is_full && (!stream->is_writing || stream->is_cold);
}

static void pump(struct stream *stream)
{
    while (stream->code == 0 && !stream->is_gone) {
        if (!stream->is_writing && stream->pieces[stream->writing_index].is_full)
            start_write(stream);
        else if (may_fill(stream))
            start_fill(stream);
        else
            break;
    }
    if (!stream->is_filling && !stream->is_writing)
        finish(stream);
}

static bool is_to_be_checked(const struct stream *stream)
{
    const struct blob *blob = stream->blob;
    if (!blob->is_streamed || stream->plan.segment_count == 0 ||
        blob_lane_has_checked(blob->call->lane, &blob->read))
        return false;
    unsigned copies = replica_placement_copies(volume_replica_placement(blob->volume));
    return !stream->is_checked || (volume_has_damage(blob->volume) &&
                                   blob_remote_may_replace(blob->call, copies));
}

void blob_stream_start(struct blob *blob, const struct blob_stream_plan *plan)
{
    struct stream *stream = arena_calloc(blob->call->request->arena, sizeof(*stream));
    stream->blob = blob;
    stream->plan = *plan;
    stream->is_checked = blob->is_streamed && plan->segment_count == 1 &&
                         plan->segments[0].length == blob->needle.data.len;
    stream->capacity = plan->total_length < BLOB_STREAM_PIECE ? (size_t)plan->total_length + 1
                                                              : BLOB_STREAM_PIECE;
    if (is_to_be_checked(stream))
        start_check(stream);
    else
        pump(stream);
}
