/* How fast the engine writes, reads and finds blobs, without any network.
 *
 *   storage_bench <folder> [blobs] [bytes]
 *
 * Puts go through the append queue in batches of 64, with eight batches on their way, as loops would hand
 * them over. Reported per blob: wall time, and the CPU time of the writer thread alone. */
#include "common/check.h"
#include "common/crc32c.h"
#include "volume/storage/append_queue.h"
#include "volume/storage/index/needle_index.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 64, IN_FLIGHT = 8 };

struct slot {
    struct append_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t left;
    double writer_cpu; /* of the delivering thread, so far */
    struct append_request requests[BATCH];
};

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void deliver(struct append_sink *sink, struct append_request *list)
{
    struct slot *slot = (struct slot *)sink;
    size_t count = 0;
    for (; list; list = list->next, count++)
        CHECK(list->code == 0);
    pthread_mutex_lock(&slot->lock);
    slot->left -= count;
    slot->writer_cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
    pthread_cond_signal(&slot->changed);
    pthread_mutex_unlock(&slot->lock);
}

static void wait_slot(struct slot *slot)
{
    pthread_mutex_lock(&slot->lock);
    while (slot->left > 0)
        pthread_cond_wait(&slot->changed, &slot->lock);
    pthread_mutex_unlock(&slot->lock);
}

static void bench_puts(struct volume *volume, uint64_t blobs, const char *data, size_t size)
{
    struct append_queue *queue;
    CHECK(append_queue_create(&queue, "writer", NULL) == 0);
    struct slot *slots = must(calloc(IN_FLIGHT, sizeof(*slots)));
    uint32_t checksum = crc32c(0, data, size);
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        slots[i].sink.deliver = deliver;
        pthread_mutex_init(&slots[i].lock, NULL);
        pthread_cond_init(&slots[i].changed, NULL);
    }
    double start = seconds(CLOCK_MONOTONIC), writer_cpu = 0;
    for (uint64_t key = 1, turn = 0; key <= blobs; turn++) {
        struct slot *slot = &slots[turn % IN_FLIGHT];
        wait_slot(slot);
        slot->left = BATCH;
        for (size_t i = 0; i < BATCH; i++, key++)
            slot->requests[i] = (struct append_request){
                .next = i + 1 < BATCH ? &slot->requests[i + 1] : NULL,
                .sink = &slot->sink,
                .volume = volume,
                .needle = {.key = key, .cookie = 1, .data = slice_of(data, size), .checksum = checksum,
                           .flags = NEEDLE_HAS_NAME | NEEDLE_HAS_MIME | NEEDLE_HAS_LAST_MODIFIED},
                .check_cookie = true,
            };
        CHECK(append_queue_submit(queue, slot->requests) == 0);
    }
    for (size_t i = 0; i < IN_FLIGHT; i++) {
        wait_slot(&slots[i]);
        writer_cpu = slots[i].writer_cpu > writer_cpu ? slots[i].writer_cpu : writer_cpu;
    }
    double wall = seconds(CLOCK_MONOTONIC) - start;
    printf("put      %8.0f /s   %6.2f us wall   %6.2f us CPU of the writer\n", (double)blobs / wall,
           wall / (double)blobs * 1e6, writer_cpu / (double)blobs * 1e6);
    append_queue_destroy(queue);
    free(slots);
}

static uint64_t next_random(uint64_t *x)
{
    *x ^= *x << 13;
    *x ^= *x >> 7;
    *x ^= *x << 17;
    return *x;
}

static void bench_reads(struct volume *volume, uint64_t blobs, size_t size)
{
    uint64_t x = 88172645463325252u, n = blobs;
    char *buf = must(malloc(size + 4096));
    double start = seconds(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < n; i++) {
        struct volume_read read;
        CHECK(volume_read_begin(volume, 1 + next_random(&x) % blobs, false, &read, NULL) == 0);
        volume_read_end(&read);
    }
    printf("look up  %8.0f /s   %6.0f ns\n", (double)n / (seconds(CLOCK_MONOTONIC) - start),
           (seconds(CLOCK_MONOTONIC) - start) / (double)n * 1e9);
    start = seconds(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < n; i++) {
        struct volume_read read;
        struct needle needle;
        CHECK(volume_read_begin(volume, 1 + next_random(&x) % blobs, false, &read, NULL) == 0);
        int code = volume_read_record(&read, buf, true, &needle, NULL);
        if (code == KELP_E_AGAIN)
            code = volume_read_record(&read, buf, false, &needle, NULL);
        CHECK(code == 0 && needle.data.len == size);
        volume_read_end(&read);
    }
    printf("get      %8.0f /s   %6.2f us\n", (double)n / (seconds(CLOCK_MONOTONIC) - start),
           (seconds(CLOCK_MONOTONIC) - start) / (double)n * 1e6);
    free(buf);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: storage_bench <folder> [blobs] [bytes]\n");
        return 2;
    }
    uint64_t blobs = argc > 2 ? strtoull(argv[2], NULL, 10) : 500000;
    size_t size = argc > 3 ? strtoull(argv[3], NULL, 10) : 1024;
    blobs = (blobs + BATCH - 1) / BATCH * BATCH;
    char *data = must(malloc(size));
    memset(data, 'k', size);
    struct volume_place place = {os_real(), argv[1], NULL, "bench", 1};
    struct volume_options options = {.offset_bytes = 5};
    struct volume *volume;
    struct error err;
    if (volume_create(&volume, &place, &options, &err) != 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    bench_puts(volume, blobs, data, size);
    bench_reads(volume, blobs, size);
    volume_close(volume);
    double start = seconds(CLOCK_MONOTONIC);
    CHECK(volume_open(&volume, &place, NULL, &err) == 0);
    double wall = seconds(CLOCK_MONOTONIC) - start;
    printf("load     %8.0f /s   %6.1f ms for %llu blobs\n", (double)blobs / wall, wall * 1e3,
           (unsigned long long)blobs);
    CHECK(volume_delete_files(volume, &err) == 0);
    free(data);
    return 0;
}
