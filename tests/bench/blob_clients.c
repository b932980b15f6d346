/* Clients of a volume server for tests/bench/run: plain blocking sockets, one request at a time
 * each.
 *
 *   blob_clients send METHOD PORT FID FIRST STEP COUNT
 *     Stores (PUT, 1 KiB) or deletes (DELETE) COUNT blobs FIRST, FIRST + STEP, ... from FID,
 *     by 16 clients at once. Ends with 1 if any answer is not a success.
 *   blob_clients watch PORT FID FIRST STEP COUNT FOLDER
 *     Two clients until its input ends: one reads blobs of that series at random, one stores new
 *     ones far above it, and after WRITTEN of them begins again, with other bytes: so that what is
 *     alive does not grow with the speed of the server. FOLDER/read and FOLDER/write get each
 *     request's start and duration (two 64-bit ns, of the monotonic clock).
 *
 * In C, because a pause of a garbage collector here would pass for one of the server. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOB_SIZE 1024
#define SENDERS 16
#define FAR_ABOVE (1ull << 32) /* where the keys of new blobs begin */
#define WRITTEN   100000u

static struct {
    const char *method;
    uint16_t port;
    unsigned volume_id;
    uint64_t key, first, step, count;
    uint32_t cookie;
    char body[BLOB_SIZE];
} plan;

static atomic_uint_fast64_t next_rank;
static atomic_bool is_over;

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(plan.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        die("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

/* The status of one exchange; *ret_length gets the length of the answer's body. */
static int exchange(int fd, const char *method, uint64_t key, size_t *ret_length)
{
    char out[512 + BLOB_SIZE], in[4096];
    bool is_put = method[0] == 'P';
    int head = snprintf(out, sizeof(out),
                        "%s /%u,%" PRIx64 "%08" PRIx32 " HTTP/1.1\r\nHost: bench\r\n"
                        "Content-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n",
                        method, plan.volume_id, key, plan.cookie, is_put ? BLOB_SIZE : 0);
    size_t size = (size_t)head, have = 0;
    if (is_put) {
        memcpy(out + size, plan.body, BLOB_SIZE);
        size += BLOB_SIZE;
    }
    if (write(fd, out, size) != (ssize_t)size)
        die("write");
    for (;;) {
        ssize_t n = read(fd, in + have, sizeof(in) - 1 - have);
        if (n <= 0)
            die("read");
        have += (size_t)n;
        in[have] = 0;
        char *end = strstr(in, "\r\n\r\n");
        if (!end)
            continue;
        char *length = strcasestr(in, "\r\nContent-Length:");
        *ret_length = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
        if (have >= (size_t)(end + 4 - in) + *ret_length)
            return atoi(in + 9);
    }
}

static void *send_blobs(void *unused)
{
    int fd = dial();
    uint64_t rank;
    while ((rank = atomic_fetch_add(&next_rank, 1)) < plan.count) {
        size_t length;
        int status =
            exchange(fd, plan.method, plan.key + plan.first + rank * plan.step, &length);
        if (status / 100 != 2) {
            fprintf(stderr, "%s of blob %" PRIu64 ": status %d\n", plan.method, rank, status);
            exit(1);
        }
    }
    close(fd);
    return NULL;
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

struct watcher {
    const char *path;
    bool is_writer;
    pthread_t thread;
};

static void *watch(void *ctx)
{
    struct watcher *watcher = ctx;
    int fd = dial();
    FILE *out = fopen(watcher->path, "wb");
    if (!out)
        die(watcher->path);
    unsigned seed = 1;
    for (uint64_t rank = 0; !atomic_load(&is_over); rank++) {
        uint64_t key = plan.key + plan.first + (uint64_t)rand_r(&seed) % plan.count * plan.step;
        if (watcher->is_writer) {
            key = plan.key + FAR_ABOVE + rank % WRITTEN;
            memcpy(plan.body, &rank, sizeof(rank)); /* the same bytes would not be stored again */
        }
        size_t length;
        uint64_t times[2] = {now_ns(), 0};
        int status = exchange(fd, watcher->is_writer ? "PUT" : "GET", key, &length);
        times[1] = now_ns() - times[0];
        if (watcher->is_writer ? status != 201 : status != 200 || length != BLOB_SIZE) {
            fprintf(stderr, "%s: status %d, %zu bytes\n", watcher->path, status, length);
            exit(1);
        }
        if (fwrite(times, sizeof(times), 1, out) != 1)
            die(watcher->path);
    }
    close(fd);
    if (fclose(out) != 0)
        die(watcher->path);
    return NULL;
}

static void run_watchers(const char *folder)
{
    char read_path[4096], write_path[4096], byte;
    snprintf(read_path, sizeof(read_path), "%s/read", folder);
    snprintf(write_path, sizeof(write_path), "%s/write", folder);
    struct watcher watchers[] = {{read_path, false, 0}, {write_path, true, 0}};
    for (int i = 0; i < 2; i++)
        if (pthread_create(&watchers[i].thread, NULL, watch, &watchers[i]) != 0)
            die("pthread_create");
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++)
        pthread_join(watchers[i].thread, NULL);
}

static void run_senders(void)
{
    pthread_t threads[SENDERS];
    for (int i = 0; i < SENDERS; i++)
        if (pthread_create(&threads[i], NULL, send_blobs, NULL) != 0)
            die("pthread_create");
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
}

/* The arguments that both forms share: PORT FID FIRST STEP COUNT. */
static bool parse_plan(char **argv)
{
    char *comma = strchr(argv[1], ',');
    size_t digits = comma ? strlen(comma + 1) : 0;
    if (digits <= 8)
        return false;
    plan.port = (uint16_t)atoi(argv[0]);
    plan.volume_id = (unsigned)atoi(argv[1]);
    plan.cookie = (uint32_t)strtoul(comma + 1 + digits - 8, NULL, 16);
    comma[1 + digits - 8] = 0;
    plan.key = strtoull(comma + 1, NULL, 16);
    plan.first = strtoull(argv[2], NULL, 10);
    plan.step = strtoull(argv[3], NULL, 10);
    plan.count = strtoull(argv[4], NULL, 10);
    return plan.count > 0 && getrandom(plan.body, BLOB_SIZE, 0) == BLOB_SIZE;
}

int main(int argc, char **argv)
{
    if (argc == 8 && strcmp(argv[1], "send") == 0 && parse_plan(argv + 3)) {
        plan.method = argv[2];
        run_senders();
        return 0;
    }
    if (argc == 8 && strcmp(argv[1], "watch") == 0 && parse_plan(argv + 2)) {
        run_watchers(argv[7]);
        return 0;
    }
    fprintf(stderr, "usage: blob_clients send METHOD PORT FID FIRST STEP COUNT\n"
                    "       blob_clients watch PORT FID FIRST STEP COUNT FOLDER\n");
    return 2;
}
