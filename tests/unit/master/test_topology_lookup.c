/* Lookups, EC shards, statistics, collections. */
#include "tests/unit/master/topology_fixture.h"

static void a_named_collection_narrows_the_lookup(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v[] = {{.id = 1, .collection = "pics", .version = 3},
                                {.id = 2, .version = 3}};
    struct topology_location found[4];
    bool is_ec;
    fixture_send_full(f, fixture_add_node(f, "dc", "r", "10.0.0.1", 10), v, 2);
    assert_int_equal(topology_lookup(f->t, 1, "", found, 4, &is_ec), 1);
    assert_int_equal(topology_lookup(f->t, 1, "pics", found, 4, &is_ec), 1);
    assert_int_equal(found[0].record->id, 1);
    assert_int_equal(topology_lookup(f->t, 2, "pics", found, 4, &is_ec), 0);
    assert_int_equal(topology_lookup(f->t, 1, "unknown", found, 4, &is_ec), 0);
    assert_int_equal(topology_lookup(f->t, 9, NULL, found, 4, &is_ec), 0);
    fixture_destroy(f);
}

struct shards {
    size_t count;
    unsigned last;
    uint32_t seen;
};

static void collect(void *ctx, unsigned shard, const struct data_node *node)
{
    struct shards *s = ctx;
    assert_non_null(node);
    assert_true(s->count == 0 || shard >= s->last);
    s->last = shard;
    s->seen |= 1u << shard;
    s->count++;
}

static void send_ec(struct fixture *f, struct data_node *n, const struct ec_record *records,
                    size_t count)
{
    struct heartbeat h = {
        .ec_shards = records, .ec_shard_count = count, .has_no_ec_shards = count == 0};
    fixture_beat(f, n, &h);
}

static void ec_full_lists_are_diffed(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *a = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct data_node *b = fixture_add_node(f, "dc", "r", "10.0.0.2", 10);
    int64_t sizes[] = {100, 200, 300};
    struct ec_record at_a = {
        .id = 9, .collection = "pics", .shard_bits = 0x7, .shard_sizes = sizes, .size_count = 3};
    struct ec_record at_b = {
        .id = 9, .collection = "pics", .shard_bits = 0x3800, .shard_sizes = sizes, .size_count = 3};
    struct shards s = {0};
    struct disk_usage usage;
    send_ec(f, a, &at_a, 1);
    assert_int_equal(f->update.new_ec_vids.count, 1);
    send_ec(f, b, &at_b, 1);
    assert_int_equal(topology_max_volume_id(f->t), 9);
    assert_true(topology_lookup_ec(f->t, 9, collect, &s));
    assert_int_equal(s.count, 6);
    assert_int_equal(s.seen, 0x3807);
    usage = fixture_usage(f);
    assert_int_equal(usage.ec_shards, 6);
    assert_int_equal(disk_usage_free_slots(&usage), 19);
    assert_int_equal(place_free_slots(topology_root(f->t)), 19);

    at_a.shard_bits = 0x5; /* lost shard 1, still holds the volume: not broadcast as deleted */
    at_a.size_count = 2;
    send_ec(f, a, &at_a, 1);
    assert_true(location_update_is_empty(&f->update));
    send_ec(f, a, NULL, 0);
    assert_int_equal(f->update.deleted_ec_vids.count, 1);
    send_ec(f, b, NULL, 0);
    s = (struct shards){0};
    assert_true(topology_lookup_ec(f->t, 9, collect, &s)); /* once known, stays known */
    assert_int_equal(s.count, 0);
    assert_false(topology_lookup_ec(f->t, 10, collect, &s));
    assert_int_equal(fixture_usage(f).ec_shards, 0);
    fixture_destroy(f);
}

