/* What a beat changes, what it broadcasts, and when it asks for the full list. */
#include "tests/unit/master/topology_fixture.h"

static struct volume_record record(uint32_t id)
{
    return (struct volume_record){.id = id, .size = 1000, .version = 3};
}

static void full_list_adds_and_removes(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record first[] = {record(1), record(2)}, second[] = {record(2), record(3)};
    fixture_send_full(f, n, first, 2);
    assert_int_equal(f->update.new_vids.count, 2);
    assert_string_equal(f->update.url, "10.0.0.1:8080");
    assert_string_equal(f->update.data_center, "dc");
    assert_int_equal(f->update.grpc_port, 18080);
    assert_int_equal(topology_max_volume_id(f->t), 2);

    fixture_send_full(f, n, second, 2);
    assert_int_equal(f->update.new_vids.count, 1);
    assert_int_equal(f->update.new_vids.ids[0], 3);
    assert_int_equal(f->update.deleted_vids.count, 1);
    assert_int_equal(f->update.deleted_vids.ids[0], 1);
    assert_int_equal(fixture_lookup_count(f, 1), 0);
    assert_int_equal(fixture_lookup_count(f, 2), 1);
    assert_int_equal(fixture_usage(f).volumes, 2);

    fixture_send_full(f, n, NULL, 0);
    assert_int_equal(f->update.deleted_vids.count, 2);
    assert_int_equal(topology_layout_count(f->t), 0);
    fixture_destroy(f);
}

static void unmentioned_volumes_stay_in_a_delta(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record both[] = {record(1), record(2)};
    fixture_send_full(f, n, both, 2);
    both[1].size = 5000;
    fixture_send_changed(f, n, &both[1], 1);
    assert_true(location_update_is_empty(&f->update));
    assert_int_equal(fixture_lookup_count(f, 1), 1);
    assert_int_equal(data_node_digest(n),
                     volume_digest_of(&both[0]) ^ volume_digest_of(&both[1]));
    fixture_destroy(f);
}

static void a_property_change_is_broadcast(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = record(1);
    fixture_send_full(f, n, &v, 1);
    v.read_only = v.read_only_can_delete = true;
    fixture_send_changed(f, n, &v, 1);
    assert_int_equal(f->update.new_vids.count, 1);
    assert_int_equal(f->update.read_only_vids.count, 1);
    assert_int_equal(f->update.read_only_can_delete_vids.count, 1);
    assert_int_equal(f->update.remote_vids.count, 0);
    v.read_only = v.read_only_can_delete = false;
    v.remote_storage_name = "s3.default";
    fixture_send_changed(f, n, &v, 1);
    assert_int_equal(f->update.new_vids.count, 1);
    assert_int_equal(f->update.read_only_vids.count, 0);
    assert_int_equal(f->update.remote_vids.count, 1);
    assert_int_equal(fixture_usage(f).remote, 1);
    fixture_destroy(f);
}

static void deleted_and_new_at_once_is_new(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = record(1), short_record = {.id = 1, .version = 3};
    fixture_send_full(f, n, &v, 1);
    struct heartbeat h = {.ip = "10.0.0.1",
                          .new_volumes = &short_record,
                          .new_volume_count = 1,
                          .deleted_volumes = &short_record,
                          .deleted_volume_count = 1};
    fixture_beat(f, n, &h);
    assert_int_equal(f->update.new_vids.count, 1);
    assert_int_equal(f->update.deleted_vids.count, 0);
    assert_int_equal(fixture_lookup_count(f, 1), 1);
    fixture_destroy(f);
}

static void an_id_left_on_another_disk_type_is_not_broadcast_as_deleted(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record both[] = {record(1), record(1)};
    both[1].disk_type = "SSD";
    fixture_send_full(f, n, both, 2);
    assert_int_equal(topology_disk_type_count(f->t), 2);
    assert_string_equal(topology_disk_type_name(f->t, 1), "ssd");
    assert_int_equal(fixture_lookup_count(f, 1), 1); /* one address, once */
    fixture_send_full(f, n, both, 1);
    assert_int_equal(f->update.deleted_vids.count, 0);
    assert_int_equal(fixture_lookup_count(f, 1), 1);
    fixture_destroy(f);
}

