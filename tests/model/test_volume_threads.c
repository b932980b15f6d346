/* Many threads on one volume against a model: writers, readers, and one that vacuums, marks and asks, with
 * starts in between; on real files.
 *
 * What a key holds after its nth change is a function of key and n, so the model is a number for each key.
 * A writer owns its keys and knows what they hold; a reader knows the number that was acknowledged before it
 * asked and the one that was sent until it had its answer: what it reads lies between.
 *
 * KELP_SEED repeats the choices of a run (not its timing), KELP_ROUNDS changes how long it is. */
#include "common/check.h"
#include "common/crc32c.h"
#include "tests/fixtures/tally.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/append_queue.h"
#include "volume/storage/index/index_store.h"
#include "volume/storage/volume_vacuum.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 3u
#define TURNS  150u
#else
#define ROUNDS 6u
#define TURNS  1000u
#endif

enum { WRITERS = 4, READERS = 2, KEYS = 4096, BATCH = 24, POOL = 1 << 16, LARGEST = 9000 };

struct key_model {
    atomic_uint sent, acked; /* number of the last change; 0: none */
};

struct config {
    const char *name;
    uint8_t offset_bytes;
    bool is_leveldb;
};

struct content {
    bool is_there;
    size_t size;
    const uint8_t *data;
};

static struct key_model model[KEYS];
static uint8_t pool[POOL];
static uint64_t seed;
static char folder[64];
static struct volume *volume;
static struct append_queue *queue;
static struct index_store *store; /* NULL: the index is in memory */
static atomic_bool is_over; /* the writers of this round have ended */
static atomic_ullong changes, reads, vacuums;
static const struct config *config;

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "KELP_SEED=%llu, %s: ", (unsigned long long)seed, config->name);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    abort();
}

static uint64_t mix(uint64_t x) /* splitmix64 */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t draw(uint64_t *chance, uint64_t below)
{
    *chance = mix(*chance);
    return (*chance >> 16) % below;
}

/* ---- the model ---- */

static struct content content_of(size_t key, unsigned number)
{
    static const size_t edges[] = {0, 1, 7, 8, 500, 511, 512, 513};
    uint64_t r = mix(seed ^ mix(key << 32 | number));
    if (number == 0 || r % 7 == 0)
        return (struct content){0};
    size_t size = (size_t)(r >> 8) % 1500;
    if (r % 16 == 1)
        size = edges[(r >> 8) % (sizeof(edges) / sizeof(edges[0]))];
    else if (r % 64 == 2)
        size = (size_t)(r >> 8) % LARGEST;
    return (struct content){true, size, pool + (r >> 32) % (POOL - LARGEST)};
}

/* Dense ones and some that lie anywhere. */
static uint64_t needle_key(size_t key) { return key % 5 ? key + 1 : mix(key) | 1; }
static uint32_t cookie_of(size_t key) { return 0xc0de0000u + (uint32_t)key; }

static bool is_content(const struct content *content, const struct needle *found)
{
    if (!content->is_there || !found)
        return !content->is_there && !found;
    return found->data.len == content->size &&
           (content->size == 0 || memcmp(found->data.ptr, content->data, content->size) == 0);
}

/* What the key holds must be as after one of the changes from..to. */
static void read_key(size_t key, unsigned from, const char *who)
{
    struct error err = {0};
    struct volume_read read;
    struct needle needle = {0};
    uint8_t *record = NULL;
    int code = volume_read_begin(volume, needle_key(key), false, &read, &err);
    if (code == 0 && read.record_size > 0) {
        record = must(malloc(read.record_size));
        code = volume_read_record(&read, record, false, &needle, &err);
    }
    bool is_found = code == 0;
    if (is_found)
        volume_read_end(&read);
    if (!is_found && code != KELP_E_NOT_FOUND && code != KELP_E_DELETED)
        die("%s: key %zu: %s", who, key, err.message);
    unsigned to = atomic_load(&model[key].sent);
    bool is_right = false;
    for (unsigned number = from; number <= to && !is_right; number++) {
        struct content content = content_of(key, number);
        is_right = is_content(&content, is_found ? &needle : NULL);
    }
    if (!is_right)
        die("%s: key %zu holds %s of %zu bytes, which is none of changes %u to %u", who, key,
            is_found ? "a blob" : "nothing", needle.data.len, from, to);
    free(record);
    atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
}

