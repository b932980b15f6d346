/* How many volumes, when, and where. */
#include "tests/unit/master/topology_fixture.h"

#include "master/volume_growth.h"

static void counts_follow_the_copies(void **state)
{
    struct topology_options o;
    topology_options_default(&o);
    assert_int_equal(volume_growth_count(&o, (struct replica_placement){0, 0, 0}, 0), 7);
    assert_int_equal(volume_growth_count(&o, (struct replica_placement){0, 0, 1}, 0), 6);
    assert_int_equal(volume_growth_count(&o, (struct replica_placement){0, 1, 1}, 0), 3);
    assert_int_equal(volume_growth_count(&o, (struct replica_placement){1, 1, 1}, 0), 1);
    assert_int_equal(volume_growth_count(&o, (struct replica_placement){1, 1, 1}, 9), 9);
}

static void one_growth_per_layout_at_a_time(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_option a = {.collection = "a"}, b = {.collection = "b"};
    assert_false(volume_growth_is_pending(f->t, &a));
    assert_true(volume_growth_begin(f->t, &a));
    assert_false(volume_growth_begin(f->t, &a));
    assert_true(volume_growth_is_pending(f->t, &a));
    assert_true(volume_growth_begin(f->t, &b));
    volume_growth_end(f->t, &a);
    assert_true(volume_growth_begin(f->t, &a));
    topology_begin_leadership(f->t, false);
    volume_growth_end(f->t, &a); /* its layout is gone: fine */
    assert_false(volume_growth_is_pending(f->t, &a));
    fixture_destroy(f);
}

static void needed_looks_where_the_request_looks(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = {.id = 1, .size = 8, .version = 3};
    struct volume_option any = {0}, here = {.rack = "r1"}, there = {.rack = "r2"};
    assert_true(volume_growth_is_needed(f->t, &any));
    fixture_send_full(f, fixture_add_node(f, "dc", "r1", "10.0.0.1", 10), &v, 1);
    assert_false(volume_growth_is_needed(f->t, &any));
    assert_false(volume_growth_is_needed(f->t, &here));
    assert_true(volume_growth_is_needed(f->t, &there));
    struct volume_pick pick;
    volume_pick_for_write(f->t, &any, 95, 0, &pick, NULL); /* crowded now */
    assert_true(volume_growth_is_needed(f->t, &any));
    assert_true(volume_growth_is_needed(f->t, &here));
    fixture_destroy(f);
}

static void slots_are_checked_for_all_copies(void **state)
{
    struct fixture *f = fixture_create();
    fixture_add_node(f, "dc", "r", "10.0.0.1", 5);
    struct volume_option o = {.placement = {0, 0, 1}};
    assert_int_equal(volume_growth_check_slots(f->t, &o, 2, &f->err), 0);
    assert_int_equal(volume_growth_check_slots(f->t, &o, 3, &f->err), KELP_E_NO_SPACE);
    assert_string_equal(f->err.message, "only 5 volumes left, not enough for 6");
    fixture_destroy(f);
}

static void the_pass_fills_racks_of_known_data_centers(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = {.id = 1, .size = 8, .version = 3};
    struct growth_plan plan = {0};
    fixture_send_full(f, fixture_add_node(f, "dc1", "r1", "10.0.0.1", 10), &v, 1);
    fixture_add_node(f, "dc1", "r2", "10.0.0.2", 10);
    fixture_add_node(f, "dc2", "r1", "10.0.0.3", 10); /* holds none of the layout: left alone */
    volume_growth_plan(f->t, &plan);
    assert_int_equal(plan.count, 1);
    assert_string_equal(plan.items[0].option.data_center, "dc1");
    assert_string_equal(plan.items[0].option.rack, "r2");
    assert_int_equal(plan.items[0].count, 2);
    growth_plan_fini(&plan);

    struct volume_option any = {0};
    assert_true(volume_growth_begin(f->t, &any)); /* growing already: not planned */
    volume_growth_plan(f->t, &plan);
    assert_int_equal(plan.count, 0);
    growth_plan_fini(&plan);
    fixture_destroy(f);
}

