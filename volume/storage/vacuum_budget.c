/* What the vacuums of one disk may take from it: a rate, a number of jobs, and a share of the time.
 *
 * The rate is a token bucket that may go into debt. A job takes what it is about to move and then
 * waits until the debt is paid, so that a single large record needs no bucket of its size, and two
 * jobs share the rate by taking turns. The bucket holds a tenth of a second, so that a pause is not
 * made up for by a burst.
 *
 * The share is what makes a copy yield. Of every piece of work a job tells how long it took, and
 * then sleeps so long that it worked for that share of the time only. The share halves while
 * clients wait longer than BOUND times what they waited without a copy, and grows again by a
 * quarter when they do not; so it settles where clients hardly notice. What they waited without a
 * copy is known when the first job comes; if nobody was there then, or the answer is old, all jobs
 * hold still for a moment to find out. The share never falls to nothing: a job always gets on.
 *
 * All under one lock, which nobody holds while he waits. */
#include "volume/storage/vacuum_budget.h"

#include "common/check.h"

#include <pthread.h>
#include <stdlib.h>

#define MS           1000000ll
#define SLICE_NS     (20 * MS)   /* a wait looks this often whether it was cancelled */
#define ADJUST_NS    (70 * MS)   /* of the share */
#define RECENT_NS    (100 * MS)  /* what clients felt of late */
#define LISTEN_NS    (200 * MS)  /* hold still to hear what they feel without us */
#define QUIET_NS     (1000 * MS) /* without a job, before the first one's look back is believed */
#define FRESH_NS     (60000 * MS)
#define BOUND_NUM    5           /* clients may wait 5/4 of what they did */
#define BOUND_DEN    4
#define BOUND_MIN_NS 300000ll    /* shorter waits are not worth a slower copy */
#define SHARE_MIN    (1.0 / 16)
#define LONGEST_NAP  (150 * MS)  /* behind each MiB or so: 30 GiB get through within a night */

struct vacuum_budget {
    struct os *os;
    struct foreground *foreground; /* may be NULL */
    uint64_t bytes_per_second;
    pthread_mutex_t lock; /* guards what follows */
    double available;     /* bytes; below zero is debt */
    int64_t filled_at_ns;
    unsigned jobs;
    int64_t idle_since_ns; /* while there is no job */
    double share;
    int64_t adjusted_at_ns;
    int64_t usual_ns[FOREGROUND_KINDS]; /* p99 without a copy; 0: not known */
    int64_t heard_at_ns;
    int64_t listening_until_ns; /* 0: not */
    uint64_t held;              /* bytes of the disk */
    unsigned closing;           /* files that give back space */
};

int vacuum_budget_create(struct vacuum_budget **ret, struct os *os, struct foreground *foreground,
                         uint64_t bytes_per_second)
{
    struct vacuum_budget *budget = must(calloc(1, sizeof(*budget)));
    budget->os = os;
    budget->foreground = foreground;
    budget->bytes_per_second = bytes_per_second;
    budget->share = 1;
    pthread_mutex_init(&budget->lock, NULL);
    budget->filled_at_ns = os_monotonic_ns(os);
    budget->idle_since_ns = budget->filled_at_ns;
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

static void wait_until(struct vacuum_budget *budget, int64_t until_ns,
                       const atomic_bool *is_cancelled)
{
    for (;;) {
        int64_t left = until_ns - os_monotonic_ns(budget->os);
        if (left <= 0 || atomic_load(is_cancelled))
            return;
        os_sleep(budget->os, left < SLICE_NS ? left : SLICE_NS);
    }
}

/* ---- jobs ---- */

static void hear(struct vacuum_budget *budget, int64_t now_ns, int64_t window_ns)
{
    for (int kind = 0; kind < FOREGROUND_KINDS; kind++)
        budget->usual_ns[kind] =
            foreground_p99_ns(budget->foreground, (enum foreground_kind)kind, now_ns, window_ns);
    budget->heard_at_ns = now_ns;
}

bool vacuum_budget_join(struct vacuum_budget *budget)
{
    if (!budget)
        return true;
    pthread_mutex_lock(&budget->lock);
    bool is_in = budget->jobs < VACUUM_JOBS_PER_DISK && budget->closing == 0;
    if (is_in && budget->jobs++ == 0) {
        int64_t now_ns = os_monotonic_ns(budget->os), quiet_ns = now_ns - budget->idle_since_ns;
        if (quiet_ns >= QUIET_NS)
            hear(budget, now_ns, quiet_ns - QUIET_NS / 2);
    }
    pthread_mutex_unlock(&budget->lock);
    return is_in;
}

void vacuum_budget_leave(struct vacuum_budget *budget)
{
    if (!budget)
        return;
    pthread_mutex_lock(&budget->lock);
    CHECK(budget->jobs > 0);
    if (--budget->jobs == 0)
        budget->idle_since_ns = os_monotonic_ns(budget->os);
    pthread_mutex_unlock(&budget->lock);
}

/* ---- the rate ---- */

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
    if (budget && budget->bytes_per_second > 0)
        wait_until(budget, take(budget, bytes), is_cancelled);
}

