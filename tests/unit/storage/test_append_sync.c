/* What goes on while a volume is being synced: a sync that ends when the test says so. */
#include "tests/unit/cmocka_all.h"

#include "tests/fixtures/volume_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static struct append_queue *queue;
static struct volume *slow, *other;

/* The first fdatasync after `is_armed` waits until it is opened. */
static struct gate {
    struct os os;
    struct os_ops ops;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_armed, is_reached, is_open;
    unsigned sync_count;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Completions of requests that nobody waits for one by one. */
struct counting_sink {
    struct append_sink sink;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t count;
};

static int gated_fdatasync(struct os *os, int fd)
{
    pthread_mutex_lock(&gate.lock);
    gate.sync_count++;
    if (gate.is_armed) {
        gate.is_armed = false;
        gate.is_reached = true;
        pthread_cond_broadcast(&gate.changed);
        while (!gate.is_open)
            pthread_cond_wait(&gate.changed, &gate.lock);
    }
    pthread_mutex_unlock(&gate.lock);
    return os_fdatasync(os_real(), fd);
}

static unsigned sync_count(void)
{
    pthread_mutex_lock(&gate.lock);
    unsigned count = gate.sync_count;
    pthread_mutex_unlock(&gate.lock);
    return count;
}

static void wait_reached(void)
{
    pthread_mutex_lock(&gate.lock);
    while (!gate.is_reached)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void count_delivery(struct append_sink *sink, struct append_request *list)
{
    struct counting_sink *counting = (struct counting_sink *)sink;
    pthread_mutex_lock(&counting->lock);
    for (; list; list = list->next)
        counting->count++;
    pthread_cond_broadcast(&counting->changed);
    pthread_mutex_unlock(&counting->lock);
}

static size_t delivered(struct counting_sink *counting)
{
    pthread_mutex_lock(&counting->lock);
    size_t count = counting->count;
    pthread_mutex_unlock(&counting->lock);
    return count;
}

static void wait_delivered(struct counting_sink *counting, size_t count)
{
    pthread_mutex_lock(&counting->lock);
    while (counting->count < count)
        pthread_cond_wait(&counting->changed, &counting->lock);
    pthread_mutex_unlock(&counting->lock);
}

static struct counting_sink new_sink(void)
{
    return (struct counting_sink){.sink = {count_delivery},
                                  .lock = PTHREAD_MUTEX_INITIALIZER,
                                  .changed = PTHREAD_COND_INITIALIZER};
}

static struct append_request request_for(struct counting_sink *sink, struct volume *volume,
                                         uint64_t key, const char *text, bool is_durable)
{
    return (struct append_request){
        .sink = &sink->sink,
        .volume = volume,
        .kind = text ? APPEND_PUT : APPEND_DELETE,
        .needle = fixture_needle(key, 1, text, text ? strlen(text) : 0),
        .is_durable = is_durable,
    };
}

static struct volume *create_volume(uint32_t id)
{
    struct volume *volume;
    struct volume_options options = {.offset_bytes = 5};
    struct volume_place place = {&gate.os, directory, NULL, "", id};
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
    return volume;
}

static int set_up(void **state)
{
    strcpy(directory, "/tmp/kelp_test_sync_XXXXXX");
    assert_non_null(mkdtemp(directory));
    gate.ops = *os_real()->ops;
    gate.ops.fdatasync = gated_fdatasync;
    gate.os.ops = &gate.ops;
    gate.is_armed = gate.is_reached = gate.is_open = false;
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    slow = create_volume(1);
    other = create_volume(2);
    return 0;
}

static int tear_down(void **state)
{
    if (slow)
        assert_int_equal(volume_delete_files(slow, NULL), 0);
    assert_int_equal(volume_delete_files(other, NULL), 0);
    append_queue_destroy(queue);
    return rmdir(directory);
}

/* A durable put to the slow volume, which is in its sync when this returns. */
static void begin_sync(struct append_request *request)
{
    gate.is_armed = true;
    assert_int_equal(append_queue_submit(queue, request), 0);
    wait_reached();
}

static void a_sync_holds_up_no_other_volume(void **state)
{
    struct counting_sink sink = new_sink();
    struct append_request first = request_for(&sink, slow, 1, "durable", true);
    begin_sync(&first);
    struct needle needle = fixture_needle(1, 1, "quick", 5);
    assert_int_equal(fixture_put(queue, other, &needle, false).code, 0);
    needle = fixture_needle(2, 1, "durable, too", 12);
    assert_int_equal(fixture_put(queue, other, &needle, true).code, 0);
    assert_int_equal(delivered(&sink), 0);
    assert_false(fixture_has(slow, 1, "durable", 7));
    open_gate();
    wait_delivered(&sink, 1);
    assert_int_equal(first.code, 0);
    assert_true(fixture_has(slow, 1, "durable", 7));
}

static void what_comes_during_a_sync_follows_in_order(void **state)
{
    struct counting_sink sink = new_sink();
    struct append_request first = request_for(&sink, slow, 1, "first", true);
    struct append_request late[] = {
        request_for(&sink, slow, 1, "second", false),
        request_for(&sink, slow, 1, NULL, true),
        request_for(&sink, slow, 2, "kept", false),
        request_for(&sink, slow, 1, "last", false),
    };
    begin_sync(&first);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(append_queue_submit(queue, &late[i]), 0);
    struct needle needle = fixture_needle(1, 1, "x", 1); /* behind them: they were queued */
    assert_int_equal(fixture_put(queue, other, &needle, false).code, 0);
    assert_int_equal(delivered(&sink), 0);
    open_gate();
    wait_delivered(&sink, 5);
    assert_int_equal(late[1].body_size, late[0].body_size);
    assert_true(fixture_has(slow, 1, "last", 4));
    assert_true(fixture_has(slow, 2, "kept", 4));
}

static void what_comes_during_a_sync_shares_the_next_one(void **state)
{
    struct counting_sink sink = new_sink();
    struct append_request first = request_for(&sink, slow, 1, "first", true);
    struct append_request late[20];
    begin_sync(&first);
    unsigned before = sync_count(); /* that of the first one, and of whatever creates a volume */
    for (size_t i = 0; i < 20; i++) {
        late[i] = request_for(&sink, slow, 10 + i, "late", true);
        assert_int_equal(append_queue_submit(queue, &late[i]), 0);
    }
    open_gate();
    wait_delivered(&sink, 21);
    assert_int_equal(sync_count() - before, 1);
    for (size_t i = 0; i < 20; i++)
        assert_true(fixture_has(slow, 10 + i, "late", 4));
}

static void closing_waits_for_what_came_during_a_sync(void **state)
{
    struct counting_sink sink = new_sink();
    struct append_request first = request_for(&sink, slow, 1, "first", true);
    struct append_request late = request_for(&sink, slow, 2, "late", false);
    begin_sync(&first);
    assert_int_equal(append_queue_submit(queue, &late), 0);
    open_gate();
    assert_int_equal(volume_delete_files(slow, NULL), 0);
    slow = NULL;
    wait_delivered(&sink, 2);
    assert_int_equal(late.code, 0);
}

static void ending_the_queue_carries_out_what_waits_for_a_sync(void **state)
{
    struct counting_sink sink = new_sink();
    struct append_request first = request_for(&sink, slow, 1, "first", true);
    struct append_request late = request_for(&sink, slow, 2, "late", true);
    begin_sync(&first);
    assert_int_equal(append_queue_submit(queue, &late), 0);
    open_gate();
    append_queue_destroy(queue);
    queue = NULL;
    assert_int_equal(delivered(&sink), 2);
    assert_true(fixture_has(slow, 2, "late", 4));
}

/* A volume that never rests: while one durable put of it is being synced, the next one comes. More puts
 * than can be under way, because a batch is delivered while the next one is carried out already. */
#define RESTLESS_PUTS 8u
struct restless {
    struct os os;
    struct os_ops ops;
    struct volume *volume;
    struct restless_put {
        struct append_sink sink;
        struct append_request request;
        atomic_bool is_busy;
    } puts[RESTLESS_PUTS];
    atomic_bool *is_over;
};

static void set_free(struct append_sink *sink, struct append_request *list)
{
    atomic_store(&((struct restless_put *)sink)->is_busy, false);
}

static void submit_next(struct restless *restless)
{
    struct restless_put *put = restless->puts;
    while (put < restless->puts + RESTLESS_PUTS && atomic_load(&put->is_busy))
        put++;
    assert_true(put < restless->puts + RESTLESS_PUTS);
    atomic_store(&put->is_busy, true);
    put->sink.deliver = set_free;
    put->request = (struct append_request){
        .sink = &put->sink,
        .volume = restless->volume,
        .kind = APPEND_PUT,
        .needle = fixture_needle((uint64_t)(put - restless->puts) + 1, 1, "again", 5),
        .is_durable = true,
    };
    assert_int_equal(append_queue_submit(queue, &put->request), 0);
}

static int sync_and_submit(struct os *os, int fd)
{
    struct restless *restless = (struct restless *)os; /* its first member */
    if (!atomic_load(restless->is_over)) {
        submit_next(restless);
        struct needle needle = fixture_needle(1, 1, "x", 1); /* behind it */
        assert_int_equal(fixture_put(queue, slow, &needle, false).code, 0);
    }
    return os_fdatasync(os_real(), fd);
}

static void begin_restlessness(struct restless *restless, uint32_t id, atomic_bool *is_over)
{
    struct volume_options options = {.offset_bytes = 5};
    struct volume_place place = {&restless->os, directory, NULL, "", id};
    restless->ops = *os_real()->ops;
    restless->ops.fdatasync = sync_and_submit;
    restless->os.ops = &restless->ops;
    restless->is_over = is_over;
    assert_int_equal(volume_create(&restless->volume, &place, &options, NULL), 0);
    submit_next(restless);
}

#define RESTLESS 8u /* more than there are helpers */

static void volumes_that_never_rest_hold_up_no_other(void **state)
{
    atomic_bool is_over = false;
    struct restless *all = calloc(RESTLESS, sizeof(*all));
    assert_non_null(all);
    for (uint32_t i = 0; i < RESTLESS; i++)
        begin_restlessness(&all[i], 10 + i, &is_over);
    for (uint64_t key = 1; key <= 5; key++) {
        struct needle needle = fixture_needle(key, 1, "one of many", 11);
        assert_int_equal(fixture_put(queue, other, &needle, true).code, 0);
    }
    atomic_store(&is_over, true);
    for (uint32_t i = 0; i < RESTLESS; i++)
        assert_int_equal(volume_delete_files(all[i].volume, NULL), 0);
    append_queue_destroy(queue); /* then all has been delivered */
    queue = NULL;
    free(all);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_sync_holds_up_no_other_volume),
        T(what_comes_during_a_sync_follows_in_order),
        T(what_comes_during_a_sync_shares_the_next_one),
        T(closing_waits_for_what_came_during_a_sync),
        T(ending_the_queue_carries_out_what_waits_for_a_sync),
        T(volumes_that_never_rest_hold_up_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
