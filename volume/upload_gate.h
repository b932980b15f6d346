/* The limit on uploads in flight: it counts the bytes of bodies that have come, while they come,
 * whatever was announced. Loop thread of the call. Source: spec/volume-http.md 7.1, made stricter.
 *
 * Over the limit a new upload waits before its body (and before "100 Continue"), and one that is
 * under way is not read any further; but one at a time goes on, so that they do not wait for
 * each other. So the total stays under the limit, plus one read of each connection, plus one
 * body. */
#pragma once

#include "volume/blob_call.h"

/* The header is there. May pause the request; a wait that is too long is answered with 429. */
void upload_gate_enter(struct blob_call *call);
/* `length` bytes of the body have come. Likewise. */
void upload_gate_progress(struct blob_call *call, uint64_t length);
/* All of it has; nothing waits any more. */
void upload_gate_pass(struct blob_call *call);
/* The client has gone before that: the call is closed. */
void upload_gate_abandon(struct blob_call *call);
