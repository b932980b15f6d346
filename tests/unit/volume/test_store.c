/* The store: locks, discovery, placement, low space, and volumes that go while they are used. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/store_fixture.h"
#include "tests/fixtures/volume_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int setup(void **state)
{
    struct store_fixture *f = calloc(1, sizeof(*f));
    store_fixture_init(f, 2);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_fini(f);
    free(f);
    return 0;
}

static bool has_file(struct store_fixture *f, size_t disk, const char *name)
{
    char path[256];
    struct stat stat_buf;
    snprintf(path, sizeof(path), "%s/%s", f->directories[disk], name);
    return stat(path, &stat_buf) == 0;
}

static void write_file(struct store_fixture *f, size_t disk, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", f->directories[disk], name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* ---- opening ---- */

static void assert_refused(struct store_fixture *f, int code, const char *text)
{
    struct store *store;
    struct error err = {0};
    assert_int_equal(store_open(&store, &f->config, &err), code);
    if (!strstr(err.message, text))
        fail_msg("\"%s\" is not in \"%s\"", text, err.message);
}

static void a_directory_in_use_is_refused(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_refused(f, KELP_E_BUSY, "stop the other one");
    store_fixture_close(f);
    store_fixture_open(f); /* and free again after closing */
}

static void a_directory_named_twice_is_refused(void **state)
{
    struct store_fixture *f = *state;
    f->locations[1].directory = f->directories[0];
    assert_refused(f, KELP_E_BUSY, "name no directory twice");
}

static void a_missing_directory_is_refused(void **state)
{
    struct store_fixture *f = *state;
    f->locations[1].directory = "/tmp/kelp-there-is-no-such-directory";
    assert_refused(f, KELP_E_NOT_FOUND, "create it, or correct -dir");
}

static void a_file_instead_of_a_directory_is_refused(void **state)
{
    struct store_fixture *f = *state;
    f->locations[1].directory = "/etc/passwd";
    assert_refused(f, KELP_E_INVALID, "is not a directory");
}

static void a_directory_without_write_permission_is_refused(void **state)
{
    struct store_fixture *f = *state;
    fault_os_fail(f->fault, FAULT_OPEN, 1, EACCES, true);
    fault_os_only(f->fault, "vol_dir.probe");
    assert_refused(f, KELP_E_DENIED, "is not writable: give the user");
}

static void no_directory_is_refused(void **state)
{
    struct store_fixture *f = *state;
    f->config.location_count = 0;
    assert_refused(f, KELP_E_INVALID, "-dir");
}

static void the_uuid_is_made_once_and_kept(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    char uuid[40];
    strcpy(uuid, disk_location_uuid(store_location(f->store, 0)));
    assert_int_equal(strlen(uuid), 36);
    assert_int_equal(uuid[14], '4');
    assert_string_not_equal(uuid, disk_location_uuid(store_location(f->store, 1)));
    store_fixture_close(f);
    char path[256];
    struct stat st;
    snprintf(path, sizeof(path), "%s/vol_dir.uuid", f->directories[0]);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 36); /* no newline */
    assert_int_equal(st.st_mode & 0777, 0644);
    store_fixture_open(f);
    assert_string_equal(uuid, disk_location_uuid(store_location(f->store, 0)));
    store_fixture_close(f);
    write_file(f, 0, "vol_dir.uuid", ""); /* an empty one is none */
    store_fixture_open(f);
    assert_int_equal(strlen(disk_location_uuid(store_location(f->store, 0))), 36);
    assert_string_not_equal(uuid, disk_location_uuid(store_location(f->store, 0)));
}