/* ---- writers ---- */

struct batch {
    struct append_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t delivered;
    size_t left, count;
    struct append_request requests[BATCH];
    size_t keys[BATCH];
    enum { CHANGE, SAME_AGAIN, WRONG_COOKIE } purposes[BATCH];
};

static void take_delivery(struct append_sink *sink, struct append_request *list)
{
    struct batch *batch = (struct batch *)sink;
    pthread_mutex_lock(&batch->lock);
    for (struct append_request *request = list; request; request = request->next)
        batch->left--;
    pthread_cond_signal(&batch->delivered);
    pthread_mutex_unlock(&batch->lock);
}

static void add_request(struct batch *batch, size_t key, uint64_t *chance)
{
    size_t i = batch->count++;
    unsigned number = atomic_load(&model[key].acked);
    struct content content = content_of(key, number);
    batch->keys[i] = key;
    batch->purposes[i] = CHANGE;
    if (content.is_there && content.size > 0 && draw(chance, 40) == 0) {
        batch->purposes[i] = draw(chance, 2) ? SAME_AGAIN : WRONG_COOKIE;
    } else {
        content = content_of(key, ++number);
        atomic_store(&model[key].sent, number);
    }
    batch->requests[i] = (struct append_request){
        .sink = &batch->sink,
        .volume = volume,
        .kind = content.is_there ? APPEND_PUT : APPEND_DELETE,
        .needle = {.key = needle_key(key),
                   .cookie = cookie_of(key) + (batch->purposes[i] == WRONG_COOKIE),
                   .data = slice_of(content.data, content.size),
                   .checksum = crc32c(0, content.data, content.size)},
        .check_cookie = true,
    };
}

/* Small contents that follow each other are the same at times. */
static bool is_same_again(const struct batch *batch, size_t i)
{
    size_t key = batch->keys[i];
    struct content old = content_of(key, atomic_load(&model[key].acked));
    struct content new = content_of(key, atomic_load(&model[key].sent));
    if (batch->purposes[i] == SAME_AGAIN)
        return true;
    return old.is_there && new.is_there && old.size > 0 && old.size == new.size &&
           memcmp(old.data, new.data, old.size) == 0;
}

static void judge(const struct batch *batch, size_t i)
{
    const struct append_request *request = &batch->requests[i];
    size_t key = batch->keys[i];
    if (request->code == KELP_E_READ_ONLY)
        return; /* marked; it will be tried again */
    if (batch->purposes[i] == WRONG_COOKIE) {
        if (request->code != KELP_E_COOKIE)
            die("key %zu was changed with a wrong cookie (%d)", key, request->code);
        return;
    }
    if (request->code != 0)
        die("key %zu: %s", key, request->err.message);
    if (request->is_unchanged != is_same_again(batch, i))
        die("key %zu: the same again was%s recognised", key, request->is_unchanged ? "" : " not");
    if (batch->purposes[i] == CHANGE)
        atomic_store(&model[key].acked, atomic_load(&model[key].sent));
}

static void run_batch(struct batch *batch, size_t writer, uint64_t *chance)
{
    size_t first = draw(chance, KEYS / WRITERS), step = 1 + draw(chance, 7);
    size_t wanted = 1 + draw(chance, BATCH);
    bool is_durable = draw(chance, 50) == 0;
    batch->count = 0;
    while (batch->count < wanted) /* step * BATCH is below KEYS / WRITERS: no key comes twice */
        add_request(batch, (first + batch->count * step) % (KEYS / WRITERS) * WRITERS + writer, chance);
    for (size_t i = 0; i < wanted; i++) {
        batch->requests[i].is_durable = is_durable;
        batch->requests[i].next = i + 1 < wanted ? &batch->requests[i + 1] : NULL;
    }
    batch->left = wanted;
    if (append_queue_submit(queue, batch->requests) != 0)
        die("the queue is full");
    pthread_mutex_lock(&batch->lock);
    while (batch->left > 0)
        pthread_cond_wait(&batch->delivered, &batch->lock);
    pthread_mutex_unlock(&batch->lock);
    for (size_t i = 0; i < wanted; i++)
        judge(batch, i);
    atomic_fetch_add_explicit(&changes, wanted, memory_order_relaxed);
    for (size_t i = 0; i < wanted; i += 3)
        if (atomic_load(&model[batch->keys[i]].acked) == atomic_load(&model[batch->keys[i]].sent))
            read_key(batch->keys[i], atomic_load(&model[batch->keys[i]].acked), "writer");
}

