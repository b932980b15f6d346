/* Order, reasons and limits of vacuum jobs; and the snapshot that they are planned from. */
#include "tests/unit/master/topology_fixture.h"

#include "master/vacuum_snapshot.h"

#define GIBIBYTE (1024 * MEBIBYTE)
#define ROOM 16

/* One replica per volume unless a test says otherwise. */
struct plan_fixture {
    struct vacuum_candidate volumes[ROOM];
    struct vacuum_replica replicas[ROOM];
    struct vacuum_disk disks[4];
    struct vacuum_snapshot s;
    struct vacuum_limits limits;
    struct vacuum_plan plan;
};

static void init(struct plan_fixture *p)
{
    *p = (struct plan_fixture){0};
    for (uint32_t i = 0; i < 4; i++)
        p->disks[i] = (struct vacuum_disk){100 * GIBIBYTE, 50 * GIBIBYTE, i, 0};
    p->s.volumes = p->volumes;
    p->s.replicas = p->replicas;
    p->s.disks = p->disks;
    p->s.disk_count = 4;
    vacuum_limits_default(&p->limits);
    p->limits.now_ns = 1700000000 * SECOND;
}

static struct vacuum_candidate *add(struct plan_fixture *p, uint32_t id, uint32_t disk,
                                    uint64_t mebibytes, uint64_t garbage)
{
    struct vacuum_candidate *c = &p->volumes[p->s.volume_count++];
    *c = (struct vacuum_candidate){.id = id,
                                   .copies = 1,
                                   .first_replica = (uint32_t)p->s.replica_count,
                                   .replica_count = 1};
    p->replicas[p->s.replica_count++] = (struct vacuum_replica){
        .disk = disk, .size = mebibytes * MEBIBYTE, .garbage_bytes = garbage * MEBIBYTE};
    return c;
}

static void make(struct plan_fixture *p)
{
    vacuum_plan_fini(&p->plan);
    vacuum_plan_make(&p->s, &p->limits, &p->plan);
    assert_int_equal(p->plan.job_count + p->plan.left_out_count, p->s.volume_count);
}

static uint32_t job_id(const struct plan_fixture *p, size_t i)
{
    return p->volumes[p->plan.jobs[i].volume].id;
}

static void most_garbage_per_copied_byte_goes_first(void **state)
{
    struct plan_fixture p;
    init(&p);
    add(&p, 1, 0, 1000, 400);
    add(&p, 2, 1, 1000, 900);
    add(&p, 3, 2, 100, 60);
    make(&p);
    assert_int_equal(p.plan.job_count, 3);
    assert_int_equal(job_id(&p, 0), 2);
    assert_int_equal(job_id(&p, 1), 3);
    assert_int_equal(job_id(&p, 2), 1);
    assert_true(p.plan.jobs[0].copy_bytes == 100 * MEBIBYTE);
    assert_true(p.plan.jobs[0].reclaim_bytes == 900 * MEBIBYTE);
    assert_true(p.plan.jobs[0].starts_now && p.plan.jobs[2].starts_now);
    vacuum_plan_fini(&p.plan);
}

static void pressure_weighs(void **state)
{
    struct plan_fixture p;
    init(&p);
    p.disks[0].free_bytes = 80 * GIBIBYTE;
    p.disks[1].free_bytes = 20 * GIBIBYTE;
    add(&p, 1, 0, 1000, 600);
    add(&p, 2, 1, 1000, 500);
    make(&p);
    assert_int_equal(job_id(&p, 0), 2);
    vacuum_plan_fini(&p.plan);
}

static void a_short_disk_starts_with_the_smallest_live_part(void **state)
{
    struct plan_fixture p;
    init(&p);
    p.disks[0].free_bytes = 3 * GIBIBYTE;
    add(&p, 1, 0, 1000, 900); /* 100 live */
    add(&p, 2, 0, 50, 20);    /* 30 live */
    add(&p, 3, 1, 1000, 999); /* a better score, but its disk has room */
    add(&p, 4, 0, 10000, 4000);
    make(&p);
    assert_int_equal(p.plan.job_count, 3);
    assert_int_equal(job_id(&p, 0), 2);
    assert_int_equal(job_id(&p, 1), 1);
    assert_int_equal(job_id(&p, 2), 3);
    assert_int_equal(p.plan.left_out[0].reason, VACUUM_LEFT_OUT_NO_SPACE);
    assert_in_range(p.plan.left_out[0].missing_bytes / MEBIBYTE, 6000 - 3072, 6200 - 3072);
    p.limits.is_by_hand = true; /* somebody may just have deleted: its server knows */
    make(&p);
    assert_int_equal(p.plan.job_count, 4);
    vacuum_plan_fini(&p.plan);
}