static void leftovers_are_removed_at_the_start(void **state)
{
    struct store_fixture *f = *state;
    write_file(f, 0, "3.idx.tmp", "half of it");
    write_file(f, 0, "4.idx.tmp", "half of it");
    char path[256];
    snprintf(path, sizeof(path), "%s/3.idx.tmp", f->directories[0]);
    struct timespec times[2] = {{.tv_sec = time(NULL) - 25 * 3600}, {.tv_sec = time(NULL) - 25 * 3600}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    /* What an EC encode leaves: a super block, an empty .idx, the .vif of the shards. */
    write_file(f, 0, "5.dat", "\3\1\1\1\1\1\1\1");
    write_file(f, 0, "5.idx", "");
    write_file(f, 0, "5.vif", "{\"ecShardConfig\": {\"dataShards\": 10, \"parityShards\": 4}}");
    store_fixture_open(f);
    assert_false(has_file(f, 0, "3.idx.tmp"));
    assert_true(has_file(f, 0, "4.idx.tmp")); /* somebody may be writing it */
    assert_false(has_file(f, 0, "5.dat") || has_file(f, 0, "5.idx"));
    assert_true(has_file(f, 0, "5.vif"));
    assert_null(store_acquire(f->store, 5));
}

/* ---- discovery ---- */

static void volumes_are_found_again_with_their_blobs(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    for (uint32_t id = 1; id <= 6; id++) {
        assert_int_equal(store_fixture_allocate(f, id, id % 2 ? "" : "my_pics", NULL), 0);
        store_fixture_put(f->store, id, 77, 5, "hello");
    }
    store_fixture_close(f);
    store_fixture_open(f);
    assert_int_equal(store_volume_count(f->store), 6);
    for (uint32_t id = 1; id <= 6; id++)
        assert_int_equal(store_fixture_read(f->store, id, 77, "hello"), 0);
    struct volume *volume = store_acquire(f->store, 2);
    assert_string_equal(volume_collection(volume), "my_pics");
    store_release(f->store, volume);
}

static void index_files_may_live_in_one_directory_of_their_own(void **state)
{
    struct store_fixture *f = *state;
    char index[96], path[128];
    snprintf(index, sizeof(index), "%s/index", f->root);
    assert_int_equal(mkdir(index, 0755), 0);
    f->config.index_directory = index;
    store_fixture_open(f);
    for (uint32_t id = 1; id <= 4; id++) {
        assert_int_equal(store_fixture_allocate(f, id, "", NULL), 0);
        store_fixture_put(f->store, id, 77, 5, "hello");
    }
    store_fixture_close(f);
    assert_false(has_file(f, 0, "1.idx") || has_file(f, 1, "2.idx"));
    store_fixture_open(f);
    for (uint32_t id = 1; id <= 4; id++)
        assert_int_equal(store_fixture_read(f->store, id, 77, "hello"), 0);
    assert_int_equal(store_delete_volume(f->store, 1, STORE_DELETE_ALWAYS, NULL), 0);
    snprintf(path, sizeof(path), "%s/1.idx", index);
    assert_int_not_equal(access(path, F_OK), 0);
    f->config.index_directory = "/tmp/kelp-there-is-no-such-directory";
    store_fixture_close(f);
    assert_refused(f, KELP_E_NOT_FOUND, "-dir.idx");
}

static void what_is_no_volume_is_left_alone(void **state)
{
    struct store_fixture *f = *state;
    write_file(f, 0, "_7.idx", "");
    write_file(f, 0, "notes.idx", "");
    write_file(f, 0, "12.vif", "{}"); /* without .dat */
    write_file(f, 0, "13.dat", "");   /* without .idx and .vif */
    store_fixture_open(f);
    assert_int_equal(store_volume_count(f->store), 0);
    assert_true(has_file(f, 0, "_7.idx") && has_file(f, 0, "12.vif") && has_file(f, 0, "13.dat"));
}

static void a_garbled_volume_does_not_stop_the_others(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 1, "", NULL), 0);
    store_fixture_put(f->store, 1, 77, 5, "hello");
    store_fixture_close(f);
    write_file(f, 0, "9.dat", "this is no super block at all");
    write_file(f, 0, "9.idx", "");
    store_fixture_open(f);
    assert_int_equal(store_fixture_read(f->store, 1, 77, "hello"), 0);
    assert_null(store_acquire(f->store, 9));
    assert_true(has_file(f, 0, "9.dat"));
}

