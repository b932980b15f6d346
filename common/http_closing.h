/* The end of connections: refusing, lingering, closing. Loop thread only. Internal to
 * common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* At once. The exchange of the connection lives on alone when its handler still has to respond. */
void http_closing_now(struct http_connection *connection);
/* Our side is done: shuts it down and reads on, dropping what comes, until the client is done too.
 */
void http_closing_linger(struct http_connection *connection);
/* Nothing is parsed any more; the connection ends when the response of its exchange is out. */
void http_closing_stop_parsing(struct http_connection *connection);
/* Answers {"error":"<text>"} in place of the handler and ends the connection; when a response has
 * begun already, just ends it. */
void http_closing_refuse(struct http_connection *connection, int status, const char *text);
/* Tells the handler, once, that the client has gone. */
void http_closing_notify(struct http_exchange *exchange);
/* Closes the connections of the lane that are between two requests, or all of them. */
void http_closing_idle(struct http_lane *lane);
void http_closing_all(struct http_lane *lane);
