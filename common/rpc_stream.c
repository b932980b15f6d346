/* Streams on the client's side, event driven, and the blocking reader of a server stream.
 *
 * `pending` counts the operations that are in gRPC's hands, as in rpc_call.c: the opening, the
 * status, at most one that receives, at most one that sends. At zero the stream is over:
 * on_closed, then nothing. The first message is asked for when the opening is done, so on_open
 * comes before on_message. */
#include "common/rpc_channel.h"

#include "common/check.h"

#include <grpc/byte_buffer.h>
#include <stdatomic.h>
#include <string.h>

struct rpc_stream {
    struct rpc_outcall base;
    atomic_uint refs;
    const struct rpc_stream_ops *ops;
    void *ctx;
    const ProtobufCMessageDescriptor *response;
    struct rpc_verdict verdict;
    struct rpc_tag open, receive, send, status;
    grpc_byte_buffer *incoming;
    bool is_garbled; /* a message did not parse: queue thread only */

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t room;  /* the send queue became shorter, or the stream is over */
    unsigned pending;
    struct rpc_send_queue queue;
    bool is_sending, is_half_closed, is_half_close_sent;
    bool is_closed; /* the status is here: nothing can be sent any more */
    bool is_over;   /* gRPC's call is gone or going */
};

/* --- sending */

/* Lock held. */
static void send_next(struct rpc_stream *stream)
{
    if (stream->is_sending || stream->is_closed || stream->is_half_close_sent)
        return;
    grpc_op ops[2];
    memset(ops, 0, sizeof(ops));
    size_t count = 0;
    struct rpc_outgoing *message = stream->queue.head;
    if (message) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = message->bytes;
    }
    if (stream->is_half_closed && (!message || !message->next)) {
        ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
        stream->is_half_close_sent = true;
    }
    if (count == 0)
        return;
    stream->is_sending = true;
    stream->pending++;
    rpc_start_batch(stream->base.core, ops, count, &stream->send);
}

static int send_message(struct rpc_stream *stream, const ProtobufCMessage *message,
                        size_t wait_above)
{
    grpc_byte_buffer *bytes = NULL;
    int rc = rpc_message_pack(message, &bytes);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&stream->lock);
    while (wait_above && !stream->is_closed && stream->queue.bytes >= wait_above)
        pthread_cond_wait(&stream->room, &stream->lock);
    if (stream->is_closed || stream->is_half_closed) {
        rc = KELP_E_CANCELLED;
    } else if (!wait_above &&
               rpc_send_queue_is_full(&stream->queue, grpc_byte_buffer_length(bytes))) {
        rc = KELP_E_LIMIT;
    } else {
        rpc_send_queue_push(&stream->queue, bytes);
        bytes = NULL;
        send_next(stream);
    }
    pthread_mutex_unlock(&stream->lock);
    if (bytes)
        grpc_byte_buffer_destroy(bytes);
    return rc;
}

int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    return send_message(stream, message, 0);
}

int rpc_stream_send_wait(struct rpc_stream *stream, const ProtobufCMessage *message)
{
    return send_message(stream, message, RPC_SEND_WAIT_BYTES);
}

void rpc_stream_half_close(struct rpc_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (!stream->is_half_closed) {
        stream->is_half_closed = true;
        send_next(stream);
    }
    pthread_mutex_unlock(&stream->lock);
}

void rpc_stream_cancel(struct rpc_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (!stream->is_over)
        grpc_call_cancel(stream->base.core, NULL);
    pthread_mutex_unlock(&stream->lock);
}

/* --- events, on the queue's thread */

static void close_stream(struct rpc_stream *stream)
{
    struct error err = {0};
    enum rpc_status status = rpc_verdict_read(&stream->verdict, &err);
    if (stream->is_garbled) {
        status = RPC_INTERNAL;
        error_set(&err, KELP_E_INTERNAL, "error unmarshalling response: a message is no %s",
                  stream->response->name);
    }
    stream->ops->on_closed(stream, status, status == RPC_OK ? NULL : &err, stream->ctx);
    rpc_send_queue_clear(&stream->queue, false);
    rpc_verdict_fini(&stream->verdict);
    if (stream->incoming)
        grpc_byte_buffer_destroy(stream->incoming);
    /* The end takes the stream off the client's list; only then may the memory go. */
    rpc_outcall_end(&stream->base, status);
    rpc_stream_unref(stream);
}

