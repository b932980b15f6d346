/* Time-outs of connections. Loop thread only. Internal to common/http_*.c. */
#pragma once

#include "common/http_server_internal.h"

/* Ends what has waited too long; called now and then by the lane's timer. */
void http_timeout_sweep(struct http_lane *lane);
