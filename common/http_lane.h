/* What the connections of one loop share: exchanges to borrow, wait lists, the Date header. Loop
 * thread only. Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

void http_lane_init(struct http_lane *lane, struct http_shared *shared, struct loop *loop);
void http_lane_fini(struct http_lane *lane);

/* One thing more or less that keeps the lane from being torn down. */
void http_lane_hold(struct http_lane *lane);
void http_lane_drop(struct http_lane *lane);

/* A clean exchange with a warm arena. */
struct http_exchange *http_lane_borrow(struct http_lane *lane);
/* Frees its body and arena and takes it back. */
void http_lane_return(struct http_exchange *exchange);

/* Puts the connection at the end of that list, with its clock at zero; HTTP_WAIT_COUNT: in none. */
void http_lane_wait(struct http_connection *connection, enum http_wait wait);

/* "Mon, 02 Jan 2006 15:04:05 GMT", renewed once a second. */
const char *http_lane_date(struct http_lane *lane);
