/* What the needle index of kind "memory" costs: memory, lookups, inserts, loading with and without a
 * checkpoint; for keys that follow each other and for random ones. Makes a volume's .idx (and a .dat that is
 * a hole but for its super block and last record headers) in a folder, and removes it.
 *
 *   index_bench [--count N] [--keys sequential|shuffled|random] [--size BYTES] [--vary BYTES]
 *               [--folder PATH] [--json]
 *
 * Loading is that of the real thing (index_load.c), in a child process, so that its growth of RSS is of
 * nothing else. */
#include "volume/storage/index_checkpoint.h"
#include "volume/storage/index_load.h"
#include "volume/storage/volume_generation.h"

#include "common/check.h"

#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct setup {
    uint64_t count;
    bool is_random, is_shuffled, is_json;
    const char *keys;
    int32_t size, vary;
    const char *folder;
    char dat[4096], idx[4096];
};

struct result {
    double load_cpu_s, load_wall_s, own_bytes, rss_bytes, peak_bytes;
    double lookup_ns, insert_ns, longest_put_us;
    double checkpoint_load_cpu_s, checkpoint_load_wall_s, checkpoint_write_cpu_s, checkpoint_bytes;
    double checkpoint_rss_bytes;
    double runtime_bytes; /* own account, after inserts one by one */
};

