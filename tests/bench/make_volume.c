/* Writes the files of a volume with millions of blobs within seconds, as a server would have left them.
 *
 *   make_volume FOLDER BASE COUNT KEYS MIN MAX [sparse|whole|garbage]
 *
 * FOLDER/BASE.dat and .idx (5-byte offsets) get COUNT blobs of MIN to MAX bytes, under keys that run up
 * from 1 (KEYS is `sequential`) or are scattered over all 64 bits (`random`). `whole` volumes have all
 * their records; in a `sparse` one all but the last few are holes, so that ten million blobs of any size
 * take no room: a start of either server looks at no other. `garbage` is `whole`, and then every second
 * blob is deleted, the first one not. The cookie of all is 12345678. Prints the key of the last blob.
 *
 * It goes by the description of the format, and shares no code with the engine that is measured. */
#include "common/bytes.h"
#include "common/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define COOKIE      0x12345678u
#define ROW_SIZE    17u
#define WHOLE_TAIL  64u /* records at the end of a sparse .dat */
#define BUFFER_SIZE (4u << 20)
#define NOISE_SIZE  (1u << 20)

struct out {
    int fd;
    uint64_t position; /* of the buffer's first byte */
    size_t used;
    uint8_t *buffer;
};

static struct {
    uint64_t count;
    uint64_t min_bytes, max_bytes;
    bool is_random, is_sparse, has_garbage;
} plan;

static struct out dat, idx;
static uint8_t *noise;
static uint64_t last_ns = 1700000000000000000u;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void open_out(struct out *out, const char *folder, const char *base, const char *extension)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s%s", folder, base, extension);
    out->fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
    out->buffer = malloc(BUFFER_SIZE);
    if (out->fd < 0 || !out->buffer)
        die(path);
}

static void flush(struct out *out)
{
    for (size_t done = 0; done < out->used;) {
        ssize_t n = pwrite(out->fd, out->buffer + done, out->used - done,
                           (off_t)(out->position + done));
        if (n < 0)
            die("pwrite");
        done += (size_t)n;
    }
    out->position += out->used;
    out->used = 0;
}

static uint8_t *room(struct out *out, size_t size)
{
    if (out->used + size > BUFFER_SIZE)
        flush(out);
    out->used += size;
    return out->buffer + out->used - size;
}

/* The finalizer of splitmix64: a permutation, so no key comes up twice. */
static uint64_t scatter(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t key_of(uint64_t rank) { return plan.is_random ? scatter(rank + 1) : rank + 1; }

static void add_row(uint64_t key, uint64_t offset, int32_t size)
{
    uint8_t *row = room(&idx, ROW_SIZE);
    store_be64(row, key);
    store_be32(row + 8, (uint32_t)(offset / 8));
    row[12] = (uint8_t)(offset / 8 >> 32);
    store_be32(row + 13, (uint32_t)size);
}

static size_t record_size(uint32_t body_size)
{
    size_t base = 16 + body_size + 4 + 8;
    return base + 8 - base % 8;
}

static void store_record(uint8_t *record, uint64_t key, uint32_t body_size, uint32_t checksum)
{
    store_be32(record, COOKIE);
    store_be64(record + 4, key);
    store_be32(record + 12, body_size);
    store_be32(record + 16 + body_size, checksum);
    store_be64(record + 20 + body_size, ++last_ns);
}

/* Data, flags and the time of modification, as an upload without a name has them. */
static void add_blob(uint64_t rank)
{
    uint64_t key = key_of(rank);
    uint64_t range = plan.max_bytes - plan.min_bytes + 1;
    uint32_t data_size = (uint32_t)(plan.min_bytes + scatter(~rank) % range);
    uint32_t body_size = data_size > 0 ? 4 + data_size + 1 + 5 : 0;
    size_t size = record_size(body_size);
    add_row(key, dat.position + dat.used, (int32_t)body_size);
    if (plan.is_sparse && rank + WHOLE_TAIL < plan.count) {
        flush(&dat);
        dat.position += size;
        return;
    }
    uint8_t *record = room(&dat, size);
    const uint8_t *data = noise + scatter(rank) % (NOISE_SIZE - data_size);
    memset(record, 0, size);
    if (body_size > 0) {
        store_be32(record + 16, data_size);
        memcpy(record + 20, data, data_size);
        record[20 + data_size] = 0x08;
        store_be32(record + 22 + data_size, (uint32_t)(last_ns / 1000000000));
    }
    store_record(record, key, body_size, data_size > 0 ? crc32c(0, data, data_size) : 0);
}

static void add_tombstone(uint64_t key)
{
    size_t size = record_size(0);
    add_row(key, dat.position + dat.used, -1);
    uint8_t *record = room(&dat, size);
    memset(record, 0, size);
    store_record(record, key, 0, 0);
}

static void write_volume(void)
{
    memcpy(room(&dat, 8), "\x03\0\0\0\0\0\0\0", 8);
    for (uint64_t rank = 0; rank < plan.count; rank++)
        add_blob(rank);
    for (uint64_t rank = 1; plan.has_garbage && rank < plan.count; rank += 2)
        add_tombstone(key_of(rank));
    flush(&dat);
    flush(&idx);
    if (close(dat.fd) != 0 || close(idx.fd) != 0)
        die("close");
}

static bool parse_plan(int argc, char **argv)
{
    if (argc < 7 || argc > 8)
        return false;
    const char *kind = argc == 8 ? argv[7] : "whole";
    plan.count = strtoull(argv[3], NULL, 10);
    plan.is_random = strcmp(argv[4], "random") == 0;
    plan.min_bytes = strtoull(argv[5], NULL, 10);
    plan.max_bytes = strtoull(argv[6], NULL, 10);
    plan.is_sparse = strcmp(kind, "sparse") == 0;
    plan.has_garbage = strcmp(kind, "garbage") == 0;
    return plan.count > 0 && plan.min_bytes <= plan.max_bytes && plan.max_bytes < NOISE_SIZE &&
           (plan.is_random || strcmp(argv[4], "sequential") == 0) &&
           (plan.is_sparse || plan.has_garbage || strcmp(kind, "whole") == 0);
}

int main(int argc, char **argv)
{
    if (!parse_plan(argc, argv)) {
        fprintf(stderr, "usage: make_volume FOLDER BASE COUNT sequential|random MIN MAX "
                        "[sparse|whole|garbage]\n");
        return 2;
    }
    noise = malloc(NOISE_SIZE);
    if (!noise)
        die("malloc");
    for (size_t done = 0; done < NOISE_SIZE;) {
        ssize_t n = getrandom(noise + done, NOISE_SIZE - done, 0);
        if (n < 0 && errno != EINTR)
            die("getrandom");
        done += n > 0 ? (size_t)n : 0;
    }
    open_out(&dat, argv[1], argv[2], ".dat");
    open_out(&idx, argv[1], argv[2], ".idx");
    write_volume();
    free(dat.buffer);
    free(idx.buffer);
    free(noise);
    printf("%" PRIx64 "\n", key_of(plan.count - 1));
    return 0;
}
