/* One call on the server's side.
 *
 * Three kinds of operations run in gRPC: one that tells of the end, at most one that receives, at
 * most one that sends. `pending` counts them, and a callback that follows from a received message
 * inherits its count; so when it reaches zero nothing can touch the call any more, and on_closed
 * is due. A queue method's callbacks run on the thread of the call's queue. A worker method's run
 * on the pool, one at a time because the next message is asked for only when the last one is done.
 *
 *     receive -> on_message -> receive -> ... -> on_half_closed  (requests)
 *     queued messages -> one in flight -> ... -> status          (answers)
 *     close                                                      (cancelled, or status sent)
 *
 * After a close that is a cancellation nothing is sent any more, the status neither. */
#include "common/rpc_host.h"

#include "common/check.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <grpc/support/alloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#define REQUEST_ID_KEY "x-amz-request-id"

enum delivery { DELIVER_MESSAGE, DELIVER_HALF_CLOSED, DELIVER_CLOSED };

struct rpc_call {
    atomic_uint refs;
    struct rpc_host *host; /* until on_closed has returned */
    const struct rpc_method *method;
    void *ctx;
    void *_Atomic user;
    grpc_call *core; /* until on_closed has returned */
    struct rpc_tag receive, send, close;
    grpc_byte_buffer *incoming;
    struct worker_task task;
    enum delivery delivery; /* what the task is about */
    size_t waiting_bytes;   /* what the task has counted in the host */
    int close_reason;       /* non-zero: cancelled */
    atomic_bool is_cancelled;
    grpc_metadata request_id;
    char peer_ip[64];

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t room;  /* the send queue became shorter, or the call is over */
    unsigned pending;
    struct rpc_send_queue queue;
    bool has_sent_headers, is_sending, is_status_sent;
    bool is_ended;  /* the handler has decided on the status */
    bool is_closed; /* nothing more can be sent */
    enum rpc_status status;
    grpc_slice status_text;
};

static bool streams_requests(const struct rpc_call *call)
{
    return call->method->kind == RPC_CLIENT_STREAM || call->method->kind == RPC_TWO_WAY_STREAM;
}

static bool is_on_worker(const struct rpc_call *call)
{
    return call->method && call->method->place == RPC_ON_WORKER;
}

/* --- sending */

/* Starts the next piece of the answer, if one is due and none is in flight. Lock held. */
static void send_next(struct rpc_call *call)
{
    if (call->is_sending || call->is_closed || call->is_status_sent)
        return;
    grpc_op ops[3];
    size_t count = 0;
    memset(ops, 0, sizeof(ops));
    struct rpc_outgoing *message = call->queue.head;
    bool is_last = call->is_ended && (!message || !message->next);
    if (!message && !is_last)
        return;
    if (!call->has_sent_headers) {
        ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
        call->has_sent_headers = true;
    }
    if (message) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = message->bytes;
    }
    if (is_last) {
        bool is_unary = call->method && call->method->kind == RPC_UNARY;
        ops[count].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
        ops[count].data.send_status_from_server.status = (grpc_status_code)call->status;
        ops[count].data.send_status_from_server.status_details = &call->status_text;
        ops[count].data.send_status_from_server.trailing_metadata_count = is_unary ? 1 : 0;
        ops[count++].data.send_status_from_server.trailing_metadata = &call->request_id;
        call->is_status_sent = true;
    }
    call->is_sending = true;
    call->pending++;
    rpc_start_batch(call->core, ops, count, &call->send);
}

/* The handler's verdict; `response` and `text` (a slice) are taken. */
static void end_call(struct rpc_call *call, grpc_byte_buffer *response, enum rpc_status status,
                     grpc_slice text)
{
    pthread_mutex_lock(&call->lock);
    if (call->is_ended || call->is_closed) {
        pthread_mutex_unlock(&call->lock);
        if (response)
            grpc_byte_buffer_destroy(response);
        grpc_slice_unref(text);
        return;
    }
    if (response)
        rpc_send_queue_push(&call->queue, response);
    else if (status != RPC_OK && rpc_send_queue_is_full(&call->queue, 0))
        rpc_send_queue_clear(&call->queue, call->is_sending);
    call->is_ended = true;
    call->status = status;
    call->status_text = text;
    send_next(call);
    pthread_cond_broadcast(&call->room);
    pthread_mutex_unlock(&call->lock);
}

