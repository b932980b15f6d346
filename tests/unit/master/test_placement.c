/* Every replica placement, on a cluster where it fits and on one where it does not; the wanted place; the
 * reservations; the texts. */
#include "tests/unit/master/topology_fixture.h"

#include "common/check.h"
#include "master/placement.h"

/* centers x racks x nodes servers with `slots` each; more than a fixture binds, see cluster_destroy. */
static struct fixture *cluster(unsigned centers, unsigned racks, unsigned nodes, uint64_t slots)
{
    struct topology_options options;
    topology_options_default(&options);
    struct fixture *f = fixture_create_with(&options);
    struct disk_type_count max = {"", slots};
    for (unsigned d = 0; d < centers; d++)
        for (unsigned r = 0; r < racks; r++)
            for (unsigned n = 0; n < nodes; n++) {
                char dc[8], rack[8], ip[24];
                struct data_node *node;
                size_t duplicates;
                snprintf(dc, sizeof(dc), "dc%u", d % 100);
                snprintf(rack, sizeof(rack), "r%u", r % 100);
                snprintf(ip, sizeof(ip), "10.%u.%u.%u", d % 256, r % 256, n % 256);
                struct heartbeat h = {.ip = ip,
                                      .port = 8080,
                                      .data_center = dc,
                                      .rack = rack,
                                      .max_volume_counts = &max,
                                      .max_volume_count_count = 1};
                CHECK(topology_register_node(f->t, &h, &node, NULL, 0, &duplicates, &f->update,
                                             NULL) == 0);
                CHECK(topology_apply_heartbeat(f->t, node, &h, &f->result, &f->update, NULL) == 0);
            }
    return f;
}

/* Ends the streams that the fixture does not know of. */
static void cluster_destroy(struct fixture *f)
{
    const struct place *root = topology_root(f->t);
    while (place_child_count(root)) {
        struct data_node *found[512];
        size_t count = 0;
        for (size_t d = 0; d < place_child_count(root); d++)
            for (size_t r = 0; r < place_child_count(place_child(root, d)); r++) {
                const struct place *rack = place_child(place_child(root, d), r);
                for (size_t n = 0; n < place_child_count(rack) && count < 512; n++) {
                    struct data_node_info info;
                    data_node_info(place_node(place_child(rack, n)), &info);
                    found[count++] = topology_find_node(f->t, info.url);
                }
            }
        if (count == 0)
            break;
        for (size_t i = 0; i < count; i++)
            topology_unregister_node(f->t, found[i], &f->update);
    }
    fixture_destroy(f);
}

static void assert_shape(const struct placement *p, struct replica_placement want)
{
    unsigned centers = 0, racks = 0, same = 0;
    struct data_node_info main, a, b;
    data_node_info(p->nodes[0], &main);
    assert_int_equal(p->count, replica_placement_copies(want));
    for (size_t i = 1; i < p->count; i++) {
        data_node_info(p->nodes[i], &a);
        bool is_same_center = strcmp(a.data_center, main.data_center) == 0;
        centers += !is_same_center;
        racks += is_same_center && strcmp(a.rack, main.rack) != 0;
        same += is_same_center && strcmp(a.rack, main.rack) == 0;
        for (size_t j = 0; j < i; j++) { /* no two copies where the placement wants them apart */
            data_node_info(p->nodes[j], &b);
            assert_ptr_not_equal(p->nodes[i], p->nodes[j]);
            if (!is_same_center)
                assert_string_not_equal(a.data_center, b.data_center);
            else if (strcmp(a.rack, main.rack) != 0 && strcmp(b.data_center, a.data_center) == 0)
                assert_string_not_equal(a.rack, b.rack);
        }
    }
    assert_int_equal(centers, want.other_data_centers);
    assert_int_equal(racks, want.other_racks);
    assert_int_equal(same, want.same_rack);
}

static void every_placement_has_its_shape(void **state)
{
    for (unsigned byte = 0; byte <= 255; byte++) {
        struct volume_option o = {.placement = replica_placement_from_byte((uint8_t)byte)};
        unsigned x = o.placement.other_data_centers, y = o.placement.other_racks,
                 z = o.placement.same_rack;
        if (x == 2 && y > 5)
            continue; /* above a byte */
        struct fixture *f = cluster(x + 1, y + 1, z + 1, 1);
        struct placement p;
        assert_int_equal(placement_choose(f->t, &o, &p, &f->err), 0);
        assert_shape(&p, o.placement);
        placement_release(f->t, &p);
        cluster_destroy(f);
    }
}