static void a_disk_that_cannot_be_listed_does_not_stop_the_others(void **state)
{
    struct store_fixture f;
    struct error err = {0};
    store_fixture_init(&f, 2);
    store_fixture_open(&f);
    assert_int_equal(store_fixture_allocate(&f, 1, "", NULL), 0);
    assert_int_equal(store_fixture_allocate(&f, 2, "", NULL), 0);
    store_fixture_put(f.store, 2, 77, 5, "hello");
    store_fixture_close(&f);
    fault_os_fail(f.fault, FAULT_LIST, 1, EIO, true);
    fault_os_only(f.fault, "disk0");
    store_fixture_open(&f);
    assert_int_equal(store_fixture_read(f.store, 2, 77, "hello"), 0);
    assert_null(store_acquire(f.store, 1));
    store_fixture_close(&f);
    fault_os_fail(f.fault, FAULT_LIST, 1, EIO, true);
    assert_int_equal(store_open(&f.store, &f.config, &err), KELP_E_IO);
    fault_os_clear(f.fault);
    store_fixture_fini(&f);
}

static void a_copy_that_was_cut_off_is_removed(void **state)
{
    struct store_fixture *f = *state;
    write_file(f, 0, "9.dat", "half");
    write_file(f, 0, "9.idx", "");
    write_file(f, 0, "9.note", "copying from elsewhere");
    store_fixture_open(f);
    assert_null(store_acquire(f->store, 9));
    assert_false(has_file(f, 0, "9.dat") || has_file(f, 0, "9.idx") || has_file(f, 0, "9.note"));
}

static void one_id_on_two_disks_is_two_copies(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 1, "", NULL), 0);
    store_fixture_put(f->store, 1, 77, 5, "hello");
    store_fixture_close(f);
    char command[512];
    snprintf(command, sizeof(command), "cp %s/1.* %s/", f->directories[0], f->directories[1]);
    assert_int_equal(system(command), 0);
    store_fixture_open(f);
    assert_int_equal(store_volume_count(f->store), 2);
    struct volume *volume = store_acquire(f->store, 1);
    assert_int_equal(disk_location_id(store_location_of(f->store, volume)), 0);
    store_release(f->store, volume);
    f->announced[0] = '\0';
    assert_int_equal(store_delete_volume(f->store, 1, STORE_DELETE_ALWAYS, NULL), 0);
    assert_string_equal(f->announced, "-1 -1 ");
    assert_false(has_file(f, 0, "1.dat") || has_file(f, 1, "1.dat"));
}

/* ---- allocate ---- */

static void new_volumes_go_where_there_are_fewest(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    for (uint32_t id = 1; id <= 4; id++)
        assert_int_equal(store_fixture_allocate(f, id, "", NULL), 0);
    assert_int_equal(store_location_volume_count(f->store, store_location(f->store, 0)), 2);
    assert_int_equal(store_location_volume_count(f->store, store_location(f->store, 1)), 2);
    assert_string_equal(f->announced, "+1 +2 +3 +4 ");
}

static void allocate_refuses_what_it_must(void **state)
{
    struct store_fixture *f = *state;
    f->locations[0].max_volumes = f->locations[1].max_volumes = 1;
    f->locations[1].disk_type = "ssd";
    store_fixture_open(f);
    struct error err = {0};
    assert_int_equal(store_fixture_allocate(f, 1, "", &err), 0);
    assert_int_equal(store_fixture_allocate(f, 1, "", &err), KELP_E_EXISTS);
    assert_string_equal(err.message, "Volume Id 1 already exists!");
    assert_int_equal(store_fixture_allocate(f, 2, "", &err), KELP_E_NO_SPACE);
    assert_string_equal(err.message, "No more free space left");
    struct store_allocate ssd = {.id = 3, .collection = "", .disk_type = "SSD"};
    assert_int_equal(store_allocate_volume(f->store, &ssd, &err), 0);
    assert_int_equal(store_fixture_allocate(f, 4, "../x", &err), KELP_E_INVALID);
    assert_int_equal(store_fixture_allocate(f, 4, "..", &err), KELP_E_INVALID);
}

