/* Latencies of many calls in little memory: buckets that grow by a twentieth, from 1 us to 100 s, so that
 * a percentile is off by 5 % at most. One thread at a time; merge for a total. Pure. */
#pragma once

#include <stdint.h>

#define LATENCY_BUCKETS 384

struct latency_histogram {
    uint64_t buckets[LATENCY_BUCKETS];
    uint64_t count, sum_us, min_us, max_us;
    double sum_squares;
};

void latency_add(struct latency_histogram *h, uint64_t us);
void latency_merge(struct latency_histogram *into, const struct latency_histogram *from);
/* In us; 0 when there is nothing. `part` from 0 to 1. */
uint64_t latency_percentile(const struct latency_histogram *h, double part);
double latency_mean(const struct latency_histogram *h);
double latency_deviation(const struct latency_histogram *h);
