/* The start with a volume that takes long to load: the others are served meanwhile, the slow one says that
 * it is on its way, and comes to its turn when somebody asks or changes it. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/data_port.h"
#include "tests/unit/volume/server_fixture.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIRST_ID 3u
#define SLOW_ID  5u
#define LAST_ID  8u
#define COOKIE   0x637037d6u

/* An os on which every open of the slow volume's .idx waits for a post; and one that is told of the end. */
struct slowness {
    struct fault_os *fault;
    sem_t begun, go_on, loaded;
    atomic_bool is_over;
    atomic_uint opened; /* .idx files, the slow one's included */
};

static void hold_up(void *ctx, enum fault_os_call kind, const char *path)
{
    struct slowness *slow = ctx;
    if (kind != FAULT_OPEN || !path || strcmp(path + strlen(path) - 4, ".idx") != 0)
        return;
    atomic_fetch_add(&slow->opened, 1);
    if (strcmp(path + strlen(path) - 6, "/5.idx") != 0 || atomic_load(&slow->is_over))
        return;
    sem_post(&slow->begun);
    while (!atomic_load(&slow->is_over))
        sem_wait(&slow->go_on);
}

static void slowness_init(struct slowness *slow, struct fault_os *fault)
{
    *slow = (struct slowness){.fault = fault};
    sem_init(&slow->begun, 0, 0);
    sem_init(&slow->go_on, 0, 0);
    sem_init(&slow->loaded, 0, 0);
    fault_os_watch(fault, hold_up, slow);
}

static void slowness_end(struct slowness *slow)
{
    atomic_store(&slow->is_over, true);
    sem_post(&slow->go_on);
}

static void slowness_fini(struct slowness *slow)
{
    sem_destroy(&slow->begun);
    sem_destroy(&slow->go_on);
    sem_destroy(&slow->loaded);
}

static void wait_for(sem_t *sem, const char *what)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    if (sem_timedwait(sem, &until) != 0)
        fail_msg("waited in vain: %s", what);
}

/* ---- the store ---- */

struct fixture {
    struct store_fixture store;
    struct slowness slow;
    struct server_fixture server;
    bool has_server;
};

static void on_loaded(void *ctx)
{
    struct fixture *f = ctx;
    sem_post(&f->slow.loaded);
}

static void ignore_change(void *ctx, const struct disk_location *location, struct volume *volume) {}

/* Volumes FIRST_ID to LAST_ID with a blob each; the even ones are of a collection. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    store_fixture_init(&f->store, 1);
    f->store.config.on_volume_added = f->store.config.on_volume_removed = ignore_change;
    store_fixture_open(&f->store);
    for (uint32_t id = FIRST_ID; id <= LAST_ID; id++) {
        assert_int_equal(store_fixture_allocate(&f->store, id, id % 2 ? "" : "even", NULL), 0);
        store_fixture_put(f->store.store, id, 1, COOKIE, "hello");
    }
    store_fixture_close(&f->store);
    slowness_init(&f->slow, f->store.fault);
    f->store.config.loads_in_background = true;
    f->store.config.on_loaded = on_loaded;
    f->store.config.ctx = f;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    slowness_end(&f->slow);
    if (f->has_server)
        server_fixture_fini(&f->server);
    store_fixture_fini(&f->store);
    slowness_fini(&f->slow);
    free(f);
    return 0;
}

static void end_load(struct fixture *f)
{
    slowness_end(&f->slow);
    wait_for(&f->slow.loaded, "all are loaded");
    assert_int_equal(store_loading_count(f->store.store), 0);
}

static void the_others_are_served_while_one_loads(void **state)
{
    struct fixture *f = *state;
    f->store.config.load_threads = 2;
    store_fixture_open(&f->store);
    struct store *store = f->store.store;
    wait_for(&f->slow.begun, "the slow volume is being loaded");
    /* Mounting one waits for it to be loaded, here or there. */
    assert_int_equal(store_mount_volume(store, LAST_ID, NULL, NULL), 0);
    assert_int_equal(store_fixture_read(store, LAST_ID, 1, "hello"), 0);
    store_fixture_put(store, LAST_ID, 2, COOKIE, "written while another loads");

    struct volume *volume = NULL;
    struct error err = {0};
    assert_int_equal(store_find(store, SLOW_ID, &volume, &err), KELP_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "try again"));
    assert_null(volume);
    assert_null(store_acquire(store, SLOW_ID));
    assert_int_equal(store_find(store, LAST_ID + 1, &volume, &err), KELP_E_NOT_FOUND);
    assert_true(store_loading_count(store) >= 1);

    end_load(f);
    for (uint32_t id = FIRST_ID; id <= LAST_ID; id++)
        assert_int_equal(store_fixture_read(store, id, 1, "hello"), 0);
    assert_int_equal(store_find(store, SLOW_ID, &volume, &err), 0);
    store_release(store, volume);
}

