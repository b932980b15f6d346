/* The bytes of a request's body: one block, accounted against the server's limit of buffered bytes.
 * Loop thread only. Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* Room for `total` bytes in all. KELP_E_TOO_LARGE over the request's limit, KELP_E_LIMIT over the
 * server's, KELP_E_NO_MEMORY. */
int http_body_reserve(struct http_exchange *exchange, uint64_t total);
/* Appends; grows by doubling. The bytes may lie already where they belong, because they were read
 * there (http_body_room). */
int http_body_append(struct http_exchange *exchange, const char *data, size_t size);
/* Where the next bytes of a body of known length go, so that they need no copy. False when there
 * is no place to name: read elsewhere and append. */
bool http_body_room(struct http_exchange *exchange, uv_buf_t *ret);
void http_body_free(struct http_exchange *exchange);
