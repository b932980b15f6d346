/* A call on the server's side, as its handler sees it, and the methods that take calls.
 *
 * Life of a call: on_message for each request (unary and server stream: exactly one),
 * on_half_closed when the client has sent all (client and two-way streams), on_closed exactly once
 * at the end, whatever ended it (reply sent, cancelled, deadline, connection lost); after it the
 * call must not be touched, unless held by rpc_call_ref. Callbacks of one call never run at the
 * same time, and all of them run in the place that the method names: RPC_ON_QUEUE on a
 * completion-queue thread, where they must not block; RPC_ON_WORKER on the server's worker pool, as
 * plain sequential code. A call may end before its first message: on_closed alone is then called,
 * with no user pointer set.
 *
 * A handler may answer after its callback has returned, from any thread. What it must do is end
 * the call: one of rpc_call_reply, rpc_call_finish, rpc_call_fail, or see it cancelled. */
#pragma once

#include "common/error.h"
#include "common/rpc_limits.h"
#include "common/rpc_status.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

struct rpc_call;

enum rpc_kind { RPC_UNARY, RPC_SERVER_STREAM, RPC_CLIENT_STREAM, RPC_TWO_WAY_STREAM };
enum rpc_place { RPC_ON_QUEUE, RPC_ON_WORKER };

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