static void every_reason_is_given(void **state)
{
    struct plan_fixture p;
    init(&p);
    add(&p, 1, 0, 1000, 900)->is_in_flight = true;
    add(&p, 2, 0, 1000, 900)->copies = 2;
    add(&p, 3, 0, 1000, 900);
    p.replicas[2].is_read_only = true;
    add(&p, 4, 0, 1000, 299);
    add(&p, 5, 0, 1000, 900)->failures = 1;
    p.volumes[4].last_failure_ns = p.limits.now_ns - 59 * SECOND;
    add(&p, 6, 0, 1000, 900)->failures = VACUUM_ATTENTION_FAILURES;
    p.volumes[5].last_failure_ns = p.limits.now_ns - 3600 * SECOND;
    make(&p);
    static const enum vacuum_reason wanted[] = {
        VACUUM_LEFT_OUT_IN_FLIGHT,      VACUUM_LEFT_OUT_TOO_FEW_COPIES, VACUUM_LEFT_OUT_READ_ONLY,
        VACUUM_LEFT_OUT_LITTLE_GARBAGE, VACUUM_LEFT_OUT_BACK_OFF,       VACUUM_LEFT_OUT_NEEDS_ATTENTION,
    };
    assert_int_equal(p.plan.job_count, 0);
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(p.plan.left_out[i].volume, i);
        assert_int_equal(p.plan.left_out[i].reason, wanted[i]);
        assert_true(*vacuum_reason_text(wanted[i]) != '\0');
    }
    assert_true(p.plan.left_out[4].retry_at_ns == p.limits.now_ns + SECOND);
    p.limits.now_ns += SECOND;
    make(&p);
    assert_int_equal(p.plan.job_count, 1);
    assert_int_equal(job_id(&p, 0), 5);
    vacuum_plan_fini(&p.plan);
}

static void naming_a_volume_overrides_caution_but_not_safety(void **state)
{
    struct plan_fixture p;
    init(&p);
    add(&p, 1, 0, 1000, 900)->failures = 9;
    p.volumes[0].last_failure_ns = p.limits.now_ns;
    p.replicas[0].is_read_only = true;
    add(&p, 2, 0, 1000, 900);
    p.limits.only_volume_id = 1;
    make(&p);
    assert_int_equal(p.plan.job_count, 1);
    assert_int_equal(job_id(&p, 0), 1);
    assert_int_equal(p.plan.left_out[0].reason, VACUUM_LEFT_OUT_NOT_ASKED_FOR);
    p.volumes[0].copies = 2;
    make(&p);
    assert_int_equal(p.plan.job_count, 0);
    p.volumes[0].copies = 1;
    p.volumes[0].is_in_flight = true;
    make(&p);
    assert_int_equal(p.plan.job_count, 0);
    vacuum_plan_fini(&p.plan);
}

static void low_space_does_not_forbid_its_cure(void **state)
{
    struct plan_fixture p;
    init(&p);
    add(&p, 1, 0, 1000, 900);
    p.replicas[0].is_read_only = p.replicas[0].is_read_only_harmless = true;
    make(&p);
    assert_int_equal(p.plan.job_count, 1);
    vacuum_plan_fini(&p.plan);
}

static void threshold_zero_is_everything(void **state)
{
    struct plan_fixture p;
    init(&p);
    add(&p, 1, 0, 1000, 0);
    add(&p, 2, 1, 0, 0);
    p.limits.threshold = 0;
    make(&p);
    assert_int_equal(p.plan.job_count, 2);
    vacuum_plan_fini(&p.plan);
}

static void limits_count_what_runs(void **state)
{
    struct plan_fixture p;
    init(&p);
    p.disks[1].server = 0; /* two disks of one server */
    add(&p, 1, 0, 1000, 900);
    add(&p, 2, 1, 1000, 800);
    add(&p, 3, 2, 1000, 700);
    make(&p);
    assert_true(p.plan.jobs[0].starts_now);
    assert_false(p.plan.jobs[1].starts_now);
    assert_int_equal(p.plan.jobs[1].waits_for, VACUUM_LEFT_OUT_SERVER_BUSY);
    assert_true(p.plan.jobs[2].starts_now);
    p.limits.per_server = 2;
    make(&p);
    assert_true(p.plan.jobs[1].starts_now);
    p.disks[0].running = 1; /* one disk is busy, the server may have one more */
    make(&p);
    assert_false(p.plan.jobs[0].starts_now);
    assert_true(p.plan.jobs[1].starts_now);
    p.disks[0].running = 0;
    p.limits.per_layout = 2;
    make(&p);
    assert_false(p.plan.jobs[2].starts_now);
    assert_int_equal(p.plan.jobs[2].waits_for, VACUUM_LEFT_OUT_LAYOUT_BUSY);
    vacuum_plan_fini(&p.plan);
}