static double now_ns(clockid_t clock)
{
    struct timespec t;
    CHECK(clock_gettime(clock, &t) == 0);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double status_kib(const char *name)
{
    char line[256];
    double value = 0;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtod(line + strlen(name) + 1, NULL);
    fclose(file);
    return value * 1024;
}

static uint64_t scramble(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t key_of(const struct setup *setup, uint64_t i)
{
    if (setup->is_shuffled) /* as writers side by side bring them: near to their place */
        return (i & ~(uint64_t)63) + (i * 37 & 63) + 1;
    return setup->is_random ? scramble(i) : i + 1;
}

static int32_t size_of(const struct setup *setup, uint64_t i)
{
    return setup->size + (setup->vary > 0 ? (int32_t)(scramble(i ^ 77) % (uint64_t)setup->vary) : 0);
}

static uint64_t make_files(const struct setup *setup)
{
    struct os *os = os_real();
    enum { ROWS = 4096 };
    static uint8_t rows[ROWS * INDEX_ROW_MAX];
    uint8_t head[SUPER_BLOCK_SIZE];
    struct super_block super_block = {.version = 3};
    super_block_store(head, &super_block);
    int dat = os_open(os, setup->dat, O_RDWR | O_CREAT | O_TRUNC, 0644);
    int idx = os_open(os, setup->idx, O_RDWR | O_CREAT | O_TRUNC, 0644);
    CHECK(dat >= 0 && idx >= 0);
    CHECK(os_pwritev(os, dat, &(struct iovec){head, sizeof(head)}, 1, 0) == (ssize_t)sizeof(head));
    uint64_t offset = SUPER_BLOCK_SIZE, at = 0;
    size_t used = 0;
    for (uint64_t i = 0; i < setup->count; i++) {
        struct needle_entry entry = {key_of(setup, i), offset, size_of(setup, i)};
        index_row_store(rows + used, &entry, 5);
        used += index_row_size(5);
        if (i + 32 >= setup->count) {
            struct needle_header header = {1, entry.key, entry.size};
            uint8_t bytes[NEEDLE_HEADER_SIZE];
            needle_header_store(bytes, &header);
            struct iovec iov = {bytes, sizeof(bytes)};
            CHECK(os_pwritev(os, dat, &iov, 1, offset) == (ssize_t)sizeof(bytes));
        }
        offset += needle_record_size(3, entry.size);
        if (used == ROWS * index_row_size(5) || i + 1 == setup->count) {
            CHECK(os_pwritev(os, idx, &(struct iovec){rows, used}, 1, at) == (ssize_t)used);
            at += used;
            used = 0;
        }
    }
    CHECK(os_ftruncate(os, dat, offset) >= 0);
    os_close(os, dat);
    os_close(os, idx);
    return offset;
}

static struct volume_generation *open_generation(const struct setup *setup)
{
    struct volume_generation *generation;
    struct error err;
    struct volume_generation_owner owner = {.volume_id = 1};
    if (volume_generation_open(&generation, os_real(), &owner, setup->dat, setup->idx, true, 5, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    return generation;
}

static struct volume_generation *load(const struct setup *setup, double *ret_cpu_s, double *ret_wall_s,
                                      double *ret_rss, uint64_t *ret_replayed)
{
    struct index_verdict verdict;
    struct error err;
    struct volume_generation *generation = open_generation(setup);
    malloc_trim(0);
    double rss = status_kib("VmRSS"), cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID), wall = now_ns(CLOCK_MONOTONIC);
    if (index_load(generation, &verdict, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        exit(1);
    }
    *ret_cpu_s = (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    *ret_wall_s = (now_ns(CLOCK_MONOTONIC) - wall) / 1e9;
    *ret_rss = status_kib("VmRSS") - rss;
    *ret_replayed = verdict.replayed;
    CHECK(!verdict.needs_rebuild && verdict.rows == setup->count);
    return generation;
}

static double time_lookups(const struct setup *setup, struct needle_index *index)
{
    enum { LOOKUPS = 2000000 };
    struct needle_entry entry;
    uint64_t x = 1, sum = 0;
    double start = now_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < LOOKUPS; i++) {
        x = scramble(x);
        CHECK(needle_index_get(index, key_of(setup, x % setup->count), &entry, NULL) == 0);
        sum += entry.offset;
    }
    CHECK(sum != 0);
    return (now_ns(CLOCK_THREAD_CPUTIME_ID) - start) / LOOKUPS;
}

/* One by one, as the writer does it; every put is timed apart, and the clock's own cost taken off. */
static void time_inserts(const struct setup *setup, struct result *result)
{
    struct needle_index *index;
    const struct needle_index_config config = {.version = 3, .seed = 7};
    CHECK(needle_index_memory_create(&index, &config, NULL) == 0);
    uint64_t offset = SUPER_BLOCK_SIZE;
    double start = now_ns(CLOCK_THREAD_CPUTIME_ID), longest = 0;
    for (uint64_t i = 0; i < setup->count; i++) {
        struct needle_entry entry = {key_of(setup, i), offset, size_of(setup, i)};
        CHECK(needle_index_reserve(index, entry.key, NULL) == 0);
        CHECK(needle_index_put(index, &entry, NEEDLE_INDEX_RUNTIME, NULL) == 0);
        offset += needle_record_size(3, entry.size);
    }
    result->insert_ns = (now_ns(CLOCK_THREAD_CPUTIME_ID) - start) / (double)setup->count;
    struct needle_index_stat stat;
    needle_index_stat(index, &stat);
    result->runtime_bytes = (double)stat.memory_bytes;
    for (uint64_t i = 0; i < 400000; i++) { /* into what is there already, timed one by one */
        struct needle_entry entry = {setup->is_random ? scramble(i + setup->count) : i * 7 % setup->count + 1,
                                     offset, size_of(setup, i)};
        double from = now_ns(CLOCK_THREAD_CPUTIME_ID);
        CHECK(needle_index_reserve(index, entry.key, NULL) == 0);
        CHECK(needle_index_put(index, &entry, NEEDLE_INDEX_RUNTIME, NULL) == 0);
        double took = now_ns(CLOCK_THREAD_CPUTIME_ID) - from;
        longest = took > longest ? took : longest;
        offset += needle_record_size(3, entry.size);
    }
    result->longest_put_us = longest / 1e3;
    needle_index_destroy(index);
}

static void run_load(const struct setup *setup, struct result *result)
{
    struct needle_index_stat stat;
    struct error err;
    uint64_t replayed;
    struct volume_generation *generation =
        load(setup, &result->load_cpu_s, &result->load_wall_s, &result->rss_bytes, &replayed);
    CHECK(replayed == setup->count);
    result->peak_bytes = status_kib("VmHWM");
    needle_index_stat(generation->index, &stat);
    result->own_bytes = (double)stat.memory_bytes;
    result->lookup_ns = time_lookups(setup, generation->index);
    double cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
    int code = index_checkpoint_write(generation, &err);
    if (code != 0)
        fprintf(stderr, "%s\n", err.message);
    CHECK(code == 0);
    result->checkpoint_write_cpu_s = (now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu) / 1e9;
    volume_generation_unref(generation);
}

static void run_checkpoint_load(const struct setup *setup, struct result *result)
{
    uint64_t replayed;
    struct volume_generation *generation =
        load(setup, &result->checkpoint_load_cpu_s, &result->checkpoint_load_wall_s,
             &result->checkpoint_rss_bytes, &replayed);
    CHECK(replayed == 0);
    CHECK(time_lookups(setup, generation->index) > 0);
    volume_generation_unref(generation);
}

static void run_inserts(const struct setup *setup, struct result *result) { time_inserts(setup, result); }

static void in_child(const struct setup *setup, struct result *result,
                     void (*run)(const struct setup *, struct result *))
{
    int ends[2], status;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        run(setup, result);
        CHECK(write(ends[1], result, sizeof(*result)) == (ssize_t)sizeof(*result));
        _exit(0);
    }
    bool is_read = read(ends[0], result, sizeof(*result)) == (ssize_t)sizeof(*result);
    CHECK(waitpid(child, &status, 0) == child && status == 0 && is_read);
    close(ends[0]);
    close(ends[1]);
}

static void print(const struct setup *setup, const struct result *r)
{
    double n = (double)setup->count;
    const struct {
        const char *name;
        double value;
    } all[] = {
        {"own_bytes_per_needle", r->own_bytes / n},
        {"rss_bytes_per_needle", r->rss_bytes / n},
        {"own_bytes_per_needle_after_inserts", r->runtime_bytes / n},
        {"rss_bytes_per_needle_from_checkpoint", r->checkpoint_rss_bytes / n},
        {"process_peak_bytes", r->peak_bytes},
        {"lookup_ns", r->lookup_ns},
        {"insert_ns", r->insert_ns},
        {"longest_put_us", r->longest_put_us},
        {"load_cpu_s", r->load_cpu_s},
        {"load_wall_s", r->load_wall_s},
        {"checkpoint_load_cpu_s", r->checkpoint_load_cpu_s},
        {"checkpoint_load_wall_s", r->checkpoint_load_wall_s},
        {"checkpoint_write_cpu_s", r->checkpoint_write_cpu_s},
        {"checkpoint_bytes_per_needle", r->checkpoint_bytes / n},
    };
    if (setup->is_json)
        printf("{\"keys\": \"%s\", \"count\": %llu", setup->keys, (unsigned long long)setup->count);
    else
        printf("%llu needles, %s keys, sizes from %d to %d\n", (unsigned long long)setup->count,
               setup->keys, setup->size, setup->size + setup->vary);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        printf(setup->is_json ? ", \"%s\": %.4f" : "  %-40s %14.4f\n", all[i].name, all[i].value);
    if (setup->is_json)
        printf("}\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"count", required_argument, NULL, 'c'}, {"keys", required_argument, NULL, 'k'},
        {"size", required_argument, NULL, 's'},  {"vary", required_argument, NULL, 'v'},
        {"folder", required_argument, NULL, 'f'}, {"json", no_argument, NULL, 'j'},
        {0},
    };
    struct setup setup = {.keys = "sequential", .count = 10000000, .size = 1000, .folder = "/tmp"};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c': setup.count = strtoull(optarg, NULL, 10); break;
        case 'k':
            setup.keys = optarg;
            setup.is_random = strcmp(optarg, "random") == 0;
            setup.is_shuffled = strcmp(optarg, "shuffled") == 0;
            break;
        case 's': setup.size = (int32_t)strtol(optarg, NULL, 10); break;
        case 'v': setup.vary = (int32_t)strtol(optarg, NULL, 10); break;
        case 'f': setup.folder = optarg; break;
        case 'j': setup.is_json = true; break;
        default: return 2;
        }
    }
    bool is_known = setup.is_random || setup.is_shuffled || strcmp(setup.keys, "sequential") == 0;
    if (setup.count < 100 || !is_known) {
        fprintf(stderr, "--count is at least 100, --keys is sequential, shuffled or random\n");
        return 2;
    }
    char base[2048];
    snprintf(base, sizeof(base), "%s/index_bench_%d", setup.folder, (int)getpid());
    snprintf(setup.dat, sizeof(setup.dat), "%s.dat", base);
    snprintf(setup.idx, sizeof(setup.idx), "%s.idx", base);
    make_files(&setup);
    struct result result = {0};
    in_child(&setup, &result, run_load);
    struct os_stat st = {0};
    char checkpoint[4096];
    snprintf(checkpoint, sizeof(checkpoint), "%s.kix", base);
    if (os_stat(os_real(), checkpoint, &st) >= 0)
        result.checkpoint_bytes = (double)st.size;
    in_child(&setup, &result, run_checkpoint_load);
    in_child(&setup, &result, run_inserts);
    print(&setup, &result);
    unlink(setup.dat);
    unlink(setup.idx);
    unlink(checkpoint);
    return 0;
}
