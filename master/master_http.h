/* The master's HTTP interface: one table of routes. Source: spec/master-http.md; ours under
 * /kelp/. Handlers run on the HTTP loops; what waits or writes to the disk goes to the services'
 * pools. Both fill *ret and keep `services`, which has to outlive the server. */
#pragma once

#include "common/http_server.h"
#include "master/services.h"

/* The handler of the main port; `services` is its ctx. */
void master_http_handler(struct services *services, struct http_handler *ret);
/* The handler of the metrics port. */
void master_http_metrics_handler(struct services *services, struct http_handler *ret);