static void what_is_not_loaded_yet_takes_its_slot(void **state)
{
    struct fixture *f = *state;
    f->store.locations[0].max_volumes = LAST_ID - FIRST_ID + 2;
    f->store.config.load_threads = 1;
    store_fixture_open(&f->store);
    wait_for(&f->slow.begun, "the slow volume is being loaded");
    assert_int_equal(store_fixture_allocate(&f->store, 20, "", NULL), 0);
    assert_int_equal(store_fixture_allocate(&f->store, 21, "", NULL), KELP_E_NO_SPACE);
    /* Its id is taken, too: the last one has not been looked at yet, and is loaded for that. */
    struct error err = {0};
    assert_int_equal(store_fixture_allocate(&f->store, LAST_ID, "", &err), KELP_E_EXISTS);
    end_load(f);
}

/* Or the master would take the slots for free, and have volumes made there. */
static void no_maximum_has_room_before_all_are_loaded(void **state)
{
    struct fixture *f = *state;
    for (unsigned max = 0; max <= 100; max += 100) {
        f->store.locations[0].max_volumes = max;
        f->store.config.load_threads = 1;
        atomic_store(&f->slow.is_over, false);
        store_fixture_open(&f->store);
        struct store *store = f->store.store;
        wait_for(&f->slow.begun, "the slow volume is being loaded");
        store_set_limits(store, 1 << 20, false);
        assert_int_equal(store_volume_count(store), SLOW_ID - FIRST_ID);
        assert_int_equal(store_location_max(store, store_location(store, 0)), SLOW_ID - FIRST_ID);
        end_load(f);
        store_resize_automatic(store);
        uint32_t all = LAST_ID - FIRST_ID + 1, now = store_location_max(store, store_location(store, 0));
        assert_true(max == 0 ? now > all : now == max);
        store_fixture_close(&f->store);
    }
}

static void a_change_of_one_that_waits_loads_it_first(void **state)
{
    struct fixture *f = *state;
    f->store.config.load_threads = 1;
    store_fixture_open(&f->store);
    struct store *store = f->store.store;
    wait_for(&f->slow.begun, "the slow volume is being loaded");
    assert_int_equal(store_configure_volume(store, 7, "001", NULL), 0);
    assert_int_equal(store_delete_volume(store, 7, STORE_DELETE_ONLY_EMPTY, NULL),
                     KELP_E_PRECONDITION);
    assert_int_equal(store_delete_volume(store, 7, STORE_DELETE_ALWAYS, NULL), 0);
    assert_int_equal(store_delete_collection(store, "even", NULL), 0);
    end_load(f);
    for (uint32_t id = FIRST_ID; id <= LAST_ID; id++)
        assert_int_equal(store_fixture_read(store, id, 1, "hello"),
                         id % 2 == 0 || id == 7 ? KELP_E_NOT_FOUND : 0);
}

struct opened {
    char text[64];
};

static void note_opened(void *ctx, enum fault_os_call kind, const char *path)
{
    struct opened *opened = ctx;
    size_t length = path ? strlen(path) : 0, used = strlen(opened->text);
    if (kind == FAULT_OPEN && length > 12 && strcmp(path + length - 4, ".dat") == 0)
        snprintf(opened->text + used, sizeof(opened->text) - used, "%c%c ", path[length - 7],
                 path[length - 5]);
}