static void racks_do_not_matter_across_racks(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = {.id = 1, .size = 8, .version = 3, .replica_placement = 10};
    struct growth_plan plan = {0};
    struct data_node *a = fixture_add_node(f, "dc1", "r1", "10.0.0.1", 10);
    struct data_node *b = fixture_add_node(f, "dc1", "r2", "10.0.0.2", 10);
    fixture_add_node(f, "dc1", "r3", "10.0.0.3", 10);
    fixture_send_full(f, a, &v, 1);
    volume_growth_plan(f->t, &plan); /* one copy missing: nothing writable in the data center */
    assert_int_equal(plan.count, 1);
    assert_string_equal(plan.items[0].option.data_center, "dc1");
    assert_null(plan.items[0].option.rack);
    growth_plan_fini(&plan);
    fixture_send_full(f, b, &v, 1);
    volume_growth_plan(f->t, &plan);
    assert_int_equal(plan.count, 0);
    growth_plan_fini(&plan);
    fixture_destroy(f);
}

static void a_target_is_kept_up(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v[] = {{.id = 1, .size = 8, .version = 3},
                                {.id = 2, .size = 99 * MEBIBYTE, .version = 3}};
    struct volume_option any = {0};
    struct growth_plan plan = {0};
    struct data_node *n = fixture_add_node(f, "dc1", "r1", "10.0.0.1", 10);
    fixture_send_full(f, n, v, 1);
    volume_growth_set_target(f->t, &any, 4);
    volume_growth_plan(f->t, &plan);
    assert_int_equal(plan.count, 1);
    assert_int_equal(plan.items[0].count, 3);
    assert_null(plan.items[0].option.data_center);
    growth_plan_fini(&plan);
    volume_growth_set_target(f->t, &any, 100); /* more than there is room for */
    volume_growth_plan(f->t, &plan);
    assert_int_equal(plan.count, 0);
    growth_plan_fini(&plan);
    volume_growth_set_target(f->t, &any, 2);
    fixture_send_full(f, n, v, 2); /* W = 2 < 2L, K + 2 = 3 > 1.8 */
    volume_growth_plan(f->t, &plan);
    assert_int_equal(plan.count, 1);
    assert_string_equal(plan.items[0].reason, "crowded");
    growth_plan_fini(&plan);
    fixture_destroy(f);
}

static void nothing_is_planned_while_disabled_or_warming_up(void **state)
{
    struct topology_options options;
    topology_options_default(&options);
    options.growth_disabled = true;
    for (int is_warm_up = 0; is_warm_up < 2; is_warm_up++) {
        struct fixture *f = is_warm_up ? fixture_create() : fixture_create_with(&options);
        struct volume_record v = {.id = 1, .size = 8, .version = 3, .read_only = true};
        struct growth_plan plan = {0};
        topology_begin_leadership(f->t, true);
        fixture_send_full(f, fixture_add_node(f, "dc1", "r1", "10.0.0.1", 10), &v, 1);
        volume_growth_plan(f->t, &plan);
        assert_int_equal(plan.count, 0);
        growth_plan_fini(&plan);
        f->now_ns += 20 * SECOND;
        volume_growth_plan(f->t, &plan);
        assert_int_equal(plan.count, is_warm_up);
        growth_plan_fini(&plan);
        fixture_destroy(f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_follow_the_copies),
        cmocka_unit_test(one_growth_per_layout_at_a_time),
        cmocka_unit_test(needed_looks_where_the_request_looks),
        cmocka_unit_test(slots_are_checked_for_all_copies),
        cmocka_unit_test(the_pass_fills_racks_of_known_data_centers),
        cmocka_unit_test(racks_do_not_matter_across_racks),
        cmocka_unit_test(a_target_is_kept_up),
        cmocka_unit_test(nothing_is_planned_while_disabled_or_warming_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