static void digest_mismatch_asks_for_the_full_list_once(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = record(1);
    fixture_send_full(f, n, &v, 1);
    struct heartbeat h = {.ip = "10.0.0.1", .has_volume_digest = true, .volume_digest = 1};
    fixture_beat(f, n, &h);
    assert_true(f->result.needs_full_list);
    h.volume_digest = volume_digest_of(&v);
    fixture_beat(f, n, &h);
    assert_false(f->result.needs_full_list);
    h.has_volume_digest = false;
    h.volume_digest = 1;
    fixture_beat(f, n, &h);
    assert_false(f->result.needs_full_list);
    h = (struct heartbeat){.ip = "10.0.0.1",
                           .volumes = &v,
                           .volume_count = 1,
                           .has_volume_digest = true,
                           .volume_digest = 1};
    fixture_beat(f, n, &h);
    assert_false(f->result.needs_full_list);
    assert_true(f->result.digest_mismatch_in_full_list);
    fixture_destroy(f);
}

static void an_id_named_twice_keeps_asking(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record twice[] = {record(1), record(1)};
    twice[1].disk_id = 1;
    fixture_send_full(f, n, twice, 2);
    assert_int_equal(fixture_usage(f).volumes, 1);
    struct heartbeat h = {
        .ip = "x", .has_volume_digest = true, .volume_digest = data_node_digest(n)};
    fixture_beat(f, n, &h);
    assert_true(f->result.needs_full_list);
    fixture_send_full(f, n, twice, 1);
    h.volume_digest = data_node_digest(n);
    fixture_beat(f, n, &h);
    assert_false(f->result.needs_full_list);
    fixture_destroy(f);
}

static void zero_maximum_is_ignored_after_creation(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct disk_type_count counts[] = {{"HDD", 0}, {"nvme", 3}};
    struct disk_type_count bytes[] = {{"hdd", 1000}}, none[] = {{"", 0}};
    struct heartbeat h = {.ip = "x",
                          .max_volume_counts = counts,
                          .max_volume_count_count = 2,
                          .disk_total_bytes = bytes,
                          .disk_total_bytes_count = 1};
    fixture_beat(f, n, &h);
    assert_int_equal(fixture_usage(f).max, 10);
    assert_int_equal(fixture_usage(f).total_bytes, 1000);
    assert_int_equal(topology_max_slots(f->t, "NVME"), 3);
    assert_int_equal(topology_max_slots_of_all_types(f->t), 13);
    h = (struct heartbeat){.ip = "x", .disk_total_bytes = none, .disk_total_bytes_count = 1};
    fixture_beat(f, n, &h);
    assert_int_equal(fixture_usage(f).total_bytes, 0);
    fixture_destroy(f);
}

static void too_many_disk_types_are_refused_whole(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct disk_type_count counts[70];
    char names[70][8];
    for (size_t i = 0; i < 70; i++) {
        snprintf(names[i], sizeof(names[i]), "t%02u", (unsigned)i % 100);
        counts[i] = (struct disk_type_count){names[i], 1};
    }
    struct heartbeat h = {.ip = "x", .max_volume_counts = counts, .max_volume_count_count = 70};
    location_update_clear(&f->update);
    assert_int_equal(topology_apply_heartbeat(f->t, n, &h, &f->result, &f->update, &f->err),
                     KELP_E_LIMIT);
    assert_int_equal(topology_max_slots_of_all_types(f->t), 10);
    fixture_destroy(f);
}

static void a_report_that_changes_the_collection_moves_the_volume(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = record(1);
    v.collection = "old";
    fixture_send_full(f, n, &v, 1);
    v.collection = "new";
    fixture_send_changed(f, n, &v, 1);
    struct volume_option old = {.collection = "old"}, fresh = {.collection = "new"};
    struct volume_pick pick;
    assert_int_equal(topology_layout_count(f->t), 1);
    assert_int_equal(volume_pick_for_write(f->t, &fresh, 1, 0, &pick, &f->err), 0);
    assert_int_equal(volume_pick_for_write(f->t, &old, 1, 0, &pick, &f->err), KELP_E_NOT_FOUND);
    fixture_destroy(f);
}