/* Disk 0 has volumes 3 to 5, disk 1 has 6 and 7. One thread takes them in turns. */
static void disks_take_turns(void **state)
{
    struct store_fixture f;
    struct opened opened = {""};
    store_fixture_init(&f, 2);
    f.locations[0].max_volumes = 3;
    f.locations[1].max_volumes = 0;
    f.locations[1].disk_type = "ssd";
    store_fixture_open(&f);
    for (uint32_t id = 3; id <= 7; id++) {
        struct store_allocate request = {.id = id, .collection = "", .disk_type = id < 6 ? "" : "ssd"};
        assert_int_equal(store_allocate_volume(f.store, &request, NULL), 0);
    }
    store_fixture_close(&f);
    f.config.load_threads = 1;
    fault_os_watch(f.fault, note_opened, &opened);
    store_fixture_open(&f);
    fault_os_watch(f.fault, NULL, NULL);
    assert_string_equal(opened.text, "03 16 04 17 05 ");
    store_fixture_fini(&f);
}

static void closing_loads_no_more(void **state)
{
    struct fixture *f = *state;
    f->store.config.load_threads = 1;
    store_fixture_open(&f->store);
    wait_for(&f->slow.begun, "the slow volume is being loaded");
    unsigned opened = atomic_load(&f->slow.opened);
    store_stop_loading(f->store.store);
    slowness_end(&f->slow);
    store_fixture_close(&f->store);
    assert_true(atomic_load(&f->slow.opened) <= opened + 2); /* that one, and its .idx anew */
}

static void one_that_fails_is_not_found_any_more(void **state)
{
    struct fixture *f = *state;
    char path[128];
    snprintf(path, sizeof(path), "%s/%u.dat", f->store.directories[0], SLOW_ID);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("no super block at all", file);
    fclose(file);
    slowness_end(&f->slow);
    store_fixture_open(&f->store);
    wait_for(&f->slow.loaded, "all are loaded");
    struct volume *volume;
    assert_int_equal(store_find(f->store.store, SLOW_ID, &volume, NULL), KELP_E_NOT_FOUND);
    assert_int_equal(store_not_loaded_count(f->store.store), 1);
    assert_int_equal(store_fixture_read(f->store.store, LAST_ID, 1, "hello"), 0);
}

/* ---- a whole server ---- */

static bool knows_last(struct fake_master *m, void *ctx)
{
    for (size_t i = 0; i < m->beat_count; i++)
        for (size_t v = 0; v < m->beats[i]->n_volumes; v++)
            if (m->beats[i]->volumes[v]->id == LAST_ID)
                return true;
    return false;
}

static bool knows_slow(struct fake_master *m, void *ctx)
{
    for (size_t i = 0; i < m->beat_count; i++)
        for (size_t v = 0; v < m->beats[i]->n_new_volumes; v++)
            if (m->beats[i]->new_volumes[v]->id == SLOW_ID) {
                *(uint64_t *)ctx = m->beats[i]->max_file_key;
                return true;
            }
    return false;
}

static int ask(struct server_fixture *server, const char *method, const char *target)
{
    char text[256];
    struct reply reply;
    int n = snprintf(text, sizeof(text),
                     "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
                     "Content-Type: text/plain\r\nContent-Length: 4\r\n\r\nblob",
                     method, target);
    data_port_exchange(volume_server_port(server->server), text, (size_t)n, &reply);
    int status = reply.status;
    if (status == 503)
        assert_non_null(reply_header(&reply, "Retry-After"));
    reply_fini(&reply);
    return status;
}

static bool metrics_say(struct server_fixture *server, const char *line)
{
    struct buffer page = BUFFER_INIT;
    metrics_print(volume_server_metrics(server->server), &page);
    bool is_said = strstr(buffer_cstr(&page), line) != NULL;
    buffer_fini(&page);
    return is_said;
}

static struct server_fixture *make_server(struct fixture *f)
{
    server_fixture_init(&f->server);
    store_fixture_remove_tree(f->server.directory);
    f->server.location.directory = f->store.directories[0];
    f->server.config.os = fault_os_get(f->store.fault);
    f->has_server = true;
    return &f->server;
}