static void ec_deltas_merge_by_disk(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    int64_t size = 70;
    struct ec_record shard = {.id = 9, .shard_bits = 4, .shard_sizes = &size, .size_count = 1};
    struct ec_record other = {
        .id = 9, .disk_id = 1, .shard_bits = 1, .shard_sizes = &size, .size_count = 1};
    struct heartbeat add = {.new_ec_shards = &shard, .new_ec_shard_count = 1};
    struct heartbeat drop = {.deleted_ec_shards = &shard, .deleted_ec_shard_count = 1};
    fixture_beat(f, n, &add);
    shard.shard_bits = 2;
    size = 50;
    fixture_beat(f, n, &add);
    assert_int_equal(data_node_ec_count(n, 0), 1);
    const struct ec_record *held = data_node_ec(n, 0, 0);
    assert_int_equal(held->shard_bits, 6);
    assert_int_equal(held->shard_sizes[0], 50);
    assert_int_equal(held->shard_sizes[1], 70);
    add.new_ec_shards = &other;
    fixture_beat(f, n, &add);
    assert_int_equal(data_node_ec_count(n, 0), 2);
    shard.shard_bits = 6;
    fixture_beat(f, n, &drop);
    assert_int_equal(f->update.deleted_ec_vids.count, 0); /* the other disk still has one */
    drop.deleted_ec_shards = &other;
    fixture_beat(f, n, &drop);
    assert_int_equal(f->update.deleted_ec_vids.count, 1);
    fixture_destroy(f);
}

static void ec_is_found_when_no_regular_volume_is(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct ec_record r = {.id = 9, .collection = "pics", .shard_bits = 0x3};
    struct topology_location found[1];
    bool is_ec;
    send_ec(f, n, &r, 1);
    assert_int_equal(topology_lookup(f->t, 9, NULL, found, 1, &is_ec), 2); /* more than fits */
    assert_true(is_ec);
    assert_ptr_equal(found[0].node, n);
    assert_null(found[0].record);
    assert_int_equal(topology_lookup(f->t, 9, "pics", found, 1, &is_ec), 2);
    fixture_unregister(f, n);
    assert_int_equal(f->update.deleted_ec_vids.count, 1);
    fixture_destroy(f);
}

static void statistics_sum_up(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = {.id = 1,
                              .size = 1000,
                              .deleted_byte_count = 400,
                              .file_count = 10,
                              .delete_count = 4,
                              .collection = "pics",
                              .replica_placement = 1,
                              .version = 3};
    int64_t sizes[] = {100, 100};
    struct ec_record ec = {.id = 9,
                           .collection = "old",
                           .shard_bits = 1u << 0 | 1u << 12,
                           .shard_sizes = sizes,
                           .size_count = 2,
                           .file_count = 5};
    struct data_node *a = fixture_add_node(f, "dc", "r", "10.0.0.1", 1);
    struct data_node *b = fixture_add_node(f, "dc", "r", "10.0.0.2", 1);
    struct topology_statistics s;
    fixture_send_full(f, a, &v, 1);
    fixture_send_full(f, b, &v, 1);
    send_ec(f, a, &ec, 1);
    topology_statistics(f->t, "", 2, &s);
    assert_true(s.total_size == 200 * MEBIBYTE);
    assert_true(s.used_size == 1200 + 200);
    assert_true(s.file_count == 6 + 5);
    assert_true(s.logical_used_size == 600 + 100);
    assert_true(s.logical_total_size == 700 + (200 * MEBIBYTE - 1400) / 2);
    topology_statistics(f->t, "pics", 1, &s);
    assert_true(s.used_size == 1200 && s.file_count == 6);
    fixture_destroy(f);
}

static void print_statistics(void *ctx, const struct collection_statistics *s)
{
    char *text = ctx;
    size_t length = strlen(text);
    snprintf(text + length, 512 - length, "%s:%llu/%llu files=%llu-%llu garbage=%llu n=%llu\n",
             s->collection, (unsigned long long)s->size, (unsigned long long)s->physical_size,
             (unsigned long long)s->file_count, (unsigned long long)s->delete_count,
             (unsigned long long)s->deleted_byte_count, (unsigned long long)s->volume_count);
}

