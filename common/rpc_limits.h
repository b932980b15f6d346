/* Bounds that hold for every gRPC call, whichever side made it. */
#pragma once

#define RPC_MESSAGE_MAX_BYTES (1 << 30) /* one message, each way */
/* What one call may have queued to be sent; rpc_call_send and rpc_stream_send fail above it. */
#define RPC_SEND_QUEUE_BYTES (64u << 20)
/* Where the waiting variants of the two start to wait. */
#define RPC_SEND_WAIT_BYTES (4u << 20)
/* Calls that wait for a worker thread of the server, and the bytes of their requests; more are
 * answered RESOURCE_EXHAUSTED. */
#define RPC_WORKER_QUEUE_CALLS 4096
#define RPC_WORKER_QUEUE_BYTES (2ull << 30)
