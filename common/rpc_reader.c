/* The blocking reader of a server stream: plain sequential code around a completion queue of its
 * own, so that messages are parsed and handled on the caller's thread, and the next one is asked
 * for only when the last one is done with. */
#include "common/rpc_channel.h"

#include "common/check.h"

#include <grpc/byte_buffer.h>
#include <string.h>

struct reader {
    struct rpc_outcall base;
    struct rpc_verdict verdict;
    grpc_completion_queue *queue;
    grpc_byte_buffer *request, *incoming;
    struct rpc_tag opening, receiving, status; /* only their addresses count */
};

static void start(struct reader *reader)
{
    grpc_op ops[4];
    memset(ops, 0, sizeof(ops));
    size_t count = 0;
    ops[count++].op = GRPC_OP_SEND_INITIAL_METADATA;
    if (reader->request) {
        ops[count].op = GRPC_OP_SEND_MESSAGE;
        ops[count++].data.send_message.send_message = reader->request;
    }
    ops[count++].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[count++] = rpc_verdict_headers_op(&reader->verdict);
    grpc_op status = rpc_verdict_status_op(&reader->verdict);
    rpc_start_batch(reader->base.core, ops, count, &reader->opening);
    rpc_start_batch(reader->base.core, &status, 1, &reader->status);
}

static void ask_for_message(struct reader *reader)
{
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &reader->incoming;
    rpc_start_batch(reader->base.core, &op, 1, &reader->receiving);
}

static struct rpc_tag *wait_for_event(struct reader *reader)
{
    grpc_event event =
        grpc_completion_queue_next(reader->queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    CHECK(event.type == GRPC_OP_COMPLETE);
    RPC_TAKE_OVER(event.tag);
    return event.tag;
}

/* Reads to the end. Returns what on_message answered, if not 0; *ret_is_garbled when a message did
 * not parse. */
static int read_all(struct reader *reader, const ProtobufCMessageDescriptor *response,
                    int (*on_message)(void *ctx, const ProtobufCMessage *message), void *ctx,
                    bool *ret_is_garbled)
{
    int rc = 0;
    unsigned pending = 3;
    ask_for_message(reader);
    while (pending > 0) {
        if (wait_for_event(reader) != &reader->receiving || !reader->incoming) {
            pending--;
            continue;
        }
        bool is_read_on = rc == 0 && !*ret_is_garbled;
        ProtobufCMessage *message =
            is_read_on ? rpc_message_parse(response, reader->incoming) : NULL;
        grpc_byte_buffer_destroy(reader->incoming);
        reader->incoming = NULL;
        if (message) {
            rc = on_message(ctx, message);
            protobuf_c_message_free_unpacked(message, NULL);
        } else if (is_read_on) {
            *ret_is_garbled = true;
        }
        if (is_read_on && (rc || *ret_is_garbled))
            grpc_call_cancel(reader->base.core, NULL);
        ask_for_message(reader);
    }
    return rc;
}

int rpc_client_read_stream(struct rpc_client *client, const char *address, const char *path,
                           const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                           int (*on_message)(void *ctx, const ProtobufCMessage *message), void *ctx,
                           enum rpc_status *ret_status, struct error *err)
{
    /* The queue outlives the call, and the call may be the last thing the client waits for. */
    rpc_library_ref();
    struct reader reader = {.queue = must(grpc_completion_queue_create_for_next(NULL))};
    rpc_verdict_init(&reader.verdict);
    rpc_outcall_begin(&reader.base, client, address, path, timeout_ms, reader.queue);
    if (rpc_message_pack(request, &reader.request) < 0)
        grpc_call_cancel_with_status(reader.base.core, GRPC_STATUS_RESOURCE_EXHAUSTED,
                                     "the request is larger than a message may be", NULL);
    start(&reader);
    bool is_garbled = false;
    int rc = read_all(&reader, response, on_message, ctx, &is_garbled);

    enum rpc_status status = rpc_status_of(reader.verdict.code);
    if (rc != 0) {
        status = RPC_CANCELLED; /* err is the handler's */
    } else if (is_garbled) {
        status = RPC_INTERNAL;
        rc = error_set(err, KELP_E_INTERNAL, "error unmarshalling response: a message is no %s",
                       response->name);
    } else {
        rc = rpc_status_to_error(rpc_verdict_read(&reader.verdict, err));
    }
    if (ret_status)
        *ret_status = status;
    rpc_verdict_fini(&reader.verdict);
    if (reader.request)
        grpc_byte_buffer_destroy(reader.request);
    rpc_outcall_end(&reader.base, status);
    grpc_completion_queue_shutdown(reader.queue);
    while (grpc_completion_queue_next(reader.queue, gpr_inf_future(GPR_CLOCK_REALTIME),
                                      NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(reader.queue);
    rpc_library_unref();
    return rc;
}