static void release(struct rpc_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool is_last = --stream->pending == 0;
    if (is_last)
        stream->is_over = true;
    pthread_mutex_unlock(&stream->lock);
    if (is_last)
        close_stream(stream);
}

static void ask_for_message(struct rpc_stream *stream)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &stream->incoming;
    rpc_start_batch(stream->base.core, &op, 1, &stream->receive);
}

static void on_open(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_stream *stream = rpc_container(tag, struct rpc_stream, open);
    if (!is_ok) {
        release(stream);
        return;
    }
    if (stream->ops->on_open)
        stream->ops->on_open(stream, stream->ctx);
    ask_for_message(stream);
}

static void on_received(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_stream *stream = rpc_container(tag, struct rpc_stream, receive);
    grpc_byte_buffer *bytes = stream->incoming;
    stream->incoming = NULL;
    if (!is_ok || !bytes) {
        if (bytes)
            grpc_byte_buffer_destroy(bytes);
        release(stream);
        return;
    }
    ProtobufCMessage *message =
        stream->is_garbled ? NULL : rpc_message_parse(stream->response, bytes);
    grpc_byte_buffer_destroy(bytes);
    if (message) {
        if (stream->ops->on_message)
            stream->ops->on_message(stream, message, stream->ctx);
        protobuf_c_message_free_unpacked(message, NULL);
    } else if (!stream->is_garbled) {
        stream->is_garbled = true;
        rpc_stream_cancel(stream);
    }
    ask_for_message(stream);
}

static void on_sent(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_stream *stream = rpc_container(tag, struct rpc_stream, send);
    pthread_mutex_lock(&stream->lock);
    stream->is_sending = false;
    rpc_send_queue_pop(&stream->queue);
    if (!is_ok) /* the status is on its way */
        stream->is_closed = true;
    if (stream->is_closed)
        rpc_send_queue_clear(&stream->queue, false);
    else
        send_next(stream);
    pthread_cond_broadcast(&stream->room);
    pthread_mutex_unlock(&stream->lock);
    release(stream);
}

static void on_status(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_stream *stream = rpc_container(tag, struct rpc_stream, status);
    pthread_mutex_lock(&stream->lock);
    stream->is_closed = true;
    rpc_send_queue_clear(&stream->queue, stream->is_sending);
    pthread_cond_broadcast(&stream->room);
    pthread_mutex_unlock(&stream->lock);
    release(stream);
}

/* --- life */

int rpc_stream_open(struct rpc_client *client, const char *address, const char *path,
                    const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                    const struct rpc_stream_ops *ops, void *ctx, struct rpc_stream **ret,
                    struct error *err)
{
    if (!address || !*address || !path || path[0] != '/')
        return error_set(err, KELP_E_INVALID, "open a stream: the address or the method is empty");
    struct rpc_stream *stream = must(calloc(1, sizeof(*stream)));
    atomic_init(&stream->refs, 1);
    stream->ops = ops;
    stream->ctx = ctx;
    stream->response = response;
    stream->open.run = on_open;
    stream->receive.run = on_received;
    stream->send.run = on_sent;
    stream->status.run = on_status;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->room, NULL);
    rpc_verdict_init(&stream->verdict);
    stream->pending = 2;
    rpc_outcall_begin(&stream->base, client, address, path, timeout_ms, NULL);
    *ret = stream;

    /* Both are counted beforehand, so that the first cannot end the stream before the second. */
    grpc_op opening[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA},
                          rpc_verdict_headers_op(&stream->verdict)};
    grpc_op status = rpc_verdict_status_op(&stream->verdict);
    rpc_start_batch(stream->base.core, opening, 2, &stream->open);
    rpc_start_batch(stream->base.core, &status, 1, &stream->status);
    return 0;
}

void rpc_stream_ref(struct rpc_stream *stream) { atomic_fetch_add(&stream->refs, 1); }

void rpc_stream_unref(struct rpc_stream *stream)
{
    if (!stream || atomic_fetch_sub(&stream->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&stream->lock);
    pthread_cond_destroy(&stream->room);
    free(stream);
}