static void one_place_too_few_is_refused_and_reserves_nothing(void **state)
{
    static const struct {
        const char *placement;
        unsigned centers, racks, nodes;
        uint64_t slots;
        const char *text;
    } rows[] = {
        {"000", 1, 1, 1, 0, "Not enough data nodes found!"},
        {"100", 1, 3, 3, 1, "Not enough data nodes found!"},
        {"200", 2, 3, 3, 1, "Not enough data nodes found!"},
        {"010", 1, 1, 3, 5, "No matching data node found! \ndc0:Only has 1 racks, not enough for 2."},
        {"001", 1, 3, 1, 1,
         "No matching data node found! \ndc0:Only has 0 racks with more than 2 free data nodes, not "
         "enough for 1."},
        {"011", 1, 2, 1, 9,
         "No matching data node found! \ndc0:Only has 0 racks with more than 2 free data nodes, not "
         "enough for 2."},
        {"002", 1, 1, 2, 1, "No matching data node found! \ndc0:Free:2 < Expected:3"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture *f = cluster(rows[i].centers, rows[i].racks, rows[i].nodes, rows[i].slots);
        struct volume_option o = {0};
        struct placement p;
        int64_t before = topology_free_slots(f->t, "");
        replica_placement_parse(slice_cstr(rows[i].placement), &o.placement, NULL);
        assert_int_equal(placement_choose(f->t, &o, &p, &f->err), KELP_E_NO_SPACE);
        assert_string_equal(f->err.message, rows[i].text);
        assert_int_equal(topology_free_slots(f->t, ""), before);
        cluster_destroy(f);
    }
}

static void wanted_places_are_honoured(void **state)
{
    struct fixture *f = cluster(3, 3, 3, 5);
    struct volume_option o = {.data_center = "dc1", .rack = "r2", .placement = {1, 1, 1}};
    struct volume_option node = {.data_node = "10.2.1.0:8080"};
    struct placement p;
    struct data_node_info info;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(placement_choose(f->t, &o, &p, &f->err), 0);
        data_node_info(p.nodes[0], &info);
        assert_string_equal(info.data_center, "dc1");
        assert_string_equal(info.rack, "r2");
        assert_shape(&p, o.placement);
        placement_release(f->t, &p);
        assert_int_equal(placement_choose(f->t, &node, &p, &f->err), 0);
        data_node_info(p.nodes[0], &info);
        assert_string_equal(info.id, node.data_node);
        placement_release(f->t, &p);
    }
    o = (struct volume_option){.data_center = "nowhere"};
    assert_int_equal(placement_choose(f->t, &o, &p, &f->err), KELP_E_NO_SPACE);
    assert_non_null(strstr(f->err.message, "dc0:Not matching preferred data center:nowhere"));
    o = (struct volume_option){.data_center = "dc0", .rack = "r9"};
    assert_int_equal(placement_choose(f->t, &o, &p, &f->err), KELP_E_NO_SPACE);
    assert_non_null(strstr(f->err.message, "r1:Not matching preferred rack:r9"));
    o = (struct volume_option){.disk_type = "ssd"};
    assert_int_equal(placement_choose(f->t, &o, &p, &f->err), KELP_E_NO_SPACE);
    cluster_destroy(f);
}

static void reservations_keep_parallel_growth_apart(void **state)
{
    struct fixture *f = cluster(1, 1, 3, 1);
    struct volume_option o = {0};
    struct placement p[4] = {0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(placement_choose(f->t, &o, &p[i], &f->err), 0);
    assert_int_equal(placement_choose(f->t, &o, &p[3], &f->err), KELP_E_NO_SPACE);
    assert_ptr_not_equal(p[0].nodes[0], p[1].nodes[0]);
    assert_ptr_not_equal(p[1].nodes[0], p[2].nodes[0]);
    placement_release(f->t, &p[1]);
    placement_release(f->t, &p[1]); /* twice is fine */
    assert_int_equal(placement_choose(f->t, &o, &p[3], &f->err), 0);
    for (int i = 0; i < 4; i++)
        placement_release(f->t, &p[i]);
    assert_int_equal(topology_free_slots(f->t, ""), 3);
    cluster_destroy(f);
}

static void a_node_may_leave_while_it_is_reserved(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 4);
    struct volume_option o = {0};
    struct placement p;
    assert_int_equal(placement_choose(f->t, &o, &p, &f->err), 0);
    fixture_unregister(f, n);
    assert_int_equal(topology_register_grown_volume(f->t, 1, &o, p.nodes, p.count, NULL, NULL), 0);
    assert_int_equal(fixture_lookup_count(f, 1), 0);
    placement_release(f->t, &p);
    assert_int_equal(topology_free_slots(f->t, ""), 0);
    fixture_destroy(f);
}

static void other_hosts_come_first(void **state)
{
    struct fixture *f = fixture_create();
    struct disk_type_count max = {"", 100}, one = {"", 1};
    struct data_node *n;
    for (uint32_t port = 8080; port < 8084; port++) { /* four roomy servers on one host */
        struct heartbeat h = {.ip = "10.0.0.1",
                              .port = port,
                              .max_volume_counts = &max,
                              .max_volume_count_count = 1};
        fixture_register(f, &h, &n);
        fixture_beat(f, n, &h);
    }
    struct heartbeat h = {
        .ip = "10.0.0.2", .port = 8080, .max_volume_counts = &one, .max_volume_count_count = 1};
    fixture_register(f, &h, &n);
    fixture_beat(f, n, &h);
    struct volume_option o = {.placement = {0, 0, 1}};
    for (int i = 0; i < 20; i++) {
        struct placement p;
        assert_int_equal(placement_choose(f->t, &o, &p, &f->err), 0);
        struct data_node_info a, b;
        data_node_info(p.nodes[0], &a);
        data_node_info(p.nodes[1], &b);
        assert_string_not_equal(a.ip, b.ip);
        placement_release(f->t, &p);
    }
    fixture_destroy(f);
}

static void room_weighs(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *large = fixture_add_node(f, "dc", "r", "10.0.0.1", 90);
    fixture_add_node(f, "dc", "r", "10.0.0.2", 10);
    struct volume_option o = {0};
    int hits = 0;
    for (int i = 0; i < 2000; i++) {
        struct placement p;
        assert_int_equal(placement_choose(f->t, &o, &p, &f->err), 0);
        hits += p.nodes[0] == large;
        placement_release(f->t, &p);
    }
    assert_in_range(hits, 1740, 1860); /* 1800 expected, sigma 13 */
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_placement_has_its_shape),
        cmocka_unit_test(one_place_too_few_is_refused_and_reserves_nothing),
        cmocka_unit_test(wanted_places_are_honoured),
        cmocka_unit_test(reservations_keep_parallel_growth_apart),
        cmocka_unit_test(a_node_may_leave_while_it_is_reserved),
        cmocka_unit_test(other_hosts_come_first),
        cmocka_unit_test(room_weighs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
