/* What the clients of a disk feel: how long their writes, and the reads that had to wait for the
 * disk, took in the last two seconds. Work in the background yields by it (vacuum_budget.c).
 *
 * Noting one costs a relaxed addition and takes no lock; the answer is an estimate, to a quarter.
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct foreground;

enum foreground_kind { FOREGROUND_READ, FOREGROUND_WRITE, FOREGROUND_KINDS };

struct foreground *foreground_create(void);
void foreground_destroy(struct foreground *foreground); /* NULL is fine */

/* One that ended at now_ns (monotonic) and took that long. NULL: nobody wants to know. */
void foreground_note(struct foreground *foreground, enum foreground_kind kind, int64_t now_ns,
                     int64_t took_ns);

/* The time that 99 % of those which ended in the last `window_ns` stayed below, up to about two
 * seconds; 0 when there were fewer than FOREGROUND_ENOUGH. */
#define FOREGROUND_ENOUGH 32u
int64_t foreground_p99_ns(const struct foreground *foreground, enum foreground_kind kind,
                          int64_t now_ns, int64_t window_ns);
