/* Standard base64 with padding (RFC 4648), on OpenSSL. Pure; any thread. */
#pragma once

#include "common/arena.h"
#include "common/buffer.h"

void base64_encode(struct buffer *out, struct slice data);
/* Into the arena; false when it is not well-formed. */
bool base64_decode(struct arena *arena, struct slice text, struct slice *ret);