void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    grpc_byte_buffer *bytes = NULL;
    if (rpc_message_pack(response, &bytes) < 0)
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "the answer is larger than %d bytes",
                      RPC_MESSAGE_MAX_BYTES);
    else
        end_call(call, bytes, RPC_OK, grpc_empty_slice());
}

void rpc_call_finish(struct rpc_call *call) { end_call(call, NULL, RPC_OK, grpc_empty_slice()); }

void rpc_call_fail(struct rpc_call *call, enum rpc_status status, const char *fmt, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, fmt);
    int length = vasprintf(&text, fmt, args);
    va_end(args);
    CHECK(length >= 0);
    end_call(call, NULL, status, grpc_slice_from_copied_buffer(text, (size_t)length));
    free(text);
}

void rpc_call_fail_error(struct rpc_call *call, const struct error *err)
{
    rpc_call_fail(call, (enum rpc_status)error_grpc_status(err->code), "%s", err->message);
}

/* Waits until fewer than `wait_above` bytes are queued; 0: does not wait. */
static int send_message(struct rpc_call *call, const ProtobufCMessage *message, size_t wait_above)
{
    grpc_byte_buffer *bytes = NULL;
    int rc = rpc_message_pack(message, &bytes);
    if (rc < 0)
        return rc;
    size_t size = grpc_byte_buffer_length(bytes);
    pthread_mutex_lock(&call->lock);
    while (wait_above && !call->is_closed && !call->is_ended && call->queue.bytes >= wait_above)
        pthread_cond_wait(&call->room, &call->lock);
    if (call->is_closed || call->is_ended) {
        rc = KELP_E_CANCELLED;
    } else if (!wait_above && rpc_send_queue_is_full(&call->queue, size)) {
        rc = KELP_E_LIMIT;
    } else {
        rpc_send_queue_push(&call->queue, bytes);
        bytes = NULL;
        send_next(call);
    }
    pthread_mutex_unlock(&call->lock);
    if (bytes)
        grpc_byte_buffer_destroy(bytes);
    return rc;
}

int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    return send_message(call, message, 0);
}

int rpc_call_send_wait(struct rpc_call *call, const ProtobufCMessage *message)
{
    return send_message(call, message, RPC_SEND_WAIT_BYTES);
}

/* --- the end */

/* The call is over and its callbacks are done: gives back what gRPC lent. */
static void retire(struct rpc_call *call)
{
    struct rpc_host *host = call->host;
    rpc_send_queue_clear(&call->queue, false);
    grpc_slice_unref(call->status_text);
    grpc_slice_unref(call->request_id.value);
    if (call->incoming)
        grpc_byte_buffer_destroy(call->incoming);
    call->incoming = NULL;
    grpc_call_unref(call->core);
    call->core = NULL;
    call->host = NULL;
    rpc_call_unref(call);

    pthread_mutex_lock(&host->lock);
    if (--host->running_calls == 0)
        pthread_cond_broadcast(&host->idle);
    pthread_mutex_unlock(&host->lock);
}

static void deliver(struct rpc_call *call, enum delivery what);

/* Ends one of the counted things. */
static void release(struct rpc_call *call)
{
    pthread_mutex_lock(&call->lock);
    unsigned left = --call->pending;
    pthread_mutex_unlock(&call->lock);
    if (left > 0)
        return;
    if (call->method && call->method->on_closed)
        deliver(call, DELIVER_CLOSED);
    else
        retire(call);
}

/* --- callbacks */

static void ask_for_message(struct rpc_call *call)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &call->incoming;
    rpc_start_batch(call->core, &op, 1, &call->receive);
}

