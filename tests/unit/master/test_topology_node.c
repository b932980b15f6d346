/* Identity, directory uuids, streams, detachment. */
#include "tests/unit/master/topology_fixture.h"

static struct heartbeat hello(const char *ip, const char *id, const char *const *uuid)
{
    return (struct heartbeat){.ip = ip,
                              .port = 8080,
                              .id = id,
                              .location_uuids = uuid,
                              .location_uuid_count = uuid ? 1 : 0,
                              .has_no_volumes = true};
}

static void missing_names_have_defaults(void **state)
{
    struct fixture *f = fixture_create();
    struct heartbeat h = hello("10.0.0.1", "  ", NULL);
    struct data_node *n;
    struct data_node_info info;
    assert_int_equal(fixture_register(f, &h, &n), 0);
    data_node_info(n, &info);
    assert_string_equal(info.id, "10.0.0.1:8080");
    assert_string_equal(info.data_center, "DefaultDataCenter");
    assert_string_equal(info.rack, "DefaultRack");
    assert_int_equal(info.grpc_port, 18080);
    assert_true(info.is_attached);
    h.ip = "::1";
    assert_int_equal(fixture_register(f, &h, &n), 0);
    data_node_info(n, &info);
    assert_string_equal(info.url, "[::1]:8080");
    h.ip = "";
    assert_int_equal(fixture_register(f, &h, &n), KELP_E_INVALID);
    fixture_destroy(f);
}

static void a_node_keyed_by_address_takes_its_new_id(void **state)
{
    struct fixture *f = fixture_create();
    struct heartbeat blank = hello("10.0.0.1", "", NULL), named = hello("10.0.0.1", " n1 ", NULL);
    struct data_node *first, *second, *third;
    fixture_register(f, &blank, &first);
    fixture_register(f, &named, &second);
    assert_ptr_equal(first, second);
    struct data_node_info info;
    data_node_info(second, &info);
    assert_string_equal(info.id, "n1");
    named.id = "n2"; /* another explicit id at the same address: a second node */
    fixture_register(f, &named, &third);
    assert_ptr_not_equal(third, second);
    fixture_destroy(f);
}

static void a_moved_server_is_withdrawn_at_its_old_address(void **state)
{
    struct fixture *f = fixture_create();
    struct heartbeat h = hello("10.0.0.1", "n1", NULL);
    struct volume_record v = {.id = 4, .size = 8, .version = 3};
    struct data_node *n, *again;
    fixture_register(f, &h, &n);
    fixture_send_full(f, n, &v, 1);
    h.ip = "10.0.0.2";
    assert_int_equal(fixture_register(f, &h, &again), 0);
    assert_ptr_equal(n, again);
    assert_string_equal(f->update.url, "10.0.0.1:8080");
    assert_int_equal(f->update.deleted_vids.count, 1);
    assert_ptr_equal(topology_find_node(f->t, "10.0.0.2:8080"), n);
    assert_null(topology_find_node(f->t, "10.0.0.1:8080"));
    fixture_destroy(f);
}

static void the_last_stream_takes_the_node_along(void **state)
{
    struct fixture *f = fixture_create();
    struct heartbeat h = hello("10.0.0.1", "", NULL);
    struct volume_record v = {.id = 4, .size = 8, .version = 3};
    struct data_node *n;
    fixture_register(f, &h, &n);
    fixture_register(f, &h, &n);
    fixture_send_full(f, n, &v, 1);
    fixture_unregister(f, n);
    assert_int_equal(fixture_lookup_count(f, 4), 1);
    fixture_unregister(f, n);
    assert_int_equal(fixture_lookup_count(f, 4), 0);
    assert_int_equal(f->update.deleted_vids.count, 1);
    assert_int_equal(f->update.deleted_vids.ids[0], 4);
    assert_string_equal(f->update.url, "10.0.0.1:8080");
    assert_true(topology_has_data_center(f->t, "DefaultDataCenter")); /* outlives its servers */
    assert_int_equal(topology_layout_count(f->t), 1); /* lost, not deleted: the layout stays */
    fixture_destroy(f);
}

static void a_copied_directory_is_refused(void **state)
{
    struct fixture *f = fixture_create();
    const char *uuid = "u1";
    struct heartbeat one = hello("10.0.0.1", "", &uuid), two = hello("10.0.0.2", "", &uuid);
    struct data_node *n, *other;
    const char *duplicates[2];
    size_t count;
    assert_int_equal(fixture_register(f, &one, &n), 0);
    assert_int_equal(topology_register_node(f->t, &two, &other, duplicates, 2, &count, &f->update,
                                            &f->err),
                     KELP_E_EXISTS);
    assert_string_equal(f->err.message, "volume: Duplicated volume directories were loaded");
    assert_int_equal(count, 1);
    assert_string_equal(duplicates[0], "u1");
    assert_non_null(topology_find_node(f->t, "10.0.0.1:8080"));
    assert_null(topology_find_node(f->t, "10.0.0.2:8080"));
    fixture_unregister(f, n); /* the owner leaves: the directory is free */
    assert_int_equal(fixture_register(f, &two, &other), 0);
    fixture_destroy(f);
}