static void all_servers_of_a_volume_count(void **state)
{
    struct plan_fixture p;
    init(&p);
    struct vacuum_candidate *c = add(&p, 1, 0, 1000, 900);
    c->copies = c->replica_count = 2;
    p.replicas[p.s.replica_count++] =
        (struct vacuum_replica){.disk = 1, .size = 1000 * MEBIBYTE}; /* nothing to do there */
    add(&p, 2, 1, 1000, 800);
    make(&p);
    assert_int_equal(job_id(&p, 0), 1);
    assert_true(p.plan.jobs[0].copy_bytes == 100 * MEBIBYTE);
    assert_false(p.plan.jobs[1].starts_now);
    vacuum_plan_fini(&p.plan);
}

static void two_jobs_do_not_share_the_last_room(void **state)
{
    struct plan_fixture p;
    init(&p);
    p.limits.per_disk = p.limits.per_server = 5;
    p.disks[0].free_bytes = 700 * MEBIBYTE;
    add(&p, 1, 0, 1000, 500);
    add(&p, 2, 0, 1000, 500);
    make(&p);
    assert_int_equal(p.plan.job_count, 2);
    assert_true(p.plan.jobs[0].starts_now);
    assert_false(p.plan.jobs[1].starts_now);
    vacuum_plan_fini(&p.plan);
}

static void back_off_grows_to_a_day(void **state)
{
    assert_true(vacuum_back_off_ns(0) == 0);
    assert_true(vacuum_back_off_ns(1) == 60 * SECOND);
    assert_true(vacuum_back_off_ns(2) == 120 * SECOND);
    assert_true(vacuum_back_off_ns(4) == 480 * SECOND);
    assert_true(vacuum_back_off_ns(VACUUM_ATTENTION_FAILURES) == 86400 * SECOND);
    assert_true(vacuum_back_off_ns(UINT32_MAX) == 86400 * SECOND);
}

static void fly_volume_two(void *ctx, struct vacuum_candidate *c)
{
    (*(int *)ctx)++;
    c->is_in_flight = c->id == 2;
}

static void the_snapshot_shows_the_topology(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v[] = {
        {.id = 1, .size = 10, .deleted_byte_count = 4, .version = 3},
        {.id = 2, .size = 10, .deleted_byte_count = 40, .version = 3, .disk_id = 1},
        {.id = 3, .size = 10, .collection = "pics", .version = 3, .read_only = true},
        {.id = 4, .size = 10, .version = 3, .read_only = true, .read_only_reasons = 4},
    };
    struct disk_tag tags[] = {{.disk_id = 0}, {.disk_id = 1}};
    struct disk_type_count bytes = {"", 1000};
    struct heartbeat h = {.ip = "x",
                          .volumes = v,
                          .volume_count = 4,
                          .disk_tags = tags,
                          .disk_tag_count = 2,
                          .disk_total_bytes = &bytes,
                          .disk_total_bytes_count = 1};
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    fixture_beat(f, n, &h);
    struct vacuum_snapshot s;
    struct vacuum_nodes nodes;
    int annotated = 0;
    vacuum_snapshot_take(f->t, NULL, 0, fly_volume_two, &annotated, &s, &nodes);
    assert_int_equal(annotated, 4);
    assert_int_equal(s.volume_count, 4);
    assert_int_equal(s.disk_count, 2);
    assert_int_equal(nodes.count, 1);
    assert_ptr_equal(nodes.by_replica[3], n);
    assert_true(s.disks[0].total_bytes == 500);
    for (size_t i = 0; i < 4; i++) {
        const struct vacuum_replica *r = &s.replicas[s.volumes[i].first_replica];
        uint32_t id = s.volumes[i].id;
        assert_true(r->garbage_bytes == (id == 1 ? 4 : id == 2 ? 10 : 0));
        assert_int_equal(r->is_read_only, id >= 3);
        assert_int_equal(r->is_read_only_harmless, id == 4);
        assert_int_equal(s.disks[r->disk].running, id == 2 ? 1 : 0);
    }
    fixture_unregister(f, n); /* the snapshot outlives the node */
    struct data_node_info info;
    data_node_info(nodes.nodes[0], &info);
    assert_string_equal(info.url, "10.0.0.1:8080");
    vacuum_snapshot_fini(&s, &nodes);

    vacuum_snapshot_take(f->t, "pics", 3, NULL, NULL, &s, &nodes);
    assert_int_equal(s.volume_count, 0);
    vacuum_snapshot_fini(&s, &nodes);
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_garbage_per_copied_byte_goes_first),
        cmocka_unit_test(pressure_weighs),
        cmocka_unit_test(a_short_disk_starts_with_the_smallest_live_part),
        cmocka_unit_test(every_reason_is_given),
        cmocka_unit_test(naming_a_volume_overrides_caution_but_not_safety),
        cmocka_unit_test(low_space_does_not_forbid_its_cure),
        cmocka_unit_test(threshold_zero_is_everything),
        cmocka_unit_test(limits_count_what_runs),
        cmocka_unit_test(all_servers_of_a_volume_count),
        cmocka_unit_test(two_jobs_do_not_share_the_last_room),
        cmocka_unit_test(back_off_grows_to_a_day),
        cmocka_unit_test(the_snapshot_shows_the_topology),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