struct worker {
    pthread_t thread;
    size_t number;
    uint64_t chance;
};

static void *run_writer(void *arg)
{
    struct worker *worker = arg;
    struct batch *batch = must(calloc(1, sizeof(*batch)));
    batch->sink.deliver = take_delivery;
    pthread_mutex_init(&batch->lock, NULL);
    pthread_cond_init(&batch->delivered, NULL);
    for (unsigned turn = 0; turn < TURNS; turn++)
        run_batch(batch, worker->number, &worker->chance);
    pthread_mutex_destroy(&batch->lock);
    pthread_cond_destroy(&batch->delivered);
    free(batch);
    return NULL;
}

/* ---- readers, and who disturbs ---- */

static void *run_reader(void *arg)
{
    struct worker *worker = arg;
    while (!atomic_load(&is_over)) {
        size_t key = draw(&worker->chance, KEYS);
        read_key(key, atomic_load(&model[key].acked), "reader");
        if (atomic_load(&reads) > 3 * atomic_load(&changes))
            sched_yield(); /* the writers are to be disturbed, not starved */
    }
    return NULL;
}

static int cancel_sometimes(void *ctx, const struct vacuum_progress *progress)
{
    return draw(ctx, 30) == 0;
}

static void vacuum(uint64_t *chance)
{
    struct error err = {0};
    struct vacuum_options options = {.on_progress = cancel_sometimes, .ctx = chance};
    int code = volume_vacuum_compact(volume, &options, &err);
    if (code == KELP_E_CANCELLED)
        return;
    if (code == 0 && draw(chance, 5) > 0) {
        code = volume_vacuum_commit(volume, NULL, &err);
        atomic_fetch_add(&vacuums, code == 0);
    } else if (code == 0) {
        code = volume_vacuum_cleanup(volume, &err);
    }
    if (code != 0)
        die("vacuum: %s", err.message);
}

static void *run_disturber(void *arg)
{
    struct worker *worker = arg;
    struct error err = {0};
    struct volume_stat st;
    while (!atomic_load(&is_over)) {
        switch (draw(&worker->chance, 8)) {
        case 0:
            if (volume_mark_read_only(volume, draw(&worker->chance, 2), false, &err) != 0 ||
                volume_mark_writable(volume, &err) != 0)
                die("mark: %s", err.message);
            break;
        case 1:
            if (volume_sync(volume, &err) != 0)
                die("sync: %s", err.message);
            break;
        case 2:
            volume_stat(volume, &st);
            if (st.damaged_count != 0)
                die("%llu records are damaged", (unsigned long long)st.damaged_count);
            break;
        default:
            vacuum(&worker->chance);
        }
    }
    return NULL;
}

/* ---- rounds ---- */

static struct volume_place open_place(void)
{
    struct error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/index.ldb", folder);
    if (config->is_leveldb &&
        index_store_open(&store, os_real(), path, INDEX_STORE_SMALL, NULL, &err) != 0)
        die("leveldb: %s", err.message);
    return (struct volume_place){os_real(), folder, NULL, "", 1, store};
}

static void close_volume(void)
{
    volume_close(volume);
    index_store_close(store);
    store = NULL;
}

