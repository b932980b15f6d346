/* What the vacuums of one disk may take from it together. See vacuum_budget.c. Any thread. */
#pragma once

#include "common/os.h"
#include "volume/storage/foreground.h"

#include <stdatomic.h>

struct vacuum_budget;

/* A rate over bytes read and written, 0: no limit. With `foreground` (may be NULL; must outlive the
 * budget) jobs also yield when clients of the disk wait longer than usual. */
int vacuum_budget_create(struct vacuum_budget **ret, struct os *os, struct foreground *foreground,
                         uint64_t bytes_per_second);
void vacuum_budget_destroy(struct vacuum_budget *budget); /* NULL is fine */

/* For metrics: the jobs at work, and for which share of the time they are. */
void vacuum_budget_state(struct vacuum_budget *budget, unsigned *ret_jobs, double *ret_share);

/* How much of the disk vacuums hold now, which comes back when they end. */
uint64_t vacuum_budget_held(struct vacuum_budget *budget);

/* ---- for the jobs; all take NULL for no limits, and return early once *is_cancelled ---- */

#define VACUUM_JOBS_PER_DISK 2u
/* A place among the jobs of the disk, if there is one. */
bool vacuum_budget_join(struct vacuum_budget *budget);
void vacuum_budget_leave(struct vacuum_budget *budget);
/* So many of the wanted bytes make a piece of work that the rate allows in a fraction of a second. */
uint64_t vacuum_budget_piece(const struct vacuum_budget *budget, uint64_t wanted);
/* Takes bytes out of the rate, waiting as long as it must. */
void vacuum_budget_take(struct vacuum_budget *budget, uint64_t bytes,
                        const atomic_bool *is_cancelled);
/* After each piece of work: how long it took. Sleeps for the clients' sake. */
void vacuum_budget_yield(struct vacuum_budget *budget, int64_t worked_ns,
                         const atomic_bool *is_cancelled);
/* Space was reserved, or given back. */
void vacuum_budget_hold(struct vacuum_budget *budget, uint64_t bytes);
void vacuum_budget_release(struct vacuum_budget *budget, uint64_t bytes);
/* Files of the disk are being closed, and give back what they held: no job joins before that is over. */
void vacuum_budget_begin_closing(struct vacuum_budget *budget);
void vacuum_budget_end_closing(struct vacuum_budget *budget);
