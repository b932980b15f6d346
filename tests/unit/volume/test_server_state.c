/* Maintenance mode and its version: durable, guarded against lost updates. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "tests/fixtures/fault_os.h"
#include "volume/server_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct fixture {
    char directory[64];
    char path[96];
    struct fault_os *fault;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->directory, "/tmp/kelp-state-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    snprintf(f->path, sizeof(f->path), "%s/state.pb", f->directory);
    fault_os_create(&f->fault, os_real());
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char temporary[112];
    snprintf(temporary, sizeof(temporary), "%s.tmp", f->path);
    unlink(temporary);
    unlink(f->path);
    rmdir(f->directory);
    fault_os_destroy(f->fault);
    free(f);
    return 0;
}

static struct server_state *open_state(struct fixture *f)
{
    struct server_state *state;
    struct error err = {0};
    assert_int_equal(server_state_open(&state, fault_os_get(f->fault), f->directory, &err), 0);
    return state;
}

static void check(struct server_state *state, bool maintenance, uint32_t version)
{
    bool got_maintenance;
    uint32_t got_version;
    server_state_get(state, &got_maintenance, &got_version);
    assert_int_equal(got_maintenance, maintenance);
    assert_int_equal(got_version, version);
}

static void a_missing_file_is_the_initial_state(void **state)
{
    struct server_state *s = open_state(*state);
    check(s, false, 0);
    server_state_close(s);
}

static void a_change_survives_reopening_and_raises_the_version(void **state)
{
    struct server_state *s = open_state(*state);
    assert_int_equal(server_state_set(s, true, 0, NULL), 0);
    check(s, true, 1);
    server_state_close(s);
    s = open_state(*state);
    check(s, true, 1);
    assert_int_equal(server_state_set(s, false, 1, NULL), 0);
    check(s, false, 2);
    server_state_close(s);
}

static void the_file_is_the_peers_message(void **state)
{
    struct fixture *f = *state;
    struct server_state *s = open_state(f);
    assert_int_equal(server_state_set(s, true, 0, NULL), 0);
    server_state_close(s);
    uint8_t bytes[16];
    FILE *file = must(fopen(f->path, "r"));
    size_t size = fread(bytes, 1, sizeof(bytes), file);
    fclose(file);
    static const uint8_t expected[] = {0x08, 1, 0x10, 1}; /* 1: maintenance, 2: version */
    assert_int_equal(size, sizeof(expected));
    assert_memory_equal(bytes, expected, sizeof(expected));
    /* A field that a later version added does no harm. */
    static const uint8_t later[] = {0x10, 7, 0x18, 9};
    file = must(fopen(f->path, "w"));
    assert_int_equal(fwrite(later, 1, sizeof(later), file), sizeof(later));
    fclose(file);
    s = open_state(f);
    check(s, false, 7);
    server_state_close(s);
}

static void another_version_is_refused_in_the_words_of_the_wire(void **state)
{
    struct server_state *s = open_state(*state);
    struct error err = {0};
    assert_int_equal(server_state_set(s, true, 7, &err), KELP_E_PRECONDITION);
    assert_string_equal(err.message, "version mismatch for VolumeServerState (got 0, want 7)");
    check(s, false, 0);
    server_state_close(s);
}

static void a_failed_write_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct server_state *s = open_state(f);
    struct error err = {0};
    fault_os_fail(f->fault, FAULT_WRITE, 1, ENOSPC, true);
    assert_int_equal(server_state_set(s, true, 0, &err), KELP_E_NO_SPACE);
    assert_non_null(strstr(err.message, "failed to write store state to "));
    check(s, false, 0);
    fault_os_clear(f->fault);
    server_state_close(s);
    s = open_state(f);
    check(s, false, 0);
    server_state_close(s);
}

static void a_garbled_file_stops_the_start_and_says_what_to_do(void **state)
{
    struct fixture *f = *state;
    FILE *file = must(fopen(f->path, "w"));
    fputs("\xff\xff\xff", file);
    fclose(file);
    struct server_state *s;
    struct error err = {0};
    assert_int_equal(server_state_open(&s, os_real(), f->directory, &err), KELP_E_CORRUPT);
    assert_non_null(strstr(err.message, "remove it"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_missing_file_is_the_initial_state, setup, teardown),
        cmocka_unit_test_setup_teardown(a_change_survives_reopening_and_raises_the_version, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_file_is_the_peers_message, setup, teardown),
        cmocka_unit_test_setup_teardown(another_version_is_refused_in_the_words_of_the_wire, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failed_write_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_garbled_file_stops_the_start_and_says_what_to_do, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