static void collection_statistics_take_the_livest_replica(void **state)
{
    struct fixture *f = fixture_create();
    struct volume_record v = {.id = 1,
                              .size = 1000,
                              .deleted_byte_count = 400,
                              .file_count = 10,
                              .delete_count = 4,
                              .collection = "pics",
                              .replica_placement = 1,
                              .version = 3};
    struct volume_option unused = {.collection = "empty"};
    struct volume_pick pick;
    char text[512] = "";
    fixture_send_full(f, fixture_add_node(f, "dc", "r", "10.0.0.1", 1), &v, 1);
    v.size = 900;
    v.deleted_byte_count = 0;
    v.delete_count = 0;
    fixture_send_full(f, fixture_add_node(f, "dc", "r", "10.0.0.2", 1), &v, 1);
    volume_pick_for_write(f->t, &unused, 1, 0, &pick, NULL);
    topology_collection_statistics(f->t, print_statistics, text);
    assert_string_equal(text, "pics:900/1900 files=10-0 garbage=0 n=1\n");
    fixture_destroy(f);
}

static void deleting_a_collection_forgets_it_everywhere(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *a = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct data_node *b = fixture_add_node(f, "dc", "r", "10.0.0.2", 10);
    struct volume_record v[] = {{.id = 1, .collection = "pics", .version = 3},
                                {.id = 2, .collection = "pics", .version = 3, .ttl = 0x303},
                                {.id = 3, .version = 3}};
    struct ec_record ec = {.id = 9, .collection = "pics", .shard_bits = 1};
    fixture_send_full(f, a, v, 3);
    fixture_send_full(f, b, v, 1);
    send_ec(f, b, &ec, 1);
    size_t count;
    struct data_node **holders = topology_collection_holders(f->t, "pics", true, true, &count);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        data_node_unref(holders[i]);
    free(holders);
    struct location_updates updates;
    location_updates_init(&updates);
    topology_delete_collection(f->t, "pics", true, true, &updates);
    assert_int_equal(updates.count, 2);
    location_updates_fini(&updates);
    assert_int_equal(fixture_lookup_count(f, 1), 0);
    assert_int_equal(fixture_lookup_count(f, 3), 1);
    const char **names = topology_collections(f->t, true, true, &count);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "");
    free(names);
    struct heartbeat late = {.ip = "x", .deleted_volumes = v, .deleted_volume_count = 2};
    fixture_beat(f, a, &late); /* the server's own report of the same deletion */
    assert_int_equal(topology_layout_count(f->t), 1);
    fixture_destroy(f);
}

static void collections_are_sorted_and_distinct(void **state)
{
    struct fixture *f = fixture_create();
    struct data_node *n = fixture_add_node(f, "dc", "r", "10.0.0.1", 10);
    struct volume_record v[] = {{.id = 1, .collection = "b", .version = 3},
                                {.id = 2, .collection = "b", .version = 3, .ttl = 0x303},
                                {.id = 3, .collection = "a", .version = 3}};
    struct ec_record ec[] = {{.id = 9, .collection = "c", .shard_bits = 1},
                             {.id = 10, .collection = "a", .shard_bits = 1}};
    static const struct {
        bool normal, ec;
        const char *joined;
    } rows[] = {{true, true, "a b c "}, {true, false, "a b "}, {false, true, "a c "},
                {false, false, ""}};
    fixture_send_full(f, n, v, 3);
    send_ec(f, n, ec, 2);
    for (size_t i = 0; i < 4; i++) {
        size_t count;
        char joined[32] = "";
        const char **names = topology_collections(f->t, rows[i].normal, rows[i].ec, &count);
        for (size_t j = 0; j < count; j++) {
            strcat(joined, names[j]);
            strcat(joined, " ");
        }
        assert_string_equal(joined, rows[i].joined);
        free(names);
    }
    fixture_destroy(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_named_collection_narrows_the_lookup),
        cmocka_unit_test(ec_full_lists_are_diffed),
        cmocka_unit_test(ec_deltas_merge_by_disk),
        cmocka_unit_test(ec_is_found_when_no_regular_volume_is),
        cmocka_unit_test(statistics_sum_up),
        cmocka_unit_test(collection_statistics_take_the_livest_replica),
        cmocka_unit_test(deleting_a_collection_forgets_it_everywhere),
        cmocka_unit_test(collections_are_sorted_and_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
