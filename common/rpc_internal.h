/* What the gRPC server and client share: completion-queue threads, messages as byte buffers, the
 * bounded queue of messages to send, and the arguments of channels. Private to common/rpc_*.c. */
#pragma once

#include "common/error.h"
#include "common/rpc_limits.h"
#include "common/rpc_status.h"

#include <grpc/grpc.h>
#include <protobuf-c/protobuf-c.h>
#include <pthread.h>
#include <stdbool.h>

/* gRPC's atomics are invisible to the thread sanitizer, so what one thread hands to another
 * through a completion queue is marked at both ends. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define RPC_HAND_OVER(address) __tsan_release(address)
#define RPC_TAKE_OVER(address) __tsan_acquire(address)
#else
#define RPC_HAND_OVER(address) ((void)(address))
#define RPC_TAKE_OVER(address) ((void)(address))
#endif

/* Takes and drops a share of the gRPC library; the first one also tames its logging. */
void rpc_library_ref(void);
void rpc_library_unref(void);

#define rpc_container(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* What a completion queue gives back. `run` is called on the queue's thread, exactly once for each
 * operation that was started with it. */
struct rpc_tag {
    void (*run)(struct rpc_tag *tag, bool is_ok);
};

/* A completion queue and the one thread that serves it: what belongs to one call comes out of one
 * queue, so its events never run at the same time. */
struct rpc_queue {
    grpc_completion_queue *core;
    pthread_t thread;
    bool has_thread;
};

void rpc_queue_init(struct rpc_queue *queue); /* makes the queue, not yet its thread */
int rpc_queue_start(struct rpc_queue *queue, const char *name, struct error *err);
/* All operations must have been started; runs what is left, joins. A zeroed queue is fine. */
void rpc_queue_fini(struct rpc_queue *queue);

/* Starts the operations; nothing but a broken promise of ours makes that fail. */
void rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag);

/* KELP_E_TOO_LARGE beyond RPC_MESSAGE_MAX_BYTES. */
int rpc_message_pack(const ProtobufCMessage *message, grpc_byte_buffer **ret);
/* NULL when the bytes are no such message. */
ProtobufCMessage *rpc_message_parse(const ProtobufCMessageDescriptor *descriptor,
                                    grpc_byte_buffer *bytes);

/* Messages on their way out, in order. The head may be in flight; its bytes count until it is
 * popped. */
struct rpc_send_queue {
    struct rpc_outgoing *head, *tail;
    size_t bytes;
};

struct rpc_outgoing {
    struct rpc_outgoing *next;
    grpc_byte_buffer *bytes;
    size_t size;
};

/* True when a further message would go over the bound; an empty queue takes any message. */
bool rpc_send_queue_is_full(const struct rpc_send_queue *queue, size_t size);
void rpc_send_queue_push(struct rpc_send_queue *queue, grpc_byte_buffer *bytes);
void rpc_send_queue_pop(struct rpc_send_queue *queue);
/* Drops all, or all but the head when that one is in flight. */
void rpc_send_queue_clear(struct rpc_send_queue *queue, bool keep_head);

/* "ipv6:%5B::1%5D:8080" -> "::1". */
void rpc_peer_to_ip(const char *peer, char *ip, size_t ip_size);

#define RPC_WINDOW_BYTES (16 << 20)
#define RPC_HEADERS_MAX_BYTES (8 << 20)
#define RPC_STREAMS_MAX 1000
#define RPC_KEEPALIVE_MS 60000
#define RPC_KEEPALIVE_TIMEOUT_MS 20000

static inline grpc_arg rpc_int_arg(const char *key, int value)
{
    return (grpc_arg){
        .type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key, .value.integer = value};
}
