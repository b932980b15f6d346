/* One phase of a benchmark: its threads, and the line a second that says how far it is. Main
 * thread. */
#include "cli/benchmark.h"
#include "common/check.h"
#include "common/os.h"

#include <stdlib.h>
#include <time.h>

#define SECOND_NS 1000000000ll

struct ticker {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_over; /* under the lock */
    struct benchmark_phase *phase;
};

static void tell(struct benchmark_phase *phase, uint64_t *completed, uint64_t *bytes,
                 double seconds)
{
    uint64_t new_completed = atomic_load(&phase->completed), new_bytes = atomic_load(&phase->bytes);
    fprintf(phase->options->progress, "Completed %llu of %lld requests, %.1f%% %.1f/s %.1fMB/s\n",
            (unsigned long long)new_completed, (long long)phase->total,
            100 * (double)new_completed / (double)phase->total,
            (double)(new_completed - *completed) / seconds,
            (double)(new_bytes - *bytes) / seconds / (1 << 20));
    fflush(phase->options->progress);
    *completed = new_completed;
    *bytes = new_bytes;
}

static void *tick(void *arg)
{
    struct ticker *ticker = arg;
    uint64_t completed = 0, bytes = 0;
    int64_t last_ns = os_monotonic_ns(os_real()), next_ns = last_ns + SECOND_NS;
    pthread_mutex_lock(&ticker->lock);
    while (!ticker->is_over) {
        struct timespec until = {next_ns / SECOND_NS, next_ns % SECOND_NS};
        pthread_cond_timedwait(&ticker->wake, &ticker->lock, &until);
        int64_t now_ns = os_monotonic_ns(os_real());
        if (ticker->is_over || now_ns < next_ns)
            continue;
        tell(ticker->phase, &completed, &bytes, (double)(now_ns - last_ns) / SECOND_NS);
        last_ns = now_ns;
        next_ns += SECOND_NS;
    }
    pthread_mutex_unlock(&ticker->lock);
    return NULL;
}

static void ticker_start(struct ticker *ticker, struct benchmark_phase *phase)
{
    pthread_condattr_t attributes;
    *ticker = (struct ticker){.phase = phase};
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&ticker->lock, NULL);
    pthread_cond_init(&ticker->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    CHECK(pthread_create(&ticker->thread, NULL, tick, ticker) == 0);
}

static void ticker_stop(struct ticker *ticker)
{
    pthread_mutex_lock(&ticker->lock);
    ticker->is_over = true;
    pthread_cond_signal(&ticker->wake);
    pthread_mutex_unlock(&ticker->lock);
    pthread_join(ticker->thread, NULL);
    pthread_cond_destroy(&ticker->wake);
    pthread_mutex_destroy(&ticker->lock);
}

static void merge(struct benchmark_result *into, const struct benchmark_result *from)
{
    if (from->failures > 0 && into->failures == 0)
        into->first_error = from->first_error;
    latency_merge(&into->latencies, &from->latencies);
    into->completed += from->completed;
    into->failures += from->failures;
    into->bytes += from->bytes;
    into->deleted += from->deleted;
}

void benchmark_run(struct benchmark_phase *phase, struct benchmark_result *ret)
{
    const struct benchmark_options *options = phase->options;
    int64_t threads =
        options->threads < options->concurrency ? options->threads : options->concurrency;
    struct benchmark_worker *workers = must(calloc((size_t)threads, sizeof(*workers)));
    struct ticker ticker;
    memset(ret, 0, sizeof(*ret));
    int64_t start_ns = os_monotonic_ns(os_real());
    ticker_start(&ticker, phase);
    for (int64_t i = 0; i < threads; i++) {
        workers[i].phase = phase;
        workers[i].slot_count =
            options->concurrency / threads + (i < options->concurrency % threads);
        CHECK(pthread_create(&workers[i].thread, NULL, benchmark_work, &workers[i]) == 0);
    }
    for (int64_t i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        merge(ret, &workers[i].result);
    }
    ret->seconds = (double)(os_monotonic_ns(os_real()) - start_ns) / SECOND_NS;
    ticker_stop(&ticker);
    ret->has_given_up = benchmark_has_given_up(phase);
    if (phase->written)
        phase->written->count = atomic_load(&phase->written_count);
    free(workers);
}
