/* The gRPC server: gRPC Core's C API with protobuf-c messages.
 *
 * Completion-queue threads feed handlers. Short ones run right there (RPC_ON_QUEUE) and must not
 * block; those that block or wait run on the server's worker pool (RPC_ON_WORKER) as plain
 * sequential code. Long-lived streams are event driven and hold no thread. Unknown methods answer
 * UNIMPLEMENTED. A message that does not parse answers INTERNAL. Limits: messages 1 GiB, 1000
 * streams a connection.
 *
 * Life of a call: on_message for each request (unary and server stream: exactly one),
 * on_half_closed when the client has sent all (client and two-way streams), on_closed exactly once
 * at the end, whatever ended it (reply sent, cancelled, deadline, connection lost); after it the
 * call must not be touched, unless held by rpc_call_ref. Callbacks of one call never run at the
 * same time, and all of them run in the place that the method names. A call may end before its
 * first message: on_closed alone is then called, with no user pointer set.
 *
 * A handler may answer after its callback has returned, from any thread. What it must do is end
 * the call: one of rpc_call_reply, rpc_call_finish, rpc_call_fail, or see it cancelled. */
#pragma once

#include "common/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdint.h>

struct rpc_call;
struct rpc_server;

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_TWO_WAY_STREAM };
enum rpc_place { RPC_ON_QUEUE, RPC_ON_WORKER };

enum rpc_status { /* the gRPC codes */
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
};

#define RPC_MESSAGE_MAX_BYTES (1 << 30) /* each way */
#define RPC_SEND_QUEUE_BYTES (64u << 20)
#define RPC_SEND_WAIT_BYTES (4u << 20)
/* Calls that wait for a worker thread; more are answered RESOURCE_EXHAUSTED. */
#define RPC_WORKER_QUEUE_CALLS 4096
#define RPC_WORKER_QUEUE_BYTES (2ull << 30)

/* The short name of a code, "Unavailable", as texts that embed it spell it. */
const char *rpc_status_name(enum rpc_status status);
/* The code that stands for a status. */
int rpc_status_to_error(enum rpc_status status);

struct rpc_method {
    const char *path; /* "/master_pb.Seaweed/Assign" */
    enum rpc_kind kind;
    enum rpc_place place;
    const ProtobufCMessageDescriptor *request, *response;
    /* `message` is freed after the callback. */
    void (*on_message)(struct rpc_call *call, const ProtobufCMessage *message, void *ctx);
    void (*on_half_closed)(struct rpc_call *call, void *ctx); /* optional */
    void (*on_closed)(struct rpc_call *call, void *ctx);      /* optional */
};

struct rpc_service {
    const struct rpc_method *methods; /* static */
    size_t method_count;
    void *ctx; /* given to every callback */
};

struct rpc_server_config {
    const char *bind_address; /* without brackets; "" or NULL: all */
    /* NULL, or a second address to listen on with the same port. It is a convenience: when it
     * cannot be had, the server starts without. */
    const char *also_bind_address;
    uint16_t port; /* 0: any free one */
    const struct rpc_service *services;
    size_t service_count;
    unsigned queue_threads;  /* 0: 2 */
    unsigned worker_threads; /* 0: 16 */
};

/* Calls may come in before this returns. KELP_E_UNAVAILABLE when the port is in use. The services
 * and what they point to must live until rpc_server_destroy has returned. */
int rpc_server_create(struct rpc_server **ret, const struct rpc_server_config *config,
                      struct error *err);
uint16_t rpc_server_port(const struct rpc_server *server);
/* Refuses new calls, lets running ones finish for up to grace_ms, cancels the rest, waits for all
 * handlers. A stream that nobody ends costs the whole grace. Not from a callback. NULL is fine. */
void rpc_server_destroy(struct rpc_server *server, unsigned grace_ms);

/* Any thread, from on_message until on_closed (or while a reference is held). */

/* Unary and client stream: the answer. `response` is packed before this returns. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *response);
/* Ends the call with this status and text; later sends are dropped. What is queued goes out first,
 * unless the queue is full (the client does not read): then it is dropped. The first end of a call
 * counts. */
void rpc_call_fail(struct rpc_call *call, enum rpc_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the code that err maps to. */
void rpc_call_fail_error(struct rpc_call *call, const struct error *err);
/* Streams: queues one message. KELP_E_CANCELLED when the call is over, KELP_E_LIMIT when more than
 * `RPC_SEND_QUEUE_BYTES` wait to be sent: the caller decides whether to drop the message or the
 * call. */
int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *message);
/* The same, but waits until less than RPC_SEND_WAIT_BYTES are queued. Worker threads only. */
int rpc_call_send_wait(struct rpc_call *call, const ProtobufCMessage *message);
/* Streams: all was sent, status OK follows the queued messages. */
void rpc_call_finish(struct rpc_call *call);
/* The client cancelled, its deadline passed, the connection is gone, or the server is being
 * destroyed. */
bool rpc_call_is_cancelled(const struct rpc_call *call);

/* "192.0.2.1", without port and brackets; valid as long as the call. */
const char *rpc_call_peer_ip(const struct rpc_call *call);
void rpc_call_set_user(struct rpc_call *call, void *user);
void *rpc_call_user(const struct rpc_call *call);
void rpc_call_ref(struct rpc_call *call);
void rpc_call_unref(struct rpc_call *call);
