/* Picking: candidates, weights, accounting, texts. */
#include "tests/unit/master/topology_fixture.h"

static struct volume_record sized(uint32_t id, uint64_t mebibytes)
{
    return (struct volume_record){
        .id = id, .size = mebibytes * MEBIBYTE, .collection = "pics", .version = 3};
}

static const struct volume_option pics = {.collection = "pics"};

static void an_empty_layout_says_so(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_option o = {.collection = "pics", .placement = {0, 0, 1}, .ttl = {3, 3}};
    struct volume_pick pick;
    assert_int_equal(volume_pick_for_write(f->t, &o, 1, 0, &pick, &f->err), KELP_E_NOT_FOUND);
    assert_string_equal(f->err.message, "failed to find writable volumes for collection:pics "
                                        "replication:001 ttl:3d error: No writable volumes");
    size_t count; /* asking creates the collection, as the peer does */
    const char **names = topology_collections(f->t, true, false, &count);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "pics");
    free(names);
    assert_false(topology_has_any_data_center(f->t));
    fixture_destroy(f);
}

static void a_filter_that_leaves_nothing_is_named(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = sized(1, 1);
    struct volume_option o = {.collection = "pics", .data_center = "dc", .rack = "r9"};
    struct volume_pick pick;
    fixture_send_full(f, fixture_add_node(f, "dc", "r1", "10.0.0.1", 10), &v, 1);
    assert_int_equal(volume_pick_for_write(f->t, &o, 1, 0, &pick, &f->err), KELP_E_NOT_FOUND);
    assert_string_equal(f->err.message,
                        "failed to find writable volumes for collection:pics replication:000 ttl: "
                        "error: No writable volumes in DataCenter:dc Rack:r9 DataNode:");
    o.rack = "r1";
    o.data_node = "10.0.0.1:8080";
    assert_int_equal(volume_pick_for_write(f->t, &o, 1, 0, &pick, &f->err), 0);
    assert_int_equal(pick.volume_id, 1);
    assert_int_equal(pick.location_count, 1);
    fixture_destroy(f);
}

static void the_filter_finds_one_volume_among_many(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v[50];
    for (uint32_t i = 0; i < 50; i++)
        v[i] = sized(i + 1, 1);
    struct data_node *a = fixture_add_node(f, "dc1", "r", "10.0.0.1", 100);
    struct data_node *b = fixture_add_node(f, "dc2", "r", "10.0.0.2", 100);
    fixture_send_full(f, a, v, 49);
    fixture_send_full(f, b, &v[49], 1);
    struct volume_option o = {.collection = "pics", .data_center = "dc2"};
    for (int i = 0; i < 20; i++) {
        struct volume_pick pick;
        assert_int_equal(volume_pick_for_write(f->t, &o, 1, 0, &pick, &f->err), 0);
        assert_int_equal(pick.volume_id, 50);
    }
    fixture_destroy(f);
}

static void room_weighs(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v[] = {sized(1, 90), sized(2, 10)};
    fixture_send_full(f, n, v, 2);
    int roomy = 0;
    for (int i = 0; i < 1000; i++) {
        struct volume_pick pick;
        assert_int_equal(volume_pick_for_write(f->t, &pics, 1, 1, &pick, &f->err), 0);
        roomy += pick.volume_id == 2;
    }
    assert_in_range(roomy, 850, 950); /* 900 expected, sigma 9.5 */
    fixture_destroy(f);
}

static void estimates_stop_over_selection(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v[] = {sized(1, 0), sized(2, 0)};
    struct volume_pick pick;
    int picks = 0;
    fixture_send_full(f, n, v, 2);
    while (volume_pick_for_write(f->t, &pics, 2, 5 * MEBIBYTE, &pick, &f->err) == 0)
        picks++;
    assert_int_equal(picks, 20); /* ten times 2 x 5 MiB fill 100 MiB, twice */
    fixture_destroy(f);
}

