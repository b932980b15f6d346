/* See the header. The counters have one writer, so a relaxed load and store is all an update
 * takes. */
#include "common/loop_watch.h"

#include "common/check.h"

#include <string.h>

void loop_watch_init(struct loop_watch *watch)
{
    memset(watch, 0, sizeof(*watch));
    CHECK(pthread_mutex_init(&watch->lock, NULL) == 0);
}

void loop_watch_fini(struct loop_watch *watch) { pthread_mutex_destroy(&watch->lock); }

static void add(_Atomic uint64_t *counter, uint64_t amount)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + amount, memory_order_relaxed);
}

void loop_watch_lap(struct loop_watch *watch, uint64_t now_ms)
{
    uint64_t since = watch->lap_ms > watch->turn_start_ms ? watch->lap_ms : watch->turn_start_ms;
    if (now_ms > since && now_ms - since > watch->longest_ms) {
        watch->longest_ms = now_ms - since;
        watch->longest = watch->doing;
    }
    watch->lap_ms = now_ms;
    watch->doing = NULL;
}

static void note_cause(struct loop_watch *watch, const char *what, uint64_t took_ms)
{
    size_t i = 0;
    pthread_mutex_lock(&watch->lock);
    while (i < watch->cause_count && strcmp(watch->causes[i].what, what) != 0)
        i++;
    if (i == LOOP_CAUSES_MAX)
        i--;
    if (i == watch->cause_count)
        watch->causes[watch->cause_count++] = (struct loop_slow_cause){.what = what};
    watch->causes[i].count++;
    if (took_ms > watch->causes[i].longest_ms)
        watch->causes[i].longest_ms = took_ms;
    pthread_mutex_unlock(&watch->lock);
}

void loop_watch_end_turn(struct loop_watch *watch, uint64_t now_ms)
{
    if (!watch->turn_start_ms)
        return;
    uint64_t took_ms = now_ms > watch->turn_start_ms ? now_ms - watch->turn_start_ms : 0;
    unsigned bucket = took_ms > 0 ? 64u - (unsigned)__builtin_clzll(took_ms) : 0;
    add(&watch->turns[bucket < LOOP_TURN_BUCKETS ? bucket : LOOP_TURN_BUCKETS - 1], 1);
    add(&watch->total_ms, took_ms);
    if (took_ms > LOOP_SLOW_TURN_MS) {
        loop_watch_lap(watch, now_ms); /* what nobody has ended */
        add(&watch->slow_turns, 1);
        note_cause(watch, watch->longest ? watch->longest : "something without a name", took_ms);
    }
    watch->turn_start_ms = 0;
    watch->longest_ms = 0;
    watch->longest = watch->doing = NULL;
}

void loop_watch_turns(const struct loop_watch *watch, struct loop_turns *ret)
{
    for (size_t i = 0; i < LOOP_TURN_BUCKETS; i++)
        ret->counts[i] = atomic_load_explicit(&watch->turns[i], memory_order_relaxed);
    ret->total_ms = atomic_load_explicit(&watch->total_ms, memory_order_relaxed);
    ret->slow = atomic_load_explicit(&watch->slow_turns, memory_order_relaxed);
}

size_t loop_watch_causes(struct loop_watch *watch, struct loop_slow_cause ret[LOOP_CAUSES_MAX])
{
    pthread_mutex_lock(&watch->lock);
    size_t count = watch->cause_count;
    memcpy(ret, watch->causes, count * sizeof(ret[0]));
    pthread_mutex_unlock(&watch->lock);
    return count;
}
