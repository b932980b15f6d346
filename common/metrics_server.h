/* A port that serves GET /metrics of a registry, and nothing else. A loop of its own: collecting
 * may take a moment and must not hold up requests. */
#pragma once

#include "common/error.h"
#include "common/metrics.h"

struct metrics_server;

/* `bind_address` as http_server has it; port 0: any free one. The registry is borrowed. A port
 * in use is KELP_E_UNAVAILABLE. */
int metrics_server_create(struct metrics_server **ret, const char *bind_address, uint16_t port,
                          struct metrics *metrics, struct error *err);
uint16_t metrics_server_port(const struct metrics_server *server);
void metrics_server_destroy(struct metrics_server *server); /* NULL is fine */