static void provisional_volumes_survive_ten_seconds(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_option option = {.version = 3};
    struct location_updates updates;
    location_updates_init(&updates);
    assert_int_equal(topology_register_grown_volume(f->t, 5, &option, &n, 1, &updates, NULL), 0);
    assert_int_equal(updates.count, 1);
    assert_int_equal(updates.items[0].new_vids.ids[0], 5);
    location_updates_fini(&updates);
    assert_true(fixture_is_writable(f, 5));
    f->now_ns += 9 * SECOND;
    fixture_send_full(f, n, NULL, 0);
    assert_int_equal(fixture_lookup_count(f, 5), 1);
    f->now_ns += 2 * SECOND;
    fixture_send_full(f, n, NULL, 0);
    assert_int_equal(fixture_lookup_count(f, 5), 0);
    fixture_destroy(f);
}

static void a_reported_volume_is_no_longer_provisional(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_option option = {.version = 3};
    struct volume_record v = record(5);
    topology_register_grown_volume(f->t, 5, &option, &n, 1, NULL, NULL);
    fixture_send_changed(f, n, &v, 1);
    fixture_send_full(f, n, NULL, 0);
    assert_int_equal(fixture_lookup_count(f, 5), 0);
    fixture_destroy(f);
}

/* A beat that was on its way when growth made the volume does not know of it yet. */
static void a_provisional_volume_agrees_with_a_beat_that_does_not_know_it(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_option option = {.version = 3};
    struct volume_record v = record(5);
    struct heartbeat quiet = {.ip = "10.0.0.1", .has_volume_digest = true};
    topology_register_grown_volume(f->t, 5, &option, &n, 1, NULL, NULL);
    fixture_beat(f, n, &quiet);
    assert_false(f->result.needs_full_list);
    fixture_send_changed(f, n, &v, 1);
    quiet.volume_digest = volume_digest_of(&v);
    f->now_ns += 11 * SECOND;
    fixture_beat(f, n, &quiet);
    assert_false(f->result.needs_full_list);
    fixture_destroy(f);
}

static void a_provisional_volume_that_is_never_named_is_asked_for(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_option option = {.version = 3};
    struct heartbeat quiet = {.ip = "10.0.0.1", .has_volume_digest = true};
    topology_register_grown_volume(f->t, 5, &option, &n, 1, NULL, NULL);
    f->now_ns += 10 * SECOND;
    fixture_beat(f, n, &quiet);
    assert_true(f->result.needs_full_list);
    struct heartbeat full = {.ip = "10.0.0.1", .has_no_volumes = true, .has_volume_digest = true};
    fixture_beat(f, n, &full);
    assert_false(f->result.digest_mismatch_in_full_list);
    assert_int_equal(fixture_lookup_count(f, 5), 0);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_list_adds_and_removes),
        cmocka_unit_test(unmentioned_volumes_stay_in_a_delta),
        cmocka_unit_test(a_property_change_is_broadcast),
        cmocka_unit_test(deleted_and_new_at_once_is_new),
        cmocka_unit_test(an_id_left_on_another_disk_type_is_not_broadcast_as_deleted),
        cmocka_unit_test(digest_mismatch_asks_for_the_full_list_once),
        cmocka_unit_test(an_id_named_twice_keeps_asking),
        cmocka_unit_test(zero_maximum_is_ignored_after_creation),
        cmocka_unit_test(too_many_disk_types_are_refused_whole),
        cmocka_unit_test(a_report_that_changes_the_collection_moves_the_volume),
        cmocka_unit_test(provisional_volumes_survive_ten_seconds),
        cmocka_unit_test(a_reported_volume_is_no_longer_provisional),
        cmocka_unit_test(a_provisional_volume_agrees_with_a_beat_that_does_not_know_it),
        cmocka_unit_test(a_provisional_volume_that_is_never_named_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
