/* Connections of the HTTP server. Loop thread only. Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* Gives the lane the callbacks that responses need. */
void http_connection_attach(struct http_lane *lane);
/* Takes one connection off the listener's queue. */
void http_connection_accept(struct http_lane *lane);
