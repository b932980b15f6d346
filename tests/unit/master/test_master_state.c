/* The durable values: on a disk that can lose its power, and on one that fails. */
#include "master/master_state.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct disk_os *make_disk(void)
{
    struct disk_os *disk;
    disk_os_create(&disk, UINT64_C(1) << 20);
    os_mkdir(disk_os_get(disk), "/d", 0755);
    return disk;
}

static struct master_state *open_state(struct os *os)
{
    struct master_state *state = NULL;
    struct error err = {.message = ""};
    int code = master_state_open(&state, os, "/d/m", &err);
    if (code)
        fail_msg("open: %s", err.message);
    return state;
}

static void fresh_state_gets_an_id_and_keeps_it(void **ctx)
{
    (void)ctx;
    struct disk_os *disk = make_disk();
    struct master_values first, again;
    struct master_state *state = open_state(disk_os_get(disk));
    master_state_read(state, &first);
    assert_int_equal(strlen(first.topology_id), TOPOLOGY_ID_SIZE - 1);
    assert_int_equal(first.topology_id[14], '4');
    assert_int_equal(first.max_volume_id, 0);
    assert_int_equal(first.key_ceiling, 1);
    master_state_close(state);
    state = open_state(disk_os_get(disk));
    master_state_read(state, &again);
    assert_string_equal(first.topology_id, again.topology_id);
    master_state_close(state);
    disk_os_destroy(disk);
}

static void raised_values_survive_every_power_loss(void **ctx)
{
    (void)ctx;
    for (unsigned mode = 0; mode < DISK_OS_LOSSES; mode++) {
        struct disk_os *disk = make_disk();
        struct master_values values;
        struct master_state *state = open_state(disk_os_get(disk));
        assert_int_equal(master_state_raise(state, 7, 1000, NULL), 0);
        assert_int_equal(master_state_raise(state, 3, 2000, NULL), 0);
        disk_os_lose_power(disk, (enum disk_os_loss)mode, mode + 1);
        master_state_close(state);
        state = open_state(disk_os_get(disk));
        master_state_read(state, &values);
        assert_int_equal(values.max_volume_id, 7);
        assert_int_equal(values.key_ceiling, 2000);
        master_state_close(state);
        disk_os_destroy(disk);
    }
}

static void failed_raise_changes_nothing_and_can_be_repeated(void **ctx)
{
    (void)ctx;
    struct disk_os *disk = make_disk();
    struct fault_os *fault;
    fault_os_create(&fault, disk_os_get(disk));
    struct master_state *state = open_state(fault_os_get(fault));
    assert_int_equal(master_state_raise(state, 5, 100, NULL), 0);
    static const unsigned kinds[] = {FAULT_OPEN, FAULT_WRITE, FAULT_FSYNC, FAULT_RENAME};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct error err;
        struct master_values values;
        fault_os_clear(fault);
        fault_os_fail(fault, kinds[i], 1, EIO, false);
        assert_int_not_equal(master_state_raise(state, 6, 200, &err), 0);
        master_state_read(state, &values);
        assert_int_equal(values.max_volume_id, 5);
        assert_int_equal(values.key_ceiling, 100);
    }
    fault_os_clear(fault);
    assert_int_equal(master_state_raise(state, 6, 200, NULL), 0);
    master_state_close(state);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
}

static void nothing_to_raise_writes_nothing(void **ctx)
{
    (void)ctx;
    struct disk_os *disk = make_disk();
    struct fault_os *fault;
    fault_os_create(&fault, disk_os_get(disk));
    struct master_state *state = open_state(fault_os_get(fault));
    assert_int_equal(master_state_raise(state, 5, 100, NULL), 0);
    fault_os_clear(fault);
    assert_int_equal(master_state_raise(state, 5, 99, NULL), 0);
    assert_int_equal(fault_os_count(fault, FAULT_CHANGE), 0);
    master_state_close(state);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
}

static void settled_ceiling_is_where_the_next_start_goes_on(void **ctx)
{
    (void)ctx;
    struct disk_os *disk = make_disk();
    struct master_values values;
    struct master_state *state = open_state(disk_os_get(disk));
    assert_int_equal(master_state_raise(state, 0, UINT64_MAX - 5, NULL), 0);
    assert_int_equal(master_state_settle(state, 42, NULL), 0);
    master_state_close(state);
    state = open_state(disk_os_get(disk));
    master_state_read(state, &values);
    assert_int_equal(values.key_ceiling, 42);
    assert_int_equal(master_state_raise(state, 0, UINT64_MAX - 5, NULL), 0);
    master_state_close(state);
    state = open_state(disk_os_get(disk));
    master_state_read(state, &values);
    assert_true(values.key_ceiling == UINT64_MAX - 5);
    master_state_close(state);
    disk_os_destroy(disk);
}

static void garbled_file_is_named_and_left_alone(void **ctx)
{
    (void)ctx;
    static const char *const texts[] = {
        "",
        "{\"maxVolumeId\":3",
        "{\"maxVolumeId\":-1,\"fileKeyCeiling\":1,\"topologyId\":\"x\"}",
        "{\"maxVolumeId\":4294967296,\"fileKeyCeiling\":1,\"topologyId\":\"x\"}",
        "{\"maxVolumeId\":1,\"fileKeyCeiling\":\"1\",\"topologyId\":\"x\"}",
        "{\"maxVolumeId\":1,\"fileKeyCeiling\":1,\"topologyId\":\"x\"}",
        "[]",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct disk_os *disk = make_disk();
        struct os *os = disk_os_get(disk);
        struct master_state *state;
        struct error err;
        os_mkdir(os, "/d/m", 0755);
        assert_int_equal(
            os_replace_file(os, "/d/m/master.json", texts[i], strlen(texts[i]), NULL), 0);
        assert_int_equal(master_state_open(&state, os, "/d/m", &err), KELP_E_CORRUPT);
        assert_non_null(strstr(err.message, "/d/m/master.json"));
        disk_os_destroy(disk);
    }
}

static void missing_parent_and_second_process_say_what_to_do(void **ctx)
{
    (void)ctx;
    char directory[] = "/tmp/kelp-state-XXXXXX", path[64], deep[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/m", directory);
    snprintf(deep, sizeof(deep), "%s/none/m", directory);
    struct master_state *first, *second;
    struct error err;
    assert_int_equal(master_state_open(&first, os_real(), deep, &err), KELP_E_NOT_FOUND);
    assert_non_null(strstr(err.message, "does not exist"));
    assert_int_equal(master_state_open(&first, os_real(), path, NULL), 0);
    assert_int_equal(master_state_open(&second, os_real(), path, &err), KELP_E_BUSY);
    assert_non_null(strstr(err.message, "in use by another master"));
    master_state_close(first);
    assert_int_equal(master_state_open(&second, os_real(), path, NULL), 0);
    master_state_close(second);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_state_gets_an_id_and_keeps_it),
        cmocka_unit_test(raised_values_survive_every_power_loss),
        cmocka_unit_test(failed_raise_changes_nothing_and_can_be_repeated),
        cmocka_unit_test(nothing_to_raise_writes_nothing),
        cmocka_unit_test(settled_ceiling_is_where_the_next_start_goes_on),
        cmocka_unit_test(garbled_file_is_named_and_left_alone),
        cmocka_unit_test(missing_parent_and_second_process_say_what_to_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
