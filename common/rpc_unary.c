/* Calls with one answer: all operations go down in one batch and come back as one event.
 *
 * The blocking form waits for that event and parses the answer on the caller's own thread, so that
 * a large one does not hold up a queue. */
#include "common/rpc_channel.h"

#include "common/check.h"

#include <grpc/byte_buffer.h>
#include <string.h>

struct unary {
    struct rpc_outcall base;
    struct rpc_tag tag;
    struct rpc_verdict verdict;
    grpc_byte_buffer *request, *answer;
    const ProtobufCMessageDescriptor *descriptor;
    rpc_client_done *done; /* NULL: somebody waits */
    void *ctx;

    pthread_mutex_t lock; /* of the two below */
    pthread_cond_t arrived;
    bool is_done;
};

static void start(struct unary *call, struct rpc_client *client, const char *address,
                  const char *path,
                  const ProtobufCMessage *request, unsigned timeout_ms)
{
    rpc_verdict_init(&call->verdict);
    rpc_outcall_begin(&call->base, client, address, path, timeout_ms, NULL);
    if (rpc_message_pack(request, &call->request) < 0)
        grpc_call_cancel_with_status(call->base.core, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                     "the request is larger than a message may be", NULL);
    grpc_op ops[6];
    memset(ops, 0, sizeof(ops));
    size_t count = 0;
    ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (call->request) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = call->request;
    }
    ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[count++] = rpc_verdict_headers_op(&call->verdict);
    ops[count].op = GRPC_OP_RECV_MESSAGE;
    ops[count++].data.recv_message.recv_message = &call->answer;
    ops[count++] = rpc_verdict_status_op(&call->verdict);
    rpc_start_batch(call->base.core, ops, count, &call->tag);
}

/* Parses the answer. NULL, with status and err set, when the call failed. */
static ProtobufCMessage *read_answer(struct unary *call, enum rpc_status *ret_status,
                                     struct error *err)
{
    ProtobufCMessage *message = NULL;
    enum rpc_status status = rpc_verdict_read(&call->verdict, err);
    if (status == RPC_OK) {
        message = call->answer ? rpc_message_parse(call->descriptor, call->answer) : NULL;
        if (!message) {
            status = RPC_INTERNAL;
            error_set(err, KELP_E_INTERNAL, "error unmarshalling response: the answer is no %s",
                      call->descriptor->name);
        }
    }
    *ret_status = status;
    return message;
}

/* Gives back what gRPC lent, and then the call. */
static void finish(struct unary *call)
{
    enum rpc_status status = rpc_status_of(call->verdict.code);
    rpc_verdict_fini(&call->verdict);
    if (call->request)
        grpc_byte_buffer_destroy(call->request);
    if (call->answer)
        grpc_byte_buffer_destroy(call->answer);
    rpc_outcall_end(&call->base, status);
}

static void on_done(struct rpc_tag *tag, bool is_ok)
{
    struct unary *call = rpc_container(tag, struct unary, tag);
    struct error err = {0};
    enum rpc_status status;
    ProtobufCMessage *message = read_answer(call, &status, &err);
    call->done(call->ctx, message, status, message ? NULL : &err);
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    finish(call);
    free(call);
}

static void on_done_for_waiter(struct rpc_tag *tag, bool is_ok)
{
    struct unary *call = rpc_container(tag, struct unary, tag);
    pthread_mutex_lock(&call->lock);
    call->is_done = true;
    pthread_cond_signal(&call->arrived);
    pthread_mutex_unlock(&call->lock);
}

void rpc_client_send(struct rpc_client *client, const char *address, const char *path,
                     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                     unsigned timeout_ms, rpc_client_done *done, void *ctx)
{
    struct unary *call = must(calloc(1, sizeof(*call)));
    call->tag.run = on_done;
    call->descriptor = response;
    call->done = done;
    call->ctx = ctx;
    start(call, client, address, path, request, timeout_ms);
}

int rpc_client_call(struct rpc_client *client, const char *address, const char *path,
                    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                    unsigned timeout_ms, ProtobufCMessage **ret_response,
                    enum rpc_status *ret_status, struct error *err)
{
    struct unary call = {.descriptor = response};
    call.tag.run = on_done_for_waiter;
    pthread_mutex_init(&call.lock, NULL);
    pthread_cond_init(&call.arrived, NULL);
    start(&call, client, address, path, request, timeout_ms);
    pthread_mutex_lock(&call.lock);
    while (!call.is_done)
        pthread_cond_wait(&call.arrived, &call.lock);
    pthread_mutex_unlock(&call.lock);
    pthread_mutex_destroy(&call.lock);
    pthread_cond_destroy(&call.arrived);

    enum rpc_status status;
    ProtobufCMessage *message = read_answer(&call, &status, err);
    finish(&call);
    if (ret_status)
        *ret_status = status;
    if (message && ret_response)
        *ret_response = message;
    else if (message)
        protobuf_c_message_free_unpacked(message, NULL);
    return rpc_status_to_error(status);
}
