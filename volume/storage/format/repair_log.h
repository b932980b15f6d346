/* <base>.repair.log: what repairs have changed in a volume, kept beside it for whoever looks later.
 *
 *   2026-11-21T10:58:11Z tail: 3 records added, 0 rows dropped, 17 torn bytes cut, ...
 *
 * One line a repair, the newest last. Our own file: the peer ignores it, and it goes with the volume.
 * May block; one thread at a time for a volume. */
#pragma once

#include "common/os.h"

#define REPAIR_LOG_MAX (64u << 10) /* bytes; beyond it the oldest lines go */

/* Adds a line with the os's time. A text that the newest line has already is not added again: what can
 * only be repaired in memory is found at every start. Old log or new one, never half of a line. */
int repair_log_add(struct os *os, const char *path, const char *text, struct error *err);
