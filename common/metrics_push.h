/* Puts the page of a registry to a push gateway, again and again.
 *
 * A thread of its own, so that a gateway which hangs holds up nothing else; one that fails is tried
 * again at the next turn, and the log says so once for each outage. */
#pragma once

#include "common/error.h"
#include "common/metrics.h"

struct metrics_push;

struct metrics_push_config {
    struct metrics *metrics;  /* borrowed */
    const char *address;      /* "host:port", or a URL; copied, as all texts */
    const char *job;          /* "volumeServer" */
    const char *instance;     /* "127.0.0.1:8080" */
    unsigned interval_seconds;
};

/* The first page goes out at once. KELP_E_INVALID without an address or an interval. */
int metrics_push_create(struct metrics_push **ret, const struct metrics_push_config *config,
                        struct error *err);
/* Blocks, but for a fraction of a second only: a push under way is given up. NULL is fine. */
void metrics_push_destroy(struct metrics_push *push);
