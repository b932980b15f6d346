/* What HTTP servers have in hand, as metrics. */
#pragma once

#include "common/http_server.h"
#include "common/metrics.h"

struct http_metrics;

/* Adds kelp_http_connections and kelp_http_unsent_bytes, for once in a registry's life: the sums
 * over these servers, of which any may be NULL. Both borrowed: the servers until destroy, the
 * registry a moment longer. */
struct http_metrics *http_metrics_create(struct metrics *registry,
                                         const struct http_server *const servers[2]);
void http_metrics_destroy(struct http_metrics *metrics); /* NULL is fine */
