/* Lets readers use memory that one writer replaces, while nobody waits.
 *
 * A reader is inside from enter to leave, counted at one of a few counters that threads share out among
 * themselves. The writer takes a piece out of reach first and then retires it; it is freed when each
 * counter was seen at zero since: whoever could still know it has left. The writer looks from time to
 * time and never waits, so that memory may lag behind, by what is replaced in the time of a lookup.
 *
 * Pointers to such memory are loaded (after enter) and stored (before retire) with sequential consistency:
 * a reader that comes in after its counter was seen at zero finds the new one. */
#pragma once

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define GATE_COUNTERS 16u

/* Begins each piece of memory that is retired. */
struct gate_item {
    struct gate_item *next;
};

struct reader_gate {
    struct {
        _Atomic uint32_t inside;
    } __attribute__((aligned(64))) counters[GATE_COUNTERS];
    /* The writer's. `waiting` left while the counters in `pending` have not been at zero since; `retired`
     * came later, and its turn is next. */
    struct gate_item *waiting, *retired;
    uint32_t pending;
};

/* Which of the counters this thread uses. */
uint32_t reader_gate_place(void);

/* Any thread. Answers what leave takes. Short: what is retired meanwhile stays. */
static inline _Atomic uint32_t *reader_gate_enter(struct reader_gate *gate)
{
    _Atomic uint32_t *inside = &gate->counters[reader_gate_place() % GATE_COUNTERS].inside;
    atomic_fetch_add(inside, 1);
    return inside;
}
static inline void reader_gate_leave(_Atomic uint32_t *inside) { atomic_fetch_sub(inside, 1); }

/* Writer only. `item` was malloc'd and can no longer be reached by who enters now. NULL is fine. */
void reader_gate_retire(struct reader_gate *gate, void *item);
/* Writer only: frees what can be. */
void reader_gate_sweep(struct reader_gate *gate);
static inline int reader_gate_is_idle(const struct reader_gate *gate)
{
    return !gate->waiting && !gate->retired;
}
/* Frees all; nobody is inside. */
void reader_gate_fini(struct reader_gate *gate);