static void the_same_address_comes_back_at_once(void **state)
{
    struct fixture *f = fixture_create();
    const char *uuid = "u1";
    struct heartbeat h = hello("10.0.0.1", "", &uuid);
    struct data_node *n, *again;
    assert_int_equal(fixture_register(f, &h, &n), 0);
    assert_int_equal(fixture_register(f, &h, &again), 0);
    assert_ptr_equal(n, again);
    fixture_destroy(f);
}

static void a_refused_move_evicts_the_stale_node_and_a_retry_succeeds(void **state)
{
    struct fixture *f = fixture_create();
    const char *uuid = "u1";
    struct heartbeat h = hello("10.0.0.1", "n1", &uuid);
    struct volume_record v = {.id = 4, .size = 8, .version = 3};
    struct data_node *stale, *n;
    fixture_register(f, &h, &stale);
    fixture_send_full(f, stale, &v, 1);
    h.ip = "10.0.0.2";
    assert_int_equal(fixture_register(f, &h, &n), KELP_E_EXISTS);
    assert_int_equal(f->update.deleted_vids.count, 1);
    assert_string_equal(f->update.url, "10.0.0.1:8080");
    assert_int_equal(fixture_register(f, &h, &n), 0);
    assert_ptr_not_equal(n, stale);
    struct heartbeat late = {.ip = "10.0.0.1", .volumes = &v, .volume_count = 1};
    fixture_beat(f, stale, &late);
    assert_true(f->result.is_superseded);
    assert_int_equal(fixture_lookup_count(f, 4), 0);
    fixture_destroy(f);
}

static void a_full_list_attaches_a_detached_node_again(void **state)
{
    struct fixture *f = fixture_create();
    const char *uuid = "u1";
    struct heartbeat h = hello("10.0.0.1", "n1", &uuid), moved = hello("10.0.0.2", "n1", &uuid);
    struct disk_type_count max = {"", 7};
    struct volume_record v = {.id = 4, .size = 8, .version = 3};
    struct data_node *n, *none;
    fixture_register(f, &h, &n);
    struct heartbeat counts = {.ip = "x", .max_volume_counts = &max, .max_volume_count_count = 1};
    fixture_beat(f, n, &counts);
    assert_int_equal(fixture_register(f, &moved, &none), KELP_E_EXISTS);
    assert_int_equal(topology_max_slots(f->t, ""), 0);
    struct heartbeat delta = {.ip = "10.0.0.1",
                              .changed_volumes = &v,
                              .changed_volume_count = 1,
                              .has_volume_digest = true};
    fixture_beat(f, n, &delta);
    assert_true(f->result.needs_full_list);
    assert_int_equal(fixture_lookup_count(f, 4), 0);
    fixture_send_full(f, n, &v, 1);
    assert_int_equal(fixture_lookup_count(f, 4), 1);
    assert_int_equal(topology_max_slots(f->t, ""), 7);
    fixture_destroy(f);
}

static void new_leadership_forgets_nodes_and_warms_up(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = {.id = 4, .size = 8, .version = 3};
    fixture_send_full(f, n, &v, 1);
    topology_begin_leadership(f->t, true);
    assert_int_equal(fixture_lookup_count(f, 4), 0);
    assert_int_equal(topology_max_volume_id(f->t), 4);
    assert_false(topology_has_any_data_center(f->t));
    assert_true(topology_warm_up_left_ns(f->t) == 15 * SECOND);
    fixture_send_full(f, n, &v, 1);
    assert_int_equal(fixture_lookup_count(f, 4), 1);
    f->now_ns += 15 * SECOND;
    assert_true(topology_warm_up_left_ns(f->t) == 0);
    topology_begin_leadership(f->t, false);
    assert_true(topology_warm_up_left_ns(f->t) == 0);
    fixture_destroy(f);
}

static void describe_lists_everything_once(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v[] = {{.id = 4, .version = 3, .read_only = true},
                                {.id = 2, .version = 3}};
    struct ec_record ec[] = {{.id = 9, .shard_bits = 1, .disk_id = 0},
                             {.id = 9, .shard_bits = 2, .disk_id = 1}};
    fixture_send_full(f, n, v, 2);
    struct heartbeat h = {.ec_shards = ec, .ec_shard_count = 2};
    fixture_beat(f, n, &h);
    location_update_clear(&f->update);
    topology_describe_node(f->t, n, &f->update);
    assert_int_equal(f->update.new_vids.count, 2);
    assert_int_equal(f->update.new_vids.ids[0], 2);
    assert_int_equal(f->update.read_only_vids.count, 1);
    assert_int_equal(f->update.new_ec_vids.count, 1);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(missing_names_have_defaults),
        cmocka_unit_test(a_node_keyed_by_address_takes_its_new_id),
        cmocka_unit_test(a_moved_server_is_withdrawn_at_its_old_address),
        cmocka_unit_test(the_last_stream_takes_the_node_along),
        cmocka_unit_test(a_copied_directory_is_refused),
        cmocka_unit_test(the_same_address_comes_back_at_once),
        cmocka_unit_test(a_refused_move_evicts_the_stale_node_and_a_retry_succeeds),
        cmocka_unit_test(a_full_list_attaches_a_detached_node_again),
        cmocka_unit_test(new_leadership_forgets_nodes_and_warms_up),
        cmocka_unit_test(describe_lists_everything_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