/* ---- the share ---- */

/* Clients are there, and it is not known, or not any more, what they would feel without us. */
static bool has_to_listen(const struct vacuum_budget *budget, int64_t now_ns)
{
    bool is_old = now_ns - budget->heard_at_ns > FRESH_NS;
    for (int kind = 0; kind < FOREGROUND_KINDS; kind++)
        if ((is_old || budget->usual_ns[kind] == 0) &&
            foreground_p99_ns(budget->foreground, (enum foreground_kind)kind, now_ns, RECENT_NS) > 0)
            return true;
    return false;
}

static bool is_felt(const struct vacuum_budget *budget, int64_t now_ns)
{
    for (int kind = 0; kind < FOREGROUND_KINDS; kind++) {
        int64_t recent_ns = foreground_p99_ns(budget->foreground, (enum foreground_kind)kind, now_ns,
                                              RECENT_NS);
        int64_t bound_ns = budget->usual_ns[kind] * BOUND_NUM / BOUND_DEN;
        if (recent_ns > (bound_ns > BOUND_MIN_NS ? bound_ns : BOUND_MIN_NS))
            return true;
    }
    return false;
}

/* The lock is held. When the job may go on that has just worked for so long. */
static int64_t adjust(struct vacuum_budget *budget, int64_t now_ns, int64_t worked_ns)
{
    if (budget->listening_until_ns > 0) {
        if (now_ns < budget->listening_until_ns)
            return budget->listening_until_ns;
        hear(budget, now_ns, LISTEN_NS * 3 / 4);
        budget->listening_until_ns = 0;
        budget->adjusted_at_ns = now_ns;
    }
    if (now_ns - budget->adjusted_at_ns >= ADJUST_NS) {
        budget->adjusted_at_ns = now_ns;
        if (has_to_listen(budget, now_ns)) {
            budget->listening_until_ns = now_ns + LISTEN_NS;
            return budget->listening_until_ns;
        }
        budget->share *= is_felt(budget, now_ns) ? 0.5 : 1.25;
        budget->share = budget->share > 1 ? 1 : budget->share;
        budget->share = budget->share < SHARE_MIN ? SHARE_MIN : budget->share;
    }
    int64_t nap_ns = (int64_t)((double)worked_ns * (1 / budget->share - 1));
    return now_ns + (nap_ns < LONGEST_NAP ? nap_ns : LONGEST_NAP);
}

void vacuum_budget_yield(struct vacuum_budget *budget, int64_t worked_ns,
                         const atomic_bool *is_cancelled)
{
    if (!budget || !budget->foreground)
        return;
    pthread_mutex_lock(&budget->lock);
    int64_t until_ns = adjust(budget, os_monotonic_ns(budget->os), worked_ns);
    pthread_mutex_unlock(&budget->lock);
    wait_until(budget, until_ns, is_cancelled);
}

uint64_t vacuum_budget_piece(const struct vacuum_budget *budget, uint64_t wanted)
{
    uint64_t rate = budget ? budget->bytes_per_second : 0;
    return rate >= 8 && wanted > rate / 8 ? rate / 8 : wanted;
}

void vacuum_budget_state(struct vacuum_budget *budget, unsigned *ret_jobs, double *ret_share)
{
    pthread_mutex_lock(&budget->lock);
    *ret_jobs = budget->jobs;
    *ret_share = budget->share;
    pthread_mutex_unlock(&budget->lock);
}

/* ---- the space ---- */

static void change_closing(struct vacuum_budget *budget, int by)
{
    pthread_mutex_lock(&budget->lock);
    budget->closing += (unsigned)by;
    pthread_mutex_unlock(&budget->lock);
}

void vacuum_budget_begin_closing(struct vacuum_budget *budget) { change_closing(budget, 1); }

void vacuum_budget_end_closing(struct vacuum_budget *budget) { change_closing(budget, -1); }

static void change_held(struct vacuum_budget *budget, uint64_t more, uint64_t less)
{
    if (!budget)
        return;
    pthread_mutex_lock(&budget->lock);
    CHECK(budget->held + more >= less);
    budget->held += more - less;
    pthread_mutex_unlock(&budget->lock);
}

void vacuum_budget_hold(struct vacuum_budget *budget, uint64_t bytes)
{
    change_held(budget, bytes, 0);
}

void vacuum_budget_release(struct vacuum_budget *budget, uint64_t bytes)
{
    change_held(budget, 0, bytes);
}

uint64_t vacuum_budget_held(struct vacuum_budget *budget)
{
    pthread_mutex_lock(&budget->lock);
    uint64_t held = budget->held;
    pthread_mutex_unlock(&budget->lock);
    return held;
}