static void deliver_message(struct rpc_call *call)
{
    grpc_byte_buffer *bytes = call->incoming;
    call->incoming = NULL;
    pthread_mutex_lock(&call->lock);
    bool is_unwanted = call->is_ended || call->is_closed;
    pthread_mutex_unlock(&call->lock);
    ProtobufCMessage *message = NULL;
    if (!is_unwanted) {
        message = rpc_message_parse(call->method->request, bytes);
        if (!message)
            rpc_call_fail(call, RPC_INTERNAL, "error unmarshalling request: the message is no %s",
                          call->method->request->name);
    }
    grpc_byte_buffer_destroy(bytes);
    bool wants_more = false;
    if (message) {
        call->method->on_message(call, message, call->ctx);
        protobuf_c_message_free_unpacked(message, NULL);
        pthread_mutex_lock(&call->lock);
        wants_more = streams_requests(call) && !call->is_ended && !call->is_closed;
        pthread_mutex_unlock(&call->lock);
    }
    if (wants_more)
        ask_for_message(call);
    else
        release(call);
}

static void run_delivery(struct rpc_call *call)
{
    switch (call->delivery) {
    case DELIVER_MESSAGE:
        deliver_message(call);
        break;
    case DELIVER_HALF_CLOSED:
        call->method->on_half_closed(call, call->ctx);
        release(call);
        break;
    case DELIVER_CLOSED:
        call->method->on_closed(call, call->ctx);
        retire(call);
        break;
    }
}

static void run_task(struct worker_task *task)
{
    struct rpc_call *call = rpc_container(task, struct rpc_call, task);
    atomic_fetch_sub(&call->host->waiting_calls, 1);
    atomic_fetch_sub(&call->host->waiting_bytes, call->waiting_bytes);
    run_delivery(call);
}

static void deliver(struct rpc_call *call, enum delivery what)
{
    call->delivery = what;
    if (!is_on_worker(call)) {
        run_delivery(call);
        return;
    }
    struct rpc_host *host = call->host;
    call->waiting_bytes =
        what == DELIVER_MESSAGE ? grpc_byte_buffer_length(call->incoming) : 0;
    unsigned calls = atomic_fetch_add(&host->waiting_calls, 1);
    unsigned long long bytes = atomic_fetch_add(&host->waiting_bytes, call->waiting_bytes);
    if (what == DELIVER_MESSAGE &&
        (calls >= RPC_WORKER_QUEUE_CALLS || bytes + call->waiting_bytes > RPC_WORKER_QUEUE_BYTES)) {
        atomic_fetch_sub(&host->waiting_calls, 1);
        atomic_fetch_sub(&host->waiting_bytes, call->waiting_bytes);
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED,
                      "server is busy: %u calls (%llu bytes) wait already; try again", calls,
                      bytes);
        release(call);
        return;
    }
    /* The pool's own bound is set beyond ours: the end of a call must always get through. */
    call->task.run = run_task;
    CHECK(worker_pool_submit(host->pool, &call->task) == 0);
}

/* --- events, on the queue's thread */

static void on_received(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_call *call = rpc_container(tag, struct rpc_call, receive);
    if (is_ok && call->incoming) {
        deliver(call, DELIVER_MESSAGE);
        return;
    }
    pthread_mutex_lock(&call->lock);
    bool is_over = !is_ok || call->is_ended || call->is_closed ||
                   grpc_call_failed_before_recv_message(call->core);
    pthread_mutex_unlock(&call->lock);
    if (is_over) {
        release(call);
    } else if (!streams_requests(call)) {
        rpc_call_fail(call, RPC_INTERNAL, "the call carries no request");
        release(call);
    } else if (call->method->on_half_closed) {
        deliver(call, DELIVER_HALF_CLOSED);
    } else {
        release(call);
    }
}

static void on_sent(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_call *call = rpc_container(tag, struct rpc_call, send);
    pthread_mutex_lock(&call->lock);
    call->is_sending = false;
    rpc_send_queue_pop(&call->queue);
    if (!is_ok) /* the close event is on its way */
        call->is_closed = true;
    if (call->is_closed)
        rpc_send_queue_clear(&call->queue, false);
    else
        send_next(call);
    pthread_cond_broadcast(&call->room);
    pthread_mutex_unlock(&call->lock);
    release(call);
}

