/* The listening sockets of the HTTP server. Any thread but a loop's (names are looked up). Internal
 * to common/http_*.c. */
#pragma once

#include "common/error.h"

#include <stdint.h>

/* Opens `count` sockets that share one address, all listening; the kernel spreads connections over
 * them. KELP_E_UNAVAILABLE when somebody else has the port. `port` 0: any, told in *ret_port. On
 * failure none is left open. */
int http_listener_open(const char *bind_address, uint16_t port, unsigned count, int *ret_fds,
                       uint16_t *ret_port, struct error *err);