static void a_disk_low_on_space_takes_no_volume_and_writes_stop(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 1, "", NULL), 0);
    store_fixture_close(f);
    f->locations[0].min_free_bytes = f->locations[1].min_free_bytes = UINT64_MAX / 2;
    store_fixture_open(f);
    struct volume *volume = store_acquire(f->store, 1);
    struct volume_stat stat;
    volume_stat(volume, &stat);
    store_release(f->store, volume);
    assert_int_equal(stat.read_only, VOLUME_RO_LOW_SPACE);
    struct error err = {0};
    assert_int_equal(store_fixture_allocate(f, 2, "", &err), KELP_E_NO_SPACE);
    /* The master is told that nothing more fits. */
    assert_int_equal(store_location_max(f->store, store_location(f->store, 0)), 1);
    assert_int_equal(store_location_max(f->store, store_location(f->store, 1)), 0);
}

static atomic_uint_fast64_t free_bytes;

static int shown_space(struct os *os, const char *path, struct os_space *ret)
{
    *ret = (struct os_space){.total_bytes = 1 << 30, .free_bytes = atomic_load(&free_bytes)};
    return 0;
}

/* The probe comes once an hour here: uploads must not have filled the disk up by then. */
static void a_disk_that_fills_up_is_noticed_before_the_next_probe(void **state)
{
    struct store_fixture *f = *state;
    struct os_ops ops = *os_real()->ops;
    struct os os = {&ops};
    ops.space = shown_space;
    atomic_store(&free_bytes, 8 << 20);
    f->config.os = &os;
    f->locations[0].min_free_bytes = f->locations[1].min_free_bytes = 1 << 16;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 1, "", NULL), 0);
    struct volume *volume = store_acquire(f->store, 1);
    struct volume_stat stat;
    volume_stat(volume, &stat);
    assert_int_equal(stat.read_only, 0);
    atomic_store(&free_bytes, (1 << 16) - 1);
    int64_t deadline = os_monotonic_ns(os_real()) + 10000000000;
    do {
        volume_stat(volume, &stat);
        usleep(1000);
    } while (stat.read_only == 0 && os_monotonic_ns(os_real()) < deadline);
    assert_int_equal(stat.read_only, VOLUME_RO_LOW_SPACE);
    atomic_store(&free_bytes, 8 << 20);
    store_probe(f->store);
    volume_stat(volume, &stat);
    assert_int_equal(stat.read_only, 0);
    store_release(f->store, volume);
    store_fixture_close(f);
}

static struct store *_Atomic probed;

static int open_amid_a_probe(struct os *os, const char *path, int flags, unsigned mode)
{
    struct store *store = strstr(path, "/1.dat") ? atomic_exchange(&probed, NULL) : NULL;
    if (store) {
        atomic_store(&free_bytes, (1 << 16) - 1);
        store_probe(store);
    }
    return os_open(os_real(), path, flags, mode);
}

