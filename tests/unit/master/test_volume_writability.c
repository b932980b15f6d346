/* When a volume is on the writable list, and when it is not. The limit of the fixture is 100 MiB. */
#include "tests/unit/master/topology_fixture.h"

static struct volume_record sized(uint32_t id, uint64_t mebibytes)
{
    return (struct volume_record){.id = id, .size = mebibytes * MEBIBYTE, .version = 3};
}

static void needs_all_copies_and_not_more(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = sized(1, 1);
    v.replica_placement = 1;
    struct data_node *a = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct data_node *b = fixture_add_node(f, "dc", "r", "10.0.0.2", 10);
    struct data_node *c = fixture_add_node(f, "dc", "r", "10.0.0.3", 10);
    fixture_send_full(f, a, &v, 1);
    assert_false(fixture_is_writable(f, 1));
    fixture_send_full(f, b, &v, 1);
    assert_true(fixture_is_writable(f, 1));
    fixture_send_full(f, c, &v, 1);
    assert_false(fixture_is_writable(f, 1));
    fixture_unregister(f, c); /* exactly replicated again: no need to wait for a mention */
    assert_true(fixture_is_writable(f, 1));
    fixture_unregister(f, a);
    assert_false(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void more_copies_are_fine_as_minimums(void **state)
{
    struct topology_options options;
    topology_options_default(&options);
    options.treat_replication_as_minimums = true;
    struct fixture *f = fixture_create_with(&options);
    struct volume_record v = sized(1, 1);
    fixture_send_full(f, fixture_add_node(f, "dc", "r", "10.0.0.1", 10), &v, 1);
    fixture_send_full(f, fixture_add_node(f, "dc", "r", "10.0.0.2", 10), &v, 1);
    assert_true(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void two_nodes_at_one_address_are_one_copy(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = sized(1, 1);
    fixture_send_full(f, fixture_add_node(f, "dc", "r1", "10.0.0.1", 10), &v, 1);
    fixture_send_full(f, fixture_add_node(f, "dc", "r2", "10.0.0.1", 10), &v, 1);
    assert_true(fixture_is_writable(f, 1));
    assert_int_equal(fixture_lookup_count(f, 1), 1);
    fixture_destroy(f);
}

static void follows_read_only_reports(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 1);
    fixture_send_full(f, n, &v, 1);
    assert_int_equal(fixture_usage(f).active, 1);
    v.read_only = true;
    fixture_send_changed(f, n, &v, 1);
    assert_false(fixture_is_writable(f, 1));
    assert_int_equal(fixture_usage(f).active, 0);
    v.read_only = false;
    fixture_send_changed(f, n, &v, 1);
    assert_true(fixture_is_writable(f, 1));
    assert_int_equal(fixture_usage(f).active, 1);
    fixture_destroy(f);
}

static void maintenance_takes_its_volumes_and_slots_away(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 1);
    struct heartbeat state_beat = {.ip = "x", .has_state = true, .is_in_maintenance = true};
    fixture_send_full(f, n, &v, 1);
    assert_int_equal(topology_free_slots(f->t, "hdd"), 9);
    fixture_beat(f, n, &state_beat);
    assert_false(fixture_is_writable(f, 1));
    assert_int_equal(topology_free_slots(f->t, "hdd"), 0);
    assert_int_equal(place_free_slots(topology_root(f->t)), 9); /* what is shown does not change */
    assert_int_equal(fixture_lookup_count(f, 1), 1);
    state_beat.is_in_maintenance = false;
    fixture_beat(f, n, &state_beat);
    assert_true(fixture_is_writable(f, 1));
    assert_int_equal(topology_free_slots(f->t, "hdd"), 9);
    fixture_destroy(f);
}

static void a_mark_holds_until_a_younger_report(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 1);
    struct volume_option any = {0};
    fixture_send_full(f, n, &v, 1);
    assert_false(topology_mark_read_only(f->t, 1, &any, "10.0.0.1", 1, true));
    assert_true(topology_mark_read_only(f->t, 1, &any, "10.0.0.1", 8080, true));
    assert_false(fixture_is_writable(f, 1));
    fixture_send_changed(f, n, &v, 1); /* was under way when the mark came */
    assert_false(fixture_is_writable(f, 1));
    f->now_ns += 10 * SECOND;
    fixture_send_changed(f, n, &v, 1);
    assert_true(fixture_is_writable(f, 1));
    topology_mark_read_only(f->t, 1, &any, "10.0.0.1", 8080, true);
    assert_true(topology_mark_read_only(f->t, 1, &any, "10.0.0.1", 8080, false));
    assert_true(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void oversized_by_report_is_not_writable(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 99);
    fixture_send_full(f, n, &v, 1);
    assert_true(fixture_is_writable(f, 1));
    v = sized(1, 100);
    fixture_send_changed(f, n, &v, 1);
    assert_false(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void full_by_estimate_rests_thirty_seconds(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 1);
    struct volume_option any = {0};
    struct volume_pick pick;
    fixture_send_full(f, n, &v, 1);
    assert_int_equal(volume_pick_for_write(f->t, &any, 200, 0, &pick, NULL), 0);
    assert_false(fixture_is_writable(f, 1));
    assert_int_equal(fixture_usage(f).active, 0);
    f->now_ns += 13 * SECOND;
    v.modified_at_second++;
    fixture_send_changed(f, n, &v, 1); /* estimate halves: 101 of 100 MiB */
    f->now_ns += 13 * SECOND;
    fixture_send_changed(f, n, &v, 1); /* 51 MiB, but still resting */
    assert_false(fixture_is_writable(f, 1));
    f->now_ns += 13 * SECOND;
    fixture_send_changed(f, n, &v, 1);
    assert_true(fixture_is_writable(f, 1));
    assert_int_equal(fixture_usage(f).active, 1);
    fixture_destroy(f);
}

static void stays_off_while_the_estimate_is_above_the_limit(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 1);
    struct volume_option any = {0};
    struct volume_pick pick;
    fixture_send_full(f, n, &v, 1);
    volume_pick_for_write(f->t, &any, 800, 0, &pick, NULL);
    f->now_ns += 31 * SECOND;
    fixture_send_changed(f, n, &v, 1); /* rested, but 401 of 100 MiB are still expected */
    assert_false(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void the_scan_halves_estimates_of_quiet_volumes(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 0);
    struct volume_option any = {0};
    struct volume_pick pick;
    fixture_send_full(f, n, &v, 1);
    volume_pick_for_write(f->t, &any, 40, 0, &pick, NULL);
    assert_int_equal(topology_pending_bytes(f->t, 1), 40 * MEBIBYTE);
    topology_scan_capacity(f->t);
    assert_int_equal(topology_pending_bytes(f->t, 1), 20 * MEBIBYTE);
    volume_pick_for_write(f->t, &any, 200, 0, &pick, NULL);
    assert_false(fixture_is_writable(f, 1));
    for (int i = 0; i < 4; i++, f->now_ns += 10 * SECOND)
        topology_scan_capacity(f->t);
    assert_true(topology_pending_bytes(f->t, 1) < 20 * MEBIBYTE);
    topology_scan_capacity(f->t);
    assert_true(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void crowded_above_nine_tenths(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v[] = {sized(1, 90), sized(2, 91)};
    struct volume_layout_info info;
    fixture_send_full(f, n, v, 2);
    volume_layout_info(topology_layout(f->t, 0), &info);
    assert_int_equal(info.writable_count, 2);
    assert_int_equal(info.crowded_count, 1);
    v[1] = sized(2, 10);
    f->now_ns += 5 * SECOND;
    fixture_send_full(f, n, v, 2);
    volume_layout_info(topology_layout(f->t, 0), &info);
    assert_int_equal(info.crowded_count, 0);
    fixture_destroy(f);
}

static void a_vacuum_holds_the_volume_until_its_end(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 100);
    struct vacuum_outcome committed = {.is_committed = true, .size = 10 * MEBIBYTE};
    struct vacuum_outcome cleaned = {0};
    fixture_send_full(f, n, &v, 1);
    assert_false(topology_begin_vacuum(f->t, 77));
    assert_true(topology_begin_vacuum(f->t, 1));
    fixture_send_changed(f, n, &v, 1);
    assert_false(fixture_is_writable(f, 1));
    topology_end_vacuum(f->t, 1, &committed); /* the record still says 100 MiB */
    assert_true(fixture_is_writable(f, 1));
    topology_scan_capacity(f->t);
    assert_true(fixture_is_writable(f, 1));
    v = sized(1, 10);
    v.compact_revision = 1;
    fixture_send_changed(f, n, &v, 1);
    f->now_ns += 21 * SECOND;
    topology_scan_capacity(f->t);
    assert_true(fixture_is_writable(f, 1));

    assert_true(topology_begin_vacuum(f->t, 1));
    assert_false(fixture_is_writable(f, 1));
    topology_end_vacuum(f->t, 1, &cleaned); /* nothing changed: back at once */
    assert_true(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void a_vacuum_that_did_not_shrink_enough_leaves_it_unwritable(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 120);
    struct vacuum_outcome outcome = {.is_committed = true, .size = 110 * MEBIBYTE};
    fixture_send_full(f, n, &v, 1);
    topology_begin_vacuum(f->t, 1);
    topology_end_vacuum(f->t, 1, &outcome);
    assert_false(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_all_copies_and_not_more),
        cmocka_unit_test(more_copies_are_fine_as_minimums),
        cmocka_unit_test(two_nodes_at_one_address_are_one_copy),
        cmocka_unit_test(follows_read_only_reports),
        cmocka_unit_test(maintenance_takes_its_volumes_and_slots_away),
        cmocka_unit_test(a_mark_holds_until_a_younger_report),
        cmocka_unit_test(oversized_by_report_is_not_writable),
        cmocka_unit_test(full_by_estimate_rests_thirty_seconds),
        cmocka_unit_test(stays_off_while_the_estimate_is_above_the_limit),
        cmocka_unit_test(the_scan_halves_estimates_of_quiet_volumes),
        cmocka_unit_test(crowded_above_nine_tenths),
        cmocka_unit_test(a_vacuum_holds_the_volume_until_its_end),
        cmocka_unit_test(a_vacuum_that_did_not_shrink_enough_leaves_it_unwritable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