static void a_server_answers_for_the_volumes_that_are_ready(void **state)
{
    struct fixture *f = *state;
    struct server_fixture *server = make_server(f);
    server_fixture_start(server);

    fake_master_wait(&server->master, knows_last, NULL, "the ready ones were told");
    uint64_t max_key = 0;
    pthread_mutex_lock(&server->master.lock);
    bool is_told = knows_slow(&server->master, &max_key);
    pthread_mutex_unlock(&server->master.lock);
    assert_false(is_told);
    assert_int_equal(ask(server, "GET", "/8,01637037d6"), 200);
    assert_int_equal(ask(server, "GET", "/5,01637037d6"), 503);
    assert_int_equal(ask(server, "HEAD", "/5,01637037d6"), 503);
    assert_int_equal(ask(server, "DELETE", "/5,01637037d6"), 503);
    assert_int_equal(ask(server, "POST", "/5,02637037d6?type=replicate"), 503);
    assert_int_equal(ask(server, "GET", "/9,01637037d6"), 404);
    assert_true(metrics_say(server, "kelp_volumes_loading 1\n"));

    slowness_end(&f->slow);
    fake_master_wait(&server->master, knows_slow, &max_key, "the slow one was told");
    assert_int_equal(max_key, 1);
    assert_int_equal(ask(server, "GET", "/5,01637037d6"), 200);
    assert_true(metrics_say(server, "kelp_volumes_not_loaded 0\n"));
}

#define ASK_SLOW(f, Method, METHOD, method, ...)                                                   \
    do {                                                                                           \
        VolumeServerPb__##Method##Request request = VOLUME_SERVER_PB__##METHOD##_REQUEST__INIT;    \
        __VA_ARGS__;                                                                               \
        server_fixture_expect(f, #Method, &request.base,                                           \
                              &volume_server_pb__##method##_response__descriptor,                  \
                              RPC_UNAVAILABLE, "volume 5 is still being loaded, try again");       \
    } while (0)

/* "Not found" would have a master, or a script, take it for lost. */
static void rpcs_tell_what_loads_from_what_is_not_there(void **state)
{
    struct fixture *f = *state;
    struct server_fixture *server = make_server(f);
    uint32_t ids[] = {LAST_ID, SLOW_ID};
    server_fixture_start(server);
    wait_for(&f->slow.begun, "the slow volume is being loaded");
    ASK_SLOW(server, VolumeNeedleStatus, VOLUME_NEEDLE_STATUS, volume_needle_status,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, ReadNeedleBlob, READ_NEEDLE_BLOB, read_needle_blob,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, WriteNeedleBlob, WRITE_NEEDLE_BLOB, write_needle_blob,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, VolumeStatus, VOLUME_STATUS, volume_status, request.volume_id = SLOW_ID);
    ASK_SLOW(server, VolumeSyncStatus, VOLUME_SYNC_STATUS, volume_sync_status,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, VolumeMarkReadonly, VOLUME_MARK_READONLY, volume_mark_readonly,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, VolumeMarkWritable, VOLUME_MARK_WRITABLE, volume_mark_writable,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, VacuumVolumeCheck, VACUUM_VOLUME_CHECK, vacuum_volume_check,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, VacuumVolumeCommit, VACUUM_VOLUME_COMMIT, vacuum_volume_commit,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, VacuumVolumeCleanup, VACUUM_VOLUME_CLEANUP, vacuum_volume_cleanup,
             request.volume_id = SLOW_ID);
    ASK_SLOW(server, ScrubVolume, SCRUB_VOLUME, scrub_volume, request.volume_ids = ids;
             request.n_volume_ids = 2; request.mode = VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__INDEX);
}

static void a_server_can_be_stopped_while_it_loads(void **state)
{
    struct fixture *f = *state;
    struct server_fixture *server = make_server(f);
    server->master.is_silent = true;
    assert_int_equal(volume_server_start(&server->server, &server->config, NULL), 0);
    wait_for(&f->slow.begun, "the slow volume is being loaded");
    slowness_end(&f->slow);
    server_fixture_stop(server);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_others_are_served_while_one_loads),
        TEST(what_is_not_loaded_yet_takes_its_slot),
        TEST(no_maximum_has_room_before_all_are_loaded),
        TEST(a_change_of_one_that_waits_loads_it_first),
        cmocka_unit_test(disks_take_turns),
        TEST(closing_loads_no_more),
        TEST(one_that_fails_is_not_found_any_more),
        TEST(a_server_answers_for_the_volumes_that_are_ready),
        TEST(rpcs_tell_what_loads_from_what_is_not_there),
        TEST(a_server_can_be_stopped_while_it_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