static void a_disk_that_fills_up_while_a_volume_is_opened_is_noticed(void **state)
{
    struct store_fixture *f = *state;
    struct os_ops ops = *os_real()->ops;
    struct os os = {&ops};
    ops.space = shown_space;
    ops.open = open_amid_a_probe;
    f->config.os = &os;
    f->locations[0].min_free_bytes = f->locations[1].min_free_bytes = 1 << 16;
    for (int is_mount = 0; is_mount < 2; is_mount++) {
        struct volume_stat stat;
        atomic_store(&free_bytes, 8 << 20);
        store_fixture_open(f);
        if (is_mount)
            store_unmount_volume(f->store, 1, NULL);
        atomic_store(&probed, f->store);
        assert_int_equal(is_mount ? store_mount_volume(f->store, 1, NULL, NULL)
                                  : store_fixture_allocate(f, 1, "", NULL), 0);
        struct volume *volume = store_acquire(f->store, 1);
        volume_stat(volume, &stat);
        store_release(f->store, volume);
        assert_int_equal(stat.read_only, VOLUME_RO_LOW_SPACE);
        store_fixture_close(f);
    }
}

static void a_disk_that_does_not_answer_becomes_unavailable_and_comes_back(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    struct disk_location *location = store_location(f->store, 0);
    struct disk_space space;
    fault_os_fail(f->fault, FAULT_SPACE, 1, EIO, true);
    store_probe(f->store);
    disk_location_space(location, &space);
    assert_false(space.is_unavailable); /* a glitch is forgiven */
    store_probe(f->store);
    store_probe(f->store);
    disk_location_space(location, &space);
    assert_true(space.is_unavailable);
    assert_int_equal(store_location_max(f->store, location), 0);
    fault_os_clear(f->fault);
    store_probe(f->store);
    assert_int_equal(store_location_max(f->store, location), 8);
}

static void an_automatic_maximum_follows_free_space_and_limit(void **state)
{
    struct store_fixture *f = *state;
    f->config.location_count = 1;
    f->locations[0].max_volumes = 0;
    store_fixture_open(f);
    struct disk_location *location = store_location(f->store, 0);
    assert_int_equal(store_location_max(f->store, location), 0);
    struct disk_space space;
    disk_location_space(location, &space);
    uint64_t limit = space.free_bytes / 10;
    assert_true(store_set_limits(f->store, limit, false));
    assert_int_equal(store_location_max(f->store, location), 10);
    assert_false(store_set_limits(f->store, limit, false));
    assert_int_equal(store_fixture_allocate(f, 1, "", NULL), 0);
    store_resize_automatic(f->store); /* its growth is set aside: 1 held + 9 that fit */
    assert_int_equal(store_location_max(f->store, location), 10);
}

/* ---- mount, unmount, delete ---- */

static void unmounted_volumes_can_be_mounted_again(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "pics", NULL), 0);
    store_fixture_put(f->store, 3, 77, 5, "hello");
    assert_int_equal(store_unmount_volume(f->store, 3, NULL), 0);
    assert_null(store_acquire(f->store, 3));
    assert_int_equal(store_unmount_volume(f->store, 3, NULL), 0);
    assert_int_equal(store_mount_volume(f->store, 3, NULL, NULL), 0);
    assert_int_equal(store_mount_volume(f->store, 3, NULL, NULL), 0); /* announced again */
    assert_int_equal(store_fixture_read(f->store, 3, 77, "hello"), 0);
    assert_string_equal(f->announced, "+3 -3 +3 +3 ");
    struct error err = {0};
    assert_int_equal(store_mount_volume(f->store, 4, NULL, &err), KELP_E_NOT_FOUND);
    assert_string_equal(err.message, "volume 4 not found on disk");
}

static void mount_prefers_the_collection_that_is_named(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "a", NULL), 0);
    assert_int_equal(store_unmount_volume(f->store, 3, NULL), 0);
    assert_int_equal(store_fixture_allocate(f, 3, "b", NULL), 0);
    assert_int_equal(store_unmount_volume(f->store, 3, NULL), 0);
    assert_int_equal(store_mount_volume(f->store, 3, "b", NULL), 0);
    struct volume *volume = store_acquire(f->store, 3);
    assert_string_equal(volume_collection(volume), "b");
    store_release(f->store, volume);
    assert_int_equal(store_unmount_volume(f->store, 3, NULL), 0);
    assert_int_equal(store_mount_volume(f->store, 3, "no such", NULL), 0);
}

