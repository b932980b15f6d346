/* What the master does by the clock: retrying parked assigns, draining vacuums and announcing lock
 * rings (a few times a second), the capacity scan (every 5 to 10 s), the growth pass (every 5
 * minutes and something), and the gauges. Source: spec/topology.md 4, 6.2, 12. */
#pragma once

#include "master/services.h"

struct periodic;

/* The timer lives on services->control; what takes long is done on services->pool. */
int periodic_create(struct periodic **ret, struct services *services, struct error *err);
/* Stops the timer and waits for what it started. Not from the control loop. NULL is fine. */
void periodic_destroy(struct periodic *periodic);