static void a_giant_request_does_not_wrap_around(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v = sized(1, 1);
    struct volume_pick pick;
    fixture_send_full(f, n, &v, 1);
    assert_int_equal(volume_pick_for_write(f->t, &pics, UINT64_MAX, UINT64_MAX, &pick, &f->err), 0);
    assert_false(fixture_is_writable(f, 1));
    fixture_destroy(f);
}

static void layouts_are_kept_apart(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v[] = {sized(1, 1), sized(2, 1), sized(3, 1)};
    v[1].ttl = 3 << 8 | 3;
    v[2].disk_type = "ssd";
    fixture_send_full(f, n, v, 3);
    struct volume_option ttl = {.collection = "pics", .ttl = {3, 3}};
    struct volume_option ssd = {.collection = "pics", .disk_type = "SSD"};
    struct volume_option hdd = {.collection = "pics", .disk_type = "hdd"};
    struct volume_pick pick;
    volume_pick_for_write(f->t, &ttl, 1, 0, &pick, NULL);
    assert_int_equal(pick.volume_id, 2);
    volume_pick_for_write(f->t, &ssd, 1, 0, &pick, NULL);
    assert_int_equal(pick.volume_id, 3);
    volume_pick_for_write(f->t, &hdd, 1, 0, &pick, NULL);
    assert_int_equal(pick.volume_id, 1);
    fixture_destroy(f);
}

static void layouts_that_were_only_asked_for_make_room(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = sized(1, 1);
    struct volume_pick pick;
    fixture_send_full(f, fixture_add_node(f, "dc", "r", "10.0.0.1", 10), &v, 1);
    for (int i = 0; i < TOPOLOGY_LAYOUTS_MAX + 5; i++) {
        char name[16];
        snprintf(name, sizeof(name), "c%d", i);
        struct volume_option o = {.collection = name};
        assert_int_equal(volume_pick_for_write(f->t, &o, 1, 0, &pick, NULL), KELP_E_NOT_FOUND);
    }
    assert_true(topology_layout_count(f->t) <= TOPOLOGY_LAYOUTS_MAX);
    assert_int_equal(volume_pick_for_write(f->t, &pics, 1, 0, &pick, NULL), 0);
    fixture_destroy(f);
}

static void the_option_has_its_json_form(void **state)
{
    char text[VOLUME_OPTION_TEXT_SIZE];
    struct volume_option o = {.collection = "pics", .placement = {0, 0, 1}, .version = 3};
    assert_string_equal(volume_option_format(&o, text),
                        "{\"collection\":\"pics\",\"replication\":{\"node\":1},"
                        "\"ttl\":{\"Count\":0,\"Unit\":0},\"version\":3}");
    o = (struct volume_option){.collection = "a\"<b",
                               .placement = {1, 2, 3},
                               .ttl = {5, 1},
                               .disk_type = "ssd",
                               .preallocate_bytes = -1,
                               .data_center = "d",
                               .rack = "r",
                               .data_node = "n",
                               .memory_map_max_size_mb = 9};
    assert_string_equal(volume_option_format(&o, text),
                        "{\"collection\":\"a\\\"\\u003cb\",\"replication\":{\"node\":3,\"rack\":2,"
                        "\"dc\":1},\"ttl\":{\"Count\":5,\"Unit\":1},\"disk\":\"ssd\","
                        "\"preallocate\":-1,\"dataCenter\":\"d\",\"rack\":\"r\",\"dataNode\":\"n\","
                        "\"memoryMapMaxSizeMb\":9}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_layout_says_so),
        cmocka_unit_test(a_filter_that_leaves_nothing_is_named),
        cmocka_unit_test(the_filter_finds_one_volume_among_many),
        cmocka_unit_test(room_weighs),
        cmocka_unit_test(estimates_stop_over_selection),
        cmocka_unit_test(a_giant_request_does_not_wrap_around),
        cmocka_unit_test(layouts_are_kept_apart),
        cmocka_unit_test(layouts_that_were_only_asked_for_make_room),
        cmocka_unit_test(the_option_has_its_json_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