static void start_volume(void)
{
    struct volume_place place = open_place();
    struct error err = {0};
    char *note = NULL;
    if (vacuum_recover_directory(os_real(), folder, NULL, &err) != 0 ||
        volume_open(&volume, &place, &note, &err) != 0)
        die("open: %s", err.message);
    if (note)
        die("a start repaired what was closed in order: %s", note);
}

static void check_all(const char *when)
{
    struct volume_stat st;
    uint64_t live = 0, bytes = 0;
    for (size_t key = 0; key < KEYS; key++) {
        unsigned number = atomic_load(&model[key].acked);
        struct content content = content_of(key, number);
        struct needle needle = {.data = slice_of(content.data, content.size)};
        int32_t body_size = 0;
        atomic_store(&model[key].sent, number);
        read_key(key, number, when);
        CHECK(needle_body_size(&needle, NEEDLE_VERSION, &body_size, NULL) == 0);
        live += content.is_there;
        bytes += content.is_there ? needle_record_size(NEEDLE_VERSION, body_size) : 0;
    }
    volume_stat(volume, &st);
    if (st.live_count != live || st.live_record_bytes != bytes)
        die("%s: %llu needles of %llu bytes are counted, there are %llu of %llu", when,
            (unsigned long long)st.live_count, (unsigned long long)st.live_record_bytes,
            (unsigned long long)live, (unsigned long long)bytes);
}

static void run_round(uint64_t round)
{
    static void *(*const runs[])(void *) = {run_writer, run_reader, run_disturber};
    struct worker workers[WRITERS + READERS + 1];
    atomic_store(&is_over, false);
    for (size_t i = 0; i < WRITERS + READERS + 1; i++) {
        workers[i] = (struct worker){.number = i, .chance = mix(seed + round * 100 + i)};
        CHECK(pthread_create(&workers[i].thread, NULL,
                             runs[(i >= WRITERS) + (i >= WRITERS + READERS)], &workers[i]) == 0);
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(workers[i].thread, NULL);
    atomic_store(&is_over, true);
    for (size_t i = WRITERS; i < WRITERS + READERS + 1; i++)
        pthread_join(workers[i].thread, NULL);
}

static void run(const struct config *chosen)
{
    const char *text = getenv("KELP_ROUNDS");
    unsigned long rounds = text ? strtoul(text, NULL, 10) : ROUNDS;
    struct error err = {0};
    config = chosen;
    memset(model, 0, sizeof(model));
    fixture_make_folder(folder);
    struct volume_place place = open_place();
    struct volume_options options = {.offset_bytes = config->offset_bytes};
    if (append_queue_create(&queue, "model", &err) != 0 ||
        volume_create(&volume, &place, &options, &err) != 0)
        die("create: %s", err.message);
    for (unsigned long round = 0; round < rounds; round++) {
        run_round(round);
        check_all("after a round");
        close_volume();
        start_volume();
        check_all("after a start");
    }
    close_volume();
    append_queue_destroy(queue);
    fixture_remove_folder(folder);
}

static void index_in_memory_wide(void **state)
{
    run(&(struct config){"memory, 5 bytes", 5, false});
}
static void index_in_memory_narrow(void **state)
{
    run(&(struct config){"memory, 4 bytes", 4, false});
}
static void index_in_leveldb_wide(void **state) { run(&(struct config){"leveldb, 5 bytes", 5, true}); }
static void index_in_leveldb_narrow(void **state)
{
    run(&(struct config){"leveldb, 4 bytes", 4, true});
}

int main(void)
{
    const char *text = getenv("KELP_SEED");
    seed = text ? strtoull(text, NULL, 10) : os_random(os_real());
    for (size_t i = 0; i < POOL; i++)
        pool[i] = (uint8_t)(mix(i) >> 24);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_in_memory_wide),
        cmocka_unit_test(index_in_memory_narrow),
        cmocka_unit_test(index_in_leveldb_wide),
        cmocka_unit_test(index_in_leveldb_narrow),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    printf("KELP_SEED=%llu\n", (unsigned long long)seed);
    tally(atomic_load(&changes), "model changes");
    tally(atomic_load(&reads), "model reads");
    tally(atomic_load(&vacuums), "model vacuums");
    return failed;
}
