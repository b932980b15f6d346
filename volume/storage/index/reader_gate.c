/* Retiring and freeing. See the header. */
#include "volume/storage/index/reader_gate.h"

#include <stdlib.h>

uint32_t reader_gate_place(void)
{
    static _Atomic uint32_t threads;
    static _Thread_local uint32_t place; /* 0: not chosen yet */
    if (place == 0)
        place = 1 + atomic_fetch_add_explicit(&threads, 1, memory_order_relaxed) % GATE_COUNTERS;
    return place;
}

void reader_gate_retire(struct reader_gate *gate, void *item)
{
    struct gate_item *retired = item;
    if (!retired)
        return;
    retired->next = gate->retired;
    gate->retired = retired;
}

static void free_list(struct gate_item *item)
{
    while (item) {
        struct gate_item *next = item->next;
        free(item);
        item = next;
    }
}

void reader_gate_sweep(struct reader_gate *gate)
{
    for (int turn = 0; turn < 2 && !reader_gate_is_idle(gate); turn++) {
        for (uint32_t i = 0; i < GATE_COUNTERS; i++)
            if (gate->pending >> i & 1 && atomic_load(&gate->counters[i].inside) == 0)
                gate->pending &= ~(1u << i);
        if (gate->pending != 0)
            return;
        free_list(gate->waiting);
        gate->waiting = gate->retired;
        gate->retired = NULL;
        gate->pending = gate->waiting ? (1u << GATE_COUNTERS) - 1 : 0;
    }
}

void reader_gate_fini(struct reader_gate *gate)
{
    free_list(gate->waiting);
    free_list(gate->retired);
    gate->waiting = gate->retired = NULL;
    gate->pending = 0;
}
