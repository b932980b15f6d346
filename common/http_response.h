/* Inside view of responses: what the connection needs beyond the public calls. Loop thread only.
 * Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* {"error":"<text>"} with Connection: close, whatever headers were set before. */
void http_response_error(struct http_exchange *exchange, int status, const char *text);
/* As above with a ready body; empty type: application/json. */
void http_response_refuse(struct http_exchange *exchange, int status, struct slice content_type,
                          struct slice body);
