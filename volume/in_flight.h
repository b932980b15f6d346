/* How many bytes of uploads (or downloads) a server has in hand, and who waits until they are
 * fewer.
 *
 * One of each per server, shared by all loops. A request that finds more than the limit waits;
 * it is told on its own loop once there is room, once its time is over, or once its client has
 * gone. Source: spec/volume-http.md 7. */
#pragma once

#include "common/loop.h"

#include <pthread.h>
#include <stdatomic.h>

/* Requests beyond these are refused at once. */
#define IN_FLIGHT_WAITERS_MAX 10000
/* What `done` may say besides 0 and errors: not room, but the lead. */
#define IN_FLIGHT_LEADS 1

struct in_flight_waiter;

struct in_flight {
    uint64_t limit_bytes; /* 0: none */
    _Atomic uint64_t current_bytes;
    atomic_bool is_led;
    atomic_size_t waiter_count; /* changed under lock */
    pthread_mutex_t lock;       /* of the list */
    struct in_flight_waiter *first, *last;
};

void in_flight_init(struct in_flight *in_flight, uint64_t limit_bytes);
void in_flight_fini(struct in_flight *in_flight);

/* Any thread. Counted whether or not there is a limit. */
void in_flight_enter(struct in_flight *in_flight, uint64_t bytes);
void in_flight_leave(struct in_flight *in_flight, uint64_t bytes);
uint64_t in_flight_bytes(struct in_flight *in_flight);
static inline bool in_flight_is_over(struct in_flight *in_flight)
{
    return in_flight->limit_bytes != 0 &&
           atomic_load(&in_flight->current_bytes) > in_flight->limit_bytes;
}

/* Those who wait with bytes in hand could wait for each other for ever. So one of them, the
 * leader, goes on over the limit. True for the caller who has become it; it ends the lead when
 * it is done, whatever the outcome. Any thread. */
bool in_flight_take_lead(struct in_flight *in_flight);
void in_flight_end_lead(struct in_flight *in_flight);

/* Waits until not over the limit or, with `may_lead`, until the lead is free. Loop thread;
 * `done` is called there, exactly once and later, with 0, IN_FLIGHT_LEADS, KELP_E_TIMEOUT or
 * KELP_E_CANCELLED. KELP_E_LIMIT when too many wait already: `done` will not come. */
int in_flight_wait(struct in_flight *in_flight, struct loop *loop, unsigned timeout_ms,
                   bool may_lead, void (*done)(void *ctx, int code), void *ctx,
                   struct in_flight_waiter **ret);
/* Loop thread, before `done`: lets it come with KELP_E_CANCELLED. */
void in_flight_cancel(struct in_flight_waiter *waiter);
/* Likewise, but `done` never comes. */
void in_flight_abandon(struct in_flight_waiter *waiter);
