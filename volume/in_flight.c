/* The count is one atomic; only waiting takes the lock. Leaving wakes everybody who waits: each
 * looks again on its own loop and lines up anew, at the end, when others were faster.
 *
 * A waiter is in the list, or on its way through its loop's queue (is_posted), never both: so a
 * timer that fires in between only notes that the time is over. */
#include "volume/in_flight.h"

#include "common/check.h"

struct in_flight_waiter {
    struct in_flight *in_flight;
    struct in_flight_waiter *previous, *next; /* with in_flight->lock */
    bool is_listed;                           /* with in_flight->lock */
    bool may_lead;
    struct loop *loop;
    struct loop_task task;
    uv_timer_t timer; /* what follows: loop thread */
    int code;         /* why it is to end without having room; 0: not yet */
    void (*done)(void *ctx, int code);
    void *ctx;
};

void in_flight_init(struct in_flight *in_flight, uint64_t limit_bytes)
{
    *in_flight = (struct in_flight){.limit_bytes = limit_bytes};
    CHECK(pthread_mutex_init(&in_flight->lock, NULL) == 0);
}

void in_flight_fini(struct in_flight *in_flight)
{
    CHECK(!in_flight->first);
    pthread_mutex_destroy(&in_flight->lock);
}

uint64_t in_flight_bytes(struct in_flight *in_flight)
{
    return atomic_load_explicit(&in_flight->current_bytes, memory_order_relaxed);
}

void in_flight_enter(struct in_flight *in_flight, uint64_t bytes)
{
    atomic_fetch_add(&in_flight->current_bytes, bytes);
}

static void unlink_waiter(struct in_flight *in_flight, struct in_flight_waiter *waiter)
{
    *(waiter->previous ? &waiter->previous->next : &in_flight->first) = waiter->next;
    *(waiter->next ? &waiter->next->previous : &in_flight->last) = waiter->previous;
    waiter->previous = waiter->next = NULL;
    waiter->is_listed = false;
    atomic_fetch_sub(&in_flight->waiter_count, 1);
}

static void link_waiter(struct in_flight *in_flight, struct in_flight_waiter *waiter)
{
    waiter->previous = in_flight->last;
    *(in_flight->last ? &in_flight->last->next : &in_flight->first) = waiter;
    in_flight->last = waiter;
    waiter->is_listed = true;
    atomic_fetch_add(&in_flight->waiter_count, 1);
}

static void wake_all(struct in_flight *in_flight)
{
    pthread_mutex_lock(&in_flight->lock);
    while (in_flight->first) {
        struct in_flight_waiter *waiter = in_flight->first;
        unlink_waiter(in_flight, waiter);
        loop_post(waiter->loop, &waiter->task);
    }
    pthread_mutex_unlock(&in_flight->lock);
}

void in_flight_leave(struct in_flight *in_flight, uint64_t bytes)
{
    atomic_fetch_sub(&in_flight->current_bytes, bytes);
    if (atomic_load(&in_flight->waiter_count) > 0 && !in_flight_is_over(in_flight))
        wake_all(in_flight);
}

bool in_flight_take_lead(struct in_flight *in_flight)
{
    return !atomic_exchange(&in_flight->is_led, true);
}

void in_flight_end_lead(struct in_flight *in_flight)
{
    atomic_store(&in_flight->is_led, false);
    if (atomic_load(&in_flight->waiter_count) > 0)
        wake_all(in_flight);
}

static void free_waiter(uv_handle_t *handle) { free(handle->data); }

static void finish(struct in_flight_waiter *waiter, int code)
{
    void (*done)(void *, int) = waiter->done;
    void *ctx = waiter->ctx;
    uv_close((uv_handle_t *)&waiter->timer, free_waiter);
    if (done)
        done(ctx, code);
    else if (code == IN_FLIGHT_LEADS)
        in_flight_end_lead(waiter->in_flight);
}

static void on_woken(struct loop_task *task)
{
    struct in_flight_waiter *waiter =
        (struct in_flight_waiter *)((char *)task - offsetof(struct in_flight_waiter, task));
    struct in_flight *in_flight = waiter->in_flight;
    bool is_waiting = false;
    int code = waiter->code;
    if (!code) {
        /* Lining up and looking again under the lock: whoever leaves afterwards sees the waiter. */
        pthread_mutex_lock(&in_flight->lock);
        link_waiter(in_flight, waiter);
        is_waiting = in_flight_is_over(in_flight);
        if (is_waiting && waiter->may_lead && in_flight_take_lead(in_flight)) {
            is_waiting = false;
            code = IN_FLIGHT_LEADS;
        }
        if (!is_waiting)
            unlink_waiter(in_flight, waiter);
        pthread_mutex_unlock(&in_flight->lock);
    }
    if (!is_waiting)
        finish(waiter, code);
}

/* Ends the waiting, unless the waiter is on its way through the loop's queue: then on_woken does
 * it. */
static void give_up(struct in_flight_waiter *waiter, int code)
{
    struct in_flight *in_flight = waiter->in_flight;
    if (waiter->code)
        return;
    waiter->code = code;
    pthread_mutex_lock(&in_flight->lock);
    if (waiter->is_listed) {
        unlink_waiter(in_flight, waiter);
        loop_post(waiter->loop, &waiter->task);
    }
    pthread_mutex_unlock(&in_flight->lock);
}

static void on_timeout(uv_timer_t *timer) { give_up(timer->data, KELP_E_TIMEOUT); }

void in_flight_cancel(struct in_flight_waiter *waiter) { give_up(waiter, KELP_E_CANCELLED); }

void in_flight_abandon(struct in_flight_waiter *waiter)
{
    waiter->done = NULL;
    give_up(waiter, KELP_E_CANCELLED);
}

int in_flight_wait(struct in_flight *in_flight, struct loop *loop, unsigned timeout_ms,
                   bool may_lead, void (*done)(void *ctx, int code), void *ctx,
                   struct in_flight_waiter **ret)
{
    if (atomic_load(&in_flight->waiter_count) >= IN_FLIGHT_WAITERS_MAX)
        return KELP_E_LIMIT;
    struct in_flight_waiter *waiter = must(calloc(1, sizeof(*waiter)));
    *waiter = (struct in_flight_waiter){
        .in_flight = in_flight, .loop = loop, .may_lead = may_lead, .done = done, .ctx = ctx};
    waiter->task.run = on_woken;
    CHECK(uv_timer_init(loop_uv(loop), &waiter->timer) == 0);
    waiter->timer.data = waiter;
    uv_timer_start(&waiter->timer, on_timeout, timeout_ms, 0);
    *ret = waiter;
    /* Through the queue, where the look and the lining up are one step. */
    loop_post(loop, &waiter->task);
    return 0;
}
