/* Power losses in the middle of mixed writing: what was answered as durable stays, whatever was written
 * plainly over it, beside it and after it and then lost, in whole or in part. And if the disk keeps the order
 * of what it is told, what is lost is a suffix: all that was done up to some moment is there. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/tally.h"
#include "tests/fixtures/volume_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 24, VERSIONS = 64, STEPS = 40, RUNS = 150 };

/* Every state that a key has had: a version of its blob, or none. */
struct history {
    size_t count, durable; /* states[durable] is the last that was promised to stay */
    int states[VERSIONS];  /* 0: none */
    size_t moments[VERSIONS]; /* when it came, among all operations */
};

static struct disk_os *disk;
static struct append_queue *queue;
static struct volume *volume;
static struct volume_place place;
static struct history histories[KEYS + 1];
static uint64_t chance;
static size_t moment, durable_moment; /* operations so far, and up to the last that was promised to stay */
static uint64_t losses;

static unsigned next_random(unsigned below)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((chance >> 33) % below);
}

static int setup(void **state)
{
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    append_queue_destroy(queue);
    return 0;
}

static void begin(uint64_t seed)
{
    memset(histories, 0, sizeof(histories));
    for (size_t key = 1; key <= KEYS; key++)
        histories[key].count = 1;
    chance = seed;
    moment = durable_moment = 0;
    disk_os_create(&disk, 64 << 20);
    assert_int_equal(os_mkdir(disk_os_get(disk), "/d", 0755), 0);
    place = (struct volume_place){disk_os_get(disk), "/d", NULL, "", 1};
    struct volume_options options = {.offset_bytes = 5};
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
}

static void end(void)
{
    volume_close(volume);
    volume = NULL;
    disk_os_destroy(disk);
}

/* A key whose row still makes sense when some of its bytes are lost. */
static uint64_t spread(uint64_t key) { return key << 24 | key << 8 | key; }

/* Versions of one key differ in size too; version 3 and its multiples are empty. */
static size_t fill(char data[512], uint64_t key, int version)
{
    size_t size = version % 3 == 0 ? 0 : 1 + (size_t)(key * 31 + (uint64_t)version * 17) % 300;
    fixture_fill(data, size, key * 1000 + (uint64_t)version);
    return size;
}

static void note_state(uint64_t key, int version, bool is_durable)
{
    struct history *h = &histories[key];
    assert_true(h->count < VERSIONS);
    h->states[h->count] = version;
    h->moments[h->count] = ++moment;
    if (is_durable) {
        h->durable = h->count;
        durable_moment = moment;
    }
    h->count++;
}

static void put(uint64_t key, bool is_durable)
{
    char data[512];
    int version = (int)histories[key].count;
    size_t size = fill(data, key, version);
    struct needle needle = fixture_needle(spread(key), 7, data, size);
    assert_int_equal(fixture_put(queue, volume, &needle, is_durable).code, 0);
    note_state(key, version, is_durable);
}

static void delete(uint64_t key, bool is_durable)
{
    struct append_request request = {
        .volume = volume,
        .kind = APPEND_DELETE,
        .needle = {.key = spread(key), .cookie = 7},
        .is_durable = is_durable,
    };
    assert_int_equal(append_queue_wait(queue, &request), 0);
    note_state(key, 0, is_durable);
}

/* What the key holds already, promised to stay this time: nothing is written for it. */
static void put_again(uint64_t key)
{
    struct history *h = &histories[key];
    char data[512];
    int version = h->states[h->count - 1];
    struct needle needle = fixture_needle(spread(key), 7, data, fill(data, key, version));
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, 0);
    note_state(key, version, true);
}

static void change(uint64_t key)
{
    const struct history *h = &histories[key];
    bool is_durable = next_random(8) == 0;
    switch (next_random(8)) {
    case 0:
        delete(key, is_durable);
        break;
    case 1:
        if (h->states[h->count - 1] != 0) {
            put_again(key);
            break;
        }
        /* fall through */
    default:
        put(key, is_durable);
    }
}

static bool is_version(uint64_t key, int version, int code, const struct needle *needle)
{
    char data[512];
    if (version == 0)
        return code == KELP_E_NOT_FOUND || code == KELP_E_DELETED;
    return code == 0 && slice_equals(needle->data, slice_of(data, fill(data, key, version)));
}

