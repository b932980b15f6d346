/* What a benchmark has found: as text in the peer's layout, and as JSON. */
#include "cli/benchmark.h"
#include "common/json_writer.h"

static double rate(uint64_t amount, double seconds)
{
    return seconds > 0 ? (double)amount / seconds : 0;
}

void benchmark_print_text(FILE *out, const struct benchmark_phase *phase,
                          const struct benchmark_result *result)
{
    static const double parts[] = {0.5, 0.66, 0.75, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1};
    const struct latency_histogram *h = &result->latencies;
    fprintf(out, "\nConcurrency Level:      %lld\n", (long long)phase->options->concurrency);
    fprintf(out, "Time taken for tests:   %.3f seconds\n", result->seconds);
    fprintf(out, "Completed requests:      %llu\n", (unsigned long long)result->completed);
    fprintf(out, "Failed requests:        %llu\n", (unsigned long long)result->failures);
    if (result->deleted > 0)
        fprintf(out, "Deleted again:          %llu\n", (unsigned long long)result->deleted);
    fprintf(out, "Total transferred:      %llu bytes\n", (unsigned long long)result->bytes);
    fprintf(out, "Requests per second:    %.2f [#/sec]\n",
            rate(result->completed, result->seconds));
    fprintf(out, "Transfer rate:          %.2f [Kbytes/sec]\n",
            rate(result->bytes, result->seconds) / 1024);
    if (h->count > 0) {
        fprintf(out, "\nConnection Times (ms)\n              min      avg        max      std\n");
        fprintf(out, "Total:        %.2f     %.2f       %.2f     %.2f\n", (double)h->min_us / 1000,
                latency_mean(h) / 1000, (double)h->max_us / 1000, latency_deviation(h) / 1000);
        fprintf(out, "\nPercentage of the requests served within a certain time (ms)\n");
    }
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && h->count > 0; i++)
        fprintf(out, "%6.4g%% %8.2f ms\n", 100 * parts[i],
                (double)latency_percentile(h, parts[i]) / 1000);
    if (result->has_given_up)
        fprintf(out, "\nGiven up: nothing but failures for a long time\n");
    fflush(out);
}

/* Microseconds are the resolution; more digits would be noise. */
static void member_ms(struct json_writer *w, const char *key, double us)
{
    char text[32];
    snprintf(text, sizeof(text), "%.3f", us / 1000);
    json_writer_key(w, key);
    json_writer_raw(w, slice_cstr(text));
}

void benchmark_print_json(FILE *out, const struct benchmark_phase *phase,
                          const struct benchmark_result *result)
{
    static const struct {
        const char *key;
        double part;
    } parts[] = {{"p50", 0.5},  {"p66", 0.66}, {"p75", 0.75}, {"p80", 0.8},   {"p90", 0.9},
                 {"p95", 0.95}, {"p98", 0.98}, {"p99", 0.99}, {"p999", 0.999}};
    const struct latency_histogram *h = &result->latencies;
    struct buffer text = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &text, false);
    json_writer_begin_object(&w);
    json_writer_member_text(&w, "phase", phase->title);
    json_writer_member_int(&w, "concurrency", phase->options->concurrency);
    json_writer_member_double(&w, "seconds", result->seconds);
    json_writer_member_uint(&w, "completed", result->completed);
    json_writer_member_uint(&w, "failures", result->failures);
    json_writer_member_uint(&w, "deleted", result->deleted);
    json_writer_member_uint(&w, "bytes", result->bytes);
    json_writer_member_bool(&w, "hasGivenUp", result->has_given_up);
    if (result->failures > 0)
        json_writer_member_text(&w, "firstError", result->first_error.message);
    json_writer_member_double(&w, "requestsPerSecond", rate(result->completed, result->seconds));
    json_writer_key(&w, "latencyMs");
    json_writer_begin_object(&w);
    member_ms(&w, "min", (double)h->min_us);
    member_ms(&w, "mean", latency_mean(h));
    member_ms(&w, "deviation", latency_deviation(h));
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        member_ms(&w, parts[i].key, (double)latency_percentile(h, parts[i].part));
    member_ms(&w, "max", (double)h->max_us);
    json_writer_end_object(&w);
    json_writer_end_object(&w);
    fprintf(out, "%s\n", buffer_cstr(&text));
    fflush(out);
    buffer_fini(&text);
}