static void delete_obeys_its_rule(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    struct error err = {0};
    assert_int_equal(store_delete_volume(f->store, 3, 0, &err), KELP_E_NOT_FOUND);
    assert_string_equal(err.message, "delete volume 3 not found on disk");
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    assert_int_equal(store_delete_volume(f->store, 3, STORE_DELETE_ONLY_GARBAGE, &err),
                     KELP_E_PRECONDITION);
    assert_string_equal(err.message, "DeleteVolume 3: volume not empty");
    store_fixture_put(f->store, 3, 77, 5, "hello");
    assert_int_equal(store_delete_volume(f->store, 3, STORE_DELETE_ONLY_EMPTY, &err),
                     KELP_E_PRECONDITION);
    assert_int_equal(
        store_delete_volume(f->store, 3, STORE_DELETE_ONLY_EMPTY | STORE_DELETE_ONLY_GARBAGE, &err),
        KELP_E_PRECONDITION);
    assert_int_equal(store_fixture_read(f->store, 3, 77, "hello"), 0);
    assert_int_equal(store_delete_volume(f->store, 3, STORE_DELETE_ALWAYS, &err), 0);
    assert_false(has_file(f, 0, "3.dat") || has_file(f, 0, "3.idx") || has_file(f, 0, "3.vif"));
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    assert_int_equal(store_delete_volume(f->store, 3, STORE_DELETE_ONLY_EMPTY, &err), 0);
}

static void deleting_a_collection_spares_the_others(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    for (uint32_t id = 1; id <= 4; id++)
        assert_int_equal(store_fixture_allocate(f, id, id % 2 ? "" : "pics", NULL), 0);
    assert_int_equal(store_delete_collection(f->store, "unknown", NULL), 0);
    assert_int_equal(store_volume_count(f->store), 4);
    assert_int_equal(store_delete_collection(f->store, "", NULL), 0);
    assert_int_equal(store_volume_count(f->store), 2);
    assert_int_equal(store_delete_collection(f->store, "pics", NULL), 0);
    assert_int_equal(store_volume_count(f->store), 0);
}

static void rescan_mounts_what_has_appeared(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    assert_int_equal(store_unmount_volume(f->store, 3, NULL), 0);
    f->announced[0] = '\0';
    store_rescan(f->store);
    store_rescan(f->store);
    assert_string_equal(f->announced, "+3 ");
}

/* ---- in use ---- */

struct unmounter {
    struct store_fixture *f;
    atomic_bool is_done;
};

static void *unmount_main(void *arg)
{
    struct unmounter *u = arg;
    store_unmount_volume(u->f->store, 3, NULL);
    atomic_store(&u->is_done, true);
    return NULL;
}

static void a_volume_in_use_is_not_closed_before_its_release(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    store_fixture_put(f->store, 3, 77, 5, "hello");
    struct volume *volume = store_acquire(f->store, 3);
    assert_false(store_is_leaving(f->store, volume));
    struct unmounter unmounter = {.f = f};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, unmount_main, &unmounter), 0);
    /* New users no longer find it; that is the moment to look at what the old one sees. */
    struct volume *other;
    while ((other = store_acquire(f->store, 3)) != NULL)
        store_release(f->store, other);
    assert_true(store_is_leaving(f->store, volume));
    struct volume_read read;
    assert_int_equal(volume_read_begin(volume, 77, false, &read, NULL), 0);
    volume_read_end(&read);
    assert_int_equal(disk_location_id(store_location_of(f->store, volume)), 0);
    assert_false(atomic_load(&unmounter.is_done));
    store_release(f->store, volume);
    pthread_join(thread, NULL);
    assert_true(atomic_load(&unmounter.is_done));
    assert_int_equal(store_mount_volume(f->store, 3, NULL, NULL), 0);
}

