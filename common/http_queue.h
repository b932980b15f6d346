/* What has been answered and is not taken yet: the account of it, and whether a client takes
 * anything. Loop thread. Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* uv_write has the exchange's output: its clock runs from now. Beyond the server's limit the
 * connection of this loop that has waited longest is closed, which may be this one. */
void http_queue_enter(struct http_exchange *exchange);
/* All of the output is out, or will never be. Also for one that never entered. */
void http_queue_leave(struct http_exchange *exchange);
/* Whether the client has taken anything to speak of since it was last asked, or since the output
 * entered. */
bool http_queue_has_moved(struct http_connection *connection);