static void check_key(uint64_t key, uint64_t seed, unsigned mode)
{
    const struct history *h = &histories[key];
    struct needle needle = {0};
    void *buf = NULL;
    int code = fixture_get(volume, spread(key), &needle, &buf);
    bool is_good = false;
    for (size_t i = h->durable; i < h->count && !is_good; i++)
        is_good = is_version(key, h->states[i], code, &needle);
    /* An empty blob that was not promised, and has lost its last 8 bytes, looks like a tombstone. */
    bool is_reordered = mode == DISK_REORDER_512 || mode == DISK_REORDER_4096;
    for (size_t i = h->durable + 1; i < h->count && !is_good && is_reordered; i++)
        is_good = h->states[i] % 3 == 0 && is_version(key, 0, code, &needle);
    /* A plain write that was lost in the middle of others is known to be damaged. */
    is_good |= h->durable + 1 < h->count && code == KELP_E_CORRUPT;
    if (code == 0)
        free(buf);
    if (!is_good)
        fail_msg("seed %llu, mode %u, key %llu: code %d, %zu bytes, %zu states, durable %zu",
                 (unsigned long long)seed, mode, (unsigned long long)key, code, needle.data.len,
                 h->count, h->durable);
}

/* The state of the key at a moment: 0 or a version. */
static int state_at(uint64_t key, size_t when)
{
    const struct history *h = &histories[key];
    size_t i = h->count;
    while (i > 1 && h->moments[i - 1] > when)
        i--;
    return h->states[i - 1];
}

static bool is_as_at(size_t when)
{
    bool is_same = true;
    for (uint64_t key = 1; key <= KEYS && is_same; key++) {
        struct needle needle = {0};
        void *buf = NULL;
        int code = fixture_get(volume, spread(key), &needle, &buf);
        is_same = is_version(key, state_at(key, when), code, &needle);
        if (code == 0)
            free(buf);
    }
    return is_same;
}

static void check_suffix(uint64_t seed, unsigned mode)
{
    size_t when = durable_moment;
    while (when <= moment && !is_as_at(when))
        when++;
    if (when > moment)
        fail_msg("seed %llu, mode %u: what is there was there at no moment from %zu to %zu",
                 (unsigned long long)seed, mode, durable_moment, moment);
}

static void lose_and_check(enum disk_os_loss mode, uint64_t seed)
{
    disk_os_lose_power(disk, mode, seed);
    volume_close(volume);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    struct volume_stat stat;
    volume_stat(volume, &stat);
    assert_int_equal(stat.read_only, 0);
    for (uint64_t key = 1; key <= KEYS; key++)
        check_key(key, seed, mode);
    if (mode != DISK_REORDER_512 && mode != DISK_REORDER_4096)
        check_suffix(seed, mode);
    losses++;
}

static void what_was_durable_outlives_plain_writes_over_it(void **state)
{
    const char *text = getenv("KELP_ROUNDS"); /* for a long look */
    uint64_t runs = text ? strtoull(text, NULL, 10) : RUNS;
    for (uint64_t seed = 1; seed <= runs; seed++) {
        for (unsigned mode = 0; mode < DISK_OS_LOSSES; mode++) {
            begin(seed);
            for (uint64_t key = 1; key <= KEYS; key++)
                put(key, key % 2 == 0);
            unsigned steps = next_random(STEPS);
            for (unsigned i = 0; i < steps; i++)
                change(1 + next_random(KEYS));
            lose_and_check((enum disk_os_loss)mode, seed);
            end();
        }
    }
}

/* What an empty blob is, only its row tells. */
static void empty_blob_outlives_it_in_an_index_that_was_lost_before(void **state)
{
    begin(1);
    put(1, true);
    volume_close(volume);
    assert_int_equal(os_unlink(disk_os_get(disk), "/d/1.idx"), 0);
    assert_int_equal(os_sync_directory(disk_os_get(disk), "/d", NULL), 0);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    struct needle needle = fixture_needle(77, 7, "", 0);
    assert_int_equal(fixture_put(queue, volume, &needle, true).code, 0);
    lose_and_check(DISK_DROP_ALL, 1);
    assert_true(fixture_has(volume, 77, "", 0));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_blob_outlives_it_in_an_index_that_was_lost_before),
        cmocka_unit_test(what_was_durable_outlives_plain_writes_over_it),
    };
    int failed = cmocka_run_group_tests(tests, setup, teardown);
    tally(losses, "power losses");
    return failed;
}
