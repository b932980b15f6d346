/* A ring of short histograms, each for one slice of time.
 *
 * Whoever is the first to note something in a new slice empties the histogram that was there a
 * round before. A few notes of the same moment may get lost or count for the wrong slice: nobody
 * relies on single ones, and so no lock and no fence is needed.
 *
 * Buckets: four to a factor of two, from 16 us (below, everything is one) to about half a
 * minute. */
#include "volume/storage/foreground.h"

#include "common/check.h"

#include <stdatomic.h>
#include <stdlib.h>

#define SLICE_SHIFT   26 /* 2^26 ns: 67 ms */
#define SLICES        32u
#define LOWEST_SHIFT  14 /* 16 us */
#define PER_DOUBLING  4u
#define BUCKETS       (21u * PER_DOUBLING)

struct slice {
    _Atomic int64_t number; /* now_ns >> SLICE_SHIFT */
    atomic_uint counts[FOREGROUND_KINDS][BUCKETS];
};

struct foreground {
    struct slice slices[SLICES];
};

struct foreground *foreground_create(void)
{
    struct foreground *foreground = must(calloc(1, sizeof(*foreground)));
    for (size_t i = 0; i < SLICES; i++)
        atomic_init(&foreground->slices[i].number, -1);
    return foreground;
}

void foreground_destroy(struct foreground *foreground) { free(foreground); }

static size_t bucket_of(int64_t ns)
{
    uint64_t value = ns > 0 ? (uint64_t)ns >> (LOWEST_SHIFT - 2) : 0; /* 4 is the lowest limit */
    if (value < PER_DOUBLING)
        return 0;
    unsigned top = 63u - (unsigned)__builtin_clzll(value); /* >= 2 */
    size_t bucket = (top - 2) * PER_DOUBLING + ((value >> (top - 2)) & 3) + 1;
    return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* What all in the bucket stay below. */
static int64_t bucket_limit(size_t bucket)
{
    size_t doublings = bucket / PER_DOUBLING, part = bucket % PER_DOUBLING;
    return (int64_t)((PER_DOUBLING + part) << doublings) << (LOWEST_SHIFT - 2);
}

void foreground_note(struct foreground *foreground, enum foreground_kind kind, int64_t now_ns,
                     int64_t took_ns)
{
    if (!foreground)
        return;
    int64_t number = now_ns >> SLICE_SHIFT;
    struct slice *slice = &foreground->slices[(uint64_t)number % SLICES];
    int64_t was = atomic_load_explicit(&slice->number, memory_order_relaxed);
    if (was < number && atomic_compare_exchange_strong_explicit(
                            &slice->number, &was, number, memory_order_relaxed,
                            memory_order_relaxed))
        for (size_t k = 0; k < FOREGROUND_KINDS; k++)
            for (size_t i = 0; i < BUCKETS; i++)
                atomic_store_explicit(&slice->counts[k][i], 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&slice->counts[kind][bucket_of(took_ns)], 1, memory_order_relaxed);
}

int64_t foreground_p99_ns(const struct foreground *foreground, enum foreground_kind kind,
                          int64_t now_ns, int64_t window_ns)
{
    if (!foreground)
        return 0;
    int64_t last = now_ns >> SLICE_SHIFT;
    int64_t first = (now_ns - window_ns) >> SLICE_SHIFT;
    uint64_t counts[BUCKETS] = {0}, total = 0, seen = 0;
    for (size_t s = 0; s < SLICES; s++) {
        const struct slice *slice = &foreground->slices[s];
        int64_t number = atomic_load_explicit(&slice->number, memory_order_relaxed);
        if (number < first || number > last)
            continue;
        for (size_t i = 0; i < BUCKETS; i++)
            counts[i] += atomic_load_explicit(&slice->counts[kind][i], memory_order_relaxed);
    }
    for (size_t i = 0; i < BUCKETS; i++)
        total += counts[i];
    if (total < FOREGROUND_ENOUGH)
        return 0;
    for (size_t i = BUCKETS; i-- > 0;) {
        seen += counts[i];
        if (seen * 100 > total)
            return bucket_limit(i);
    }
    return bucket_limit(0);
}
