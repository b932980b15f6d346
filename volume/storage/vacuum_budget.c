/* The rate budget of a disk: a token bucket that may go into debt.
 *
 * A job takes what it is about to move and then waits until the debt is paid, so that a single
 * large record needs no bucket of its size, and two jobs share the rate by taking turns. The bucket
 * holds a tenth of a second, so that a pause is not made up for by a burst. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#include <time.h>

#define SLICE_NS 20000000 /* a wait looks this often whether it was cancelled */

struct vacuum_budget {
    struct os *os;
    uint64_t bytes_per_second;
    pthread_mutex_t lock; /* guards what follows */
    double available;     /* bytes; below zero is debt */
    int64_t filled_at_ns;
};

int vacuum_budget_create(struct vacuum_budget **ret, struct os *os, uint64_t bytes_per_second)
{
    struct vacuum_budget *budget = must(calloc(1, sizeof(*budget)));
    budget->os = os;
    budget->bytes_per_second = bytes_per_second;
    pthread_mutex_init(&budget->lock, NULL);
    budget->filled_at_ns = os_monotonic_ns(os);
    *ret = budget;
    return 0;
}

void vacuum_budget_destroy(struct vacuum_budget *budget)
{
    if (!budget)
        return;
    pthread_mutex_destroy(&budget->lock);
    free(budget);
}

/* Takes them and returns when the debt will be paid. */
static int64_t take(struct vacuum_budget *budget, uint64_t bytes)
{
    double rate = (double)budget->bytes_per_second;
    pthread_mutex_lock(&budget->lock);
    int64_t now = os_monotonic_ns(budget->os);
    budget->available += (double)(now - budget->filled_at_ns) * rate / 1e9;
    if (budget->available > rate / 10)
        budget->available = rate / 10;
    budget->filled_at_ns = now;
    budget->available -= (double)bytes;
    double debt = budget->available < 0 ? -budget->available : 0;
    pthread_mutex_unlock(&budget->lock);
    return now + (int64_t)(debt * 1e9 / rate);
}

void vacuum_budget_take(struct vacuum_budget *budget, uint64_t bytes,
                        const atomic_bool *is_cancelled)
{
    if (!budget || budget->bytes_per_second == 0)
        return;
    int64_t until = take(budget, bytes);
    for (;;) {
        int64_t left = until - os_monotonic_ns(budget->os);
        if (left <= 0 || atomic_load(is_cancelled))
            return;
        struct timespec pause = {0, left < SLICE_NS ? left : SLICE_NS};
        nanosleep(&pause, NULL);
    }
}
