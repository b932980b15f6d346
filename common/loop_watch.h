/* The watchdog of an event loop: how long its turns take, and what made the long ones long.
 *
 * A turn is what a loop does between two waits; whatever becomes ready meanwhile waits so long.
 * The work of a turn falls into pieces (a connection that is read, a task, a timer). Whoever
 * begins a piece names it, whoever ends it marks a lap; the piece that took longest is the cause
 * of its turn, if that was a slow one. A lap costs a clock that ticks every few milliseconds,
 * which is fine enough to find ten.
 *
 * The writing half belongs to the loop's thread, the answers are for any. Time comes from
 * outside. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define LOOP_SLOW_TURN_MS 10

/* Turns by length: bucket i holds those below 2^i ms, the last one all the rest. */
#define LOOP_TURN_BUCKETS 14u
#define LOOP_CAUSES_MAX   16u

struct loop_slow_cause {
    const char *what; /* static */
    uint64_t count;   /* slow turns that it caused */
    uint64_t longest_ms;
};

struct loop_watch {
    /* The loop's own. */
    uint64_t turn_start_ms; /* 0: no turn is being timed */
    uint64_t lap_ms;
    const char *doing; /* the piece in hand; NULL: it has no name */
    const char *longest;
    uint64_t longest_ms;

    /* Written by the loop, read by anybody. */
    _Atomic uint64_t turns[LOOP_TURN_BUCKETS], total_ms, slow_turns;
    pthread_mutex_t lock; /* the causes: taken when a turn was slow */
    struct loop_slow_cause causes[LOOP_CAUSES_MAX];
    size_t cause_count;
};

void loop_watch_init(struct loop_watch *watch);
void loop_watch_fini(struct loop_watch *watch);

/* All times in milliseconds of one clock. The loop has slept until now. */
static inline void loop_watch_begin_turn(struct loop_watch *watch, uint64_t now_ms)
{
    watch->turn_start_ms = now_ms;
}
/* The piece in hand has ended. */
void loop_watch_lap(struct loop_watch *watch, uint64_t now_ms);
/* The loop is about to sleep. */
void loop_watch_end_turn(struct loop_watch *watch, uint64_t now_ms);

struct loop_turns {
    uint64_t counts[LOOP_TURN_BUCKETS];
    uint64_t total_ms, slow;
};
void loop_watch_turns(const struct loop_watch *watch, struct loop_turns *ret);
/* The causes of slow turns in the order of first appearance; how many. Beyond LOOP_CAUSES_MAX they
 * count as the last one. */
size_t loop_watch_causes(struct loop_watch *watch, struct loop_slow_cause ret[LOOP_CAUSES_MAX]);
