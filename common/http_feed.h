/* Parsing what a connection has read, and handing it over. Loop thread only. Internal to
 * common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* Whether bytes would be taken in the state that it is in. */
bool http_feed_is_possible(const struct http_connection *c);
/* Parses until the bytes or the will to parse end; returns how many bytes were used. */
size_t http_feed_bytes(struct http_connection *c, const char *data, size_t size);
/* Takes the body in, or refuses it. `more_follows`: bytes of it are here already. */
void http_feed_admit_body(struct http_connection *c, bool more_follows);
/* In BODY or DISCARD with a response that has begun: is the rest of the body worth reading? */
void http_feed_settle(struct http_connection *c);