static void *churn_main(void *arg)
{
    struct store_fixture *f = arg;
    for (int i = 0; i < 40; i++) {
        store_unmount_volume(f->store, 3, NULL);
        store_mount_volume(f->store, 3, NULL, NULL);
        f->announced[0] = '\0';
    }
    return NULL;
}

struct deleter {
    struct store_fixture *f;
    int code;
};

static void *delete_if_empty_main(void *arg)
{
    struct deleter *deleter = arg;
    deleter->code = store_delete_volume(deleter->f->store, 3, STORE_DELETE_ONLY_EMPTY, NULL);
    return NULL;
}

static void a_write_under_way_saves_an_empty_volume(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    struct volume *volume = store_acquire(f->store, 3), *other;
    struct deleter deleter = {.f = f};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, delete_if_empty_main, &deleter), 0);
    while ((other = store_acquire(f->store, 3)) != NULL)
        store_release(f->store, other);
    /* It was found empty, and waits for its last user: who writes, and is told that it is safe. */
    struct needle needle = fixture_needle(77, 5, "hello", 5);
    assert_int_equal(
        fixture_put(store_append_queue(f->store, volume), volume, &needle, true).code, 0);
    store_release(f->store, volume);
    pthread_join(thread, NULL);
    assert_int_equal(deleter.code, KELP_E_PRECONDITION);
    assert_int_equal(store_fixture_read(f->store, 3, 77, "hello"), 0);
    assert_string_equal(f->announced, "+3 -3 +3 ");
}

static void users_and_changes_do_not_disturb_each_other(void **state)
{
    struct store_fixture *f = *state;
    store_fixture_open(f);
    assert_int_equal(store_fixture_allocate(f, 3, "", NULL), 0);
    store_fixture_put(f->store, 3, 77, 5, "hello");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, churn_main, f), 0);
    for (int i = 0; i < 5000; i++) {
        int code = store_fixture_read(f->store, 3, 77, "hello");
        assert_true(code == 0 || code == KELP_E_NOT_FOUND);
    }
    pthread_join(thread, NULL);
    assert_int_equal(store_fixture_read(f->store, 3, 77, "hello"), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_directory_in_use_is_refused),
        TEST(a_directory_named_twice_is_refused),
        TEST(a_missing_directory_is_refused),
        TEST(a_file_instead_of_a_directory_is_refused),
        TEST(a_directory_without_write_permission_is_refused),
        TEST(no_directory_is_refused),
        TEST(the_uuid_is_made_once_and_kept),
        TEST(leftovers_are_removed_at_the_start),
        TEST(volumes_are_found_again_with_their_blobs),
        TEST(index_files_may_live_in_one_directory_of_their_own),
        TEST(what_is_no_volume_is_left_alone),
        TEST(a_garbled_volume_does_not_stop_the_others),
        cmocka_unit_test(a_disk_that_cannot_be_listed_does_not_stop_the_others),
        TEST(a_copy_that_was_cut_off_is_removed),
        TEST(one_id_on_two_disks_is_two_copies),
        TEST(new_volumes_go_where_there_are_fewest),
        TEST(allocate_refuses_what_it_must),
        TEST(a_disk_low_on_space_takes_no_volume_and_writes_stop),
        TEST(a_disk_that_fills_up_is_noticed_before_the_next_probe),
        TEST(a_disk_that_fills_up_while_a_volume_is_opened_is_noticed),
        TEST(a_disk_that_does_not_answer_becomes_unavailable_and_comes_back),
        TEST(an_automatic_maximum_follows_free_space_and_limit),
        TEST(unmounted_volumes_can_be_mounted_again),
        TEST(mount_prefers_the_collection_that_is_named),
        TEST(delete_obeys_its_rule),
        TEST(deleting_a_collection_spares_the_others),
        TEST(rescan_mounts_what_has_appeared),
        TEST(a_volume_in_use_is_not_closed_before_its_release),
        TEST(a_write_under_way_saves_an_empty_volume),
        TEST(users_and_changes_do_not_disturb_each_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