static void on_close(struct rpc_tag *tag, bool is_ok)
{
    struct rpc_call *call = rpc_container(tag, struct rpc_call, close);
    if (!is_ok || call->close_reason)
        atomic_store(&call->is_cancelled, true);
    pthread_mutex_lock(&call->lock);
    call->is_closed = true;
    rpc_send_queue_clear(&call->queue, call->is_sending);
    pthread_cond_broadcast(&call->room);
    pthread_mutex_unlock(&call->lock);
    release(call);
}

/* --- the beginning */

/* The caller's id, or a fresh random UUID. */
static grpc_slice choose_request_id(const grpc_metadata_array *metadata)
{
    for (size_t i = 0; i < metadata->count; i++) {
        const grpc_metadata *entry = &metadata->metadata[i];
        if (grpc_slice_str_cmp(entry->key, REQUEST_ID_KEY) == 0 &&
            GRPC_SLICE_LENGTH(entry->value) > 0 && GRPC_SLICE_LENGTH(entry->value) <= 1024 &&
            grpc_header_nonbin_value_is_legal(entry->value))
            return grpc_slice_ref(entry->value);
    }
    unsigned char b[16];
    CHECK(getrandom(b, sizeof(b), 0) == sizeof(b));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    char text[37];
    snprintf(text, sizeof(text),
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1],
             b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
             b[15]);
    return grpc_slice_from_copied_string(text);
}

static struct rpc_call *create_call(struct rpc_host *host, grpc_call *core,
                                    const struct rpc_method *method, void *ctx,
                                    const grpc_metadata_array *metadata)
{
    struct rpc_call *call = must(calloc(1, sizeof(*call)));
    atomic_init(&call->refs, 1);
    call->host = host;
    call->method = method;
    call->ctx = ctx;
    call->core = core;
    call->receive.run = on_received;
    call->send.run = on_sent;
    call->close.run = on_close;
    call->status_text = grpc_empty_slice();
    call->request_id.key = grpc_slice_from_static_string(REQUEST_ID_KEY);
    call->request_id.value = choose_request_id(metadata);
    pthread_mutex_init(&call->lock, NULL);
    pthread_cond_init(&call->room, NULL);
    char *peer = grpc_call_get_peer(core);
    rpc_peer_to_ip(peer, call->peer_ip, sizeof(call->peer_ip));
    gpr_free(peer);

    pthread_mutex_lock(&host->lock);
    host->running_calls++;
    pthread_mutex_unlock(&host->lock);

    call->pending = method ? 2 : 1; /* the end, and the first message */
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &call->close_reason;
    rpc_start_batch(core, &op, 1, &call->close);
    return call;
}

void rpc_call_begin(struct rpc_host *host, grpc_call *core, const struct rpc_method *method,
                    void *ctx, const grpc_metadata_array *metadata)
{
    ask_for_message(create_call(host, core, method, ctx, metadata));
}

void rpc_call_refuse(struct rpc_host *host, grpc_call *core, const grpc_metadata_array *metadata,
                     enum rpc_status status, const char *text)
{
    rpc_call_fail(create_call(host, core, NULL, NULL, metadata), status, "%s", text);
}

/* --- small things */

bool rpc_call_is_cancelled(const struct rpc_call *call) { return atomic_load(&call->is_cancelled); }
const char *rpc_call_peer_ip(const struct rpc_call *call) { return call->peer_ip; }
void rpc_call_set_user(struct rpc_call *call, void *user) { atomic_store(&call->user, user); }
void *rpc_call_user(const struct rpc_call *call) { return atomic_load(&call->user); }
void rpc_call_ref(struct rpc_call *call) { atomic_fetch_add(&call->refs, 1); }

void rpc_call_unref(struct rpc_call *call)
{
    if (!call || atomic_fetch_sub(&call->refs, 1) != 1)
        return;
    pthread_mutex_destroy(&call->lock);
    pthread_cond_destroy(&call->room);
    free(call);
}
