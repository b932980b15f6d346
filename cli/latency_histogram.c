/* Logarithmic buckets. Pure. */
#include "cli/latency_histogram.h"

#include <math.h>

#define GROWTH 1.05

static unsigned bucket_of(uint64_t us)
{
    double index = us > 1 ? ceil(log((double)us) / log(GROWTH)) : 0;
    return index < LATENCY_BUCKETS - 1 ? (unsigned)index : LATENCY_BUCKETS - 1;
}

void latency_add(struct latency_histogram *h, uint64_t us)
{
    h->buckets[bucket_of(us)]++;
    if (h->count == 0 || us < h->min_us)
        h->min_us = us;
    if (us > h->max_us)
        h->max_us = us;
    h->count++;
    h->sum_us += us;
    h->sum_squares += (double)us * (double)us;
}

void latency_merge(struct latency_histogram *into, const struct latency_histogram *from)
{
    if (from->count == 0)
        return;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    if (into->count == 0 || from->min_us < into->min_us)
        into->min_us = from->min_us;
    if (from->max_us > into->max_us)
        into->max_us = from->max_us;
    into->count += from->count;
    into->sum_us += from->sum_us;
    into->sum_squares += from->sum_squares;
}

uint64_t latency_percentile(const struct latency_histogram *h, double part)
{
    uint64_t wanted = (uint64_t)ceil(part * (double)h->count), seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS && h->count > 0; i++) {
        seen += h->buckets[i];
        if (seen >= wanted && seen > 0) {
            uint64_t upper = (uint64_t)pow(GROWTH, i);
            return upper < h->min_us ? h->min_us : upper > h->max_us ? h->max_us : upper;
        }
    }
    return 0;
}

double latency_mean(const struct latency_histogram *h)
{
    return h->count ? (double)h->sum_us / (double)h->count : 0;
}

double latency_deviation(const struct latency_histogram *h)
{
    double mean = latency_mean(h);
    double variance = h->count ? h->sum_squares / (double)h->count - mean * mean : 0;
    return variance > 0 ? sqrt(variance) : 0;
}
