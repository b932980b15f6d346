/* The gRPC client: gRPC Core's C API with protobuf-c messages, one cached channel per address.
 *
 * Addresses are "host:grpcPort" (address_format_grpc). A channel is dropped from the cache when a
 * call on it ends with UNAVAILABLE, so the next call dials afresh; at most RPC_CHANNELS_MAX are
 * kept. timeout_ms 0 means no deadline. */
#pragma once

#include "common/error.h"
#include "common/rpc_limits.h"
#include "common/rpc_status.h"

#include <protobuf-c/protobuf-c.h>

struct rpc_client;
struct rpc_stream;
struct rpc_tls;

#define RPC_CHANNELS_MAX 4096

/* Speaks plainly. */
int rpc_client_create(struct rpc_client **ret, struct error *err);
/* With certificates; `tls` is borrowed, NULL: plainly. Renewed certificates count for calls that begin
 * afterwards. */
int rpc_client_create_tls(struct rpc_client **ret, struct rpc_tls *tls, struct error *err);
/* Cancels running calls, and from now on each new one as soon as it is begun; waits for none of
 * them. For who has to end threads that wait for an answer. Any thread. */
void rpc_client_close(struct rpc_client *client);
/* The same, and waits for the callbacks. Not from a callback. NULL is fine. */
void rpc_client_destroy(struct rpc_client *client);

/* What the server answered when a call failed: `err->code` is the kelp code nearest to the status,
 * `err->message` the server's text verbatim (cut at ERROR_MESSAGE_MAX); *ret_status (may be NULL)
 * the gRPC status itself, RPC_OK on success. */

/* Blocking; not on a loop or queue thread. *ret_response (may be NULL) is the caller's, freed with
 * protobuf_c_message_free_unpacked(response, NULL). */
int rpc_client_call(struct rpc_client *client, const char *address, const char *path,
                    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                    unsigned timeout_ms, ProtobufCMessage **ret_response,
                    enum rpc_status *ret_status, struct error *err);

/* `response` is NULL on failure and valid during the callback only. Called once, on a queue
 * thread. */
typedef void rpc_client_done(void *ctx, const ProtobufCMessage *response, enum rpc_status status,
                             const struct error *err);
void rpc_client_send(struct rpc_client *client, const char *address, const char *path,
                     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                     unsigned timeout_ms, rpc_client_done *done, void *ctx);

/* Streams of all three kinds. Callbacks run on queue threads, never two of one stream at a time. */
struct rpc_stream_ops {
    /* Optional: the server has answered the header, or refused the call, as on_closed tells. */
    void (*on_open)(struct rpc_stream *stream, void *ctx);
    void (*on_message)(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx);
    /* Exactly once; the stream must not be touched afterwards. err is NULL with RPC_OK. */
    void (*on_closed)(struct rpc_stream *stream, enum rpc_status status, const struct error *err,
                      void *ctx);
};
/* Fails only for bad arguments; an unreachable peer ends in on_closed with RPC_UNAVAILABLE (within
 * about 5 s). Callbacks may run before this returns; *ret is set before the first of them. */
int rpc_stream_open(struct rpc_client *client, const char *address, const char *path,
                    const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                    const struct rpc_stream_ops *ops, void *ctx, struct rpc_stream **ret,
                    struct error *err);
/* Any thread, until on_closed or while a reference is held. KELP_E_CANCELLED when it is over,
 * KELP_E_LIMIT as rpc_call_send. */
int rpc_stream_send(struct rpc_stream *stream, const ProtobufCMessage *message);
/* The same, but waits until less than RPC_SEND_WAIT_BYTES are queued. Not on a loop or queue
 * thread. */
int rpc_stream_send_wait(struct rpc_stream *stream, const ProtobufCMessage *message);
void rpc_stream_half_close(struct rpc_stream *stream); /* all was sent */
/* on_closed follows, with RPC_CANCELLED unless the end came first. */
void rpc_stream_cancel(struct rpc_stream *stream);
/* A held stream may be touched after on_closed: its functions then do nothing. Let go before the
 * client is destroyed or after, both are fine. */
void rpc_stream_ref(struct rpc_stream *stream);
void rpc_stream_unref(struct rpc_stream *stream);

/* Blocking server stream: calls on_message on the calling thread for each message until the end; a
 * non-zero answer cancels and is returned. */
int rpc_client_read_stream(struct rpc_client *client, const char *address, const char *path,
                           const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                           int (*on_message)(void *ctx, const ProtobufCMessage *message), void *ctx,
                           enum rpc_status *ret_status, struct error *err);
