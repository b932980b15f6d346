/* Which volumes a beat names, and the digest over them. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "volume/heartbeat_report.h"

#include <stdlib.h>
#include <string.h>

#define SECOND_NS 1000000000ll

static MasterPb__VolumeInformationMessage make_volume(uint32_t id, uint64_t size)
{
    MasterPb__VolumeInformationMessage volume = MASTER_PB__VOLUME_INFORMATION_MESSAGE__INIT;
    volume.id = id;
    volume.size = size;
    volume.version = 3;
    volume.modified_at_second = 1700000001;
    return volume;
}

/* One report; the beat's lists live until the next one. */
struct fixture {
    struct heartbeat_memory *memory;
    struct arena arena;
    MasterPb__Heartbeat beat;
};

static int setup(void **state)
{
    struct fixture *f = must(calloc(1, sizeof(*f)));
    f->memory = heartbeat_memory_create();
    arena_init(&f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    heartbeat_memory_destroy(f->memory);
    arena_fini(&f->arena);
    free(f);
    return 0;
}

static void report(struct fixture *f, MasterPb__VolumeInformationMessage *volumes, size_t count)
{
    master_pb__heartbeat__init(&f->beat);
    heartbeat_memory_report(f->memory, volumes, count, &f->arena, &f->beat);
}

static void digest_is_that_of_the_spec(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[2] = {make_volume(7, 8), make_volume(9, 123456)};
    volumes[1].collection = "pics";
    volumes[1].file_count = 4;
    volumes[1].delete_count = 1;
    volumes[1].deleted_byte_count = 200;
    volumes[1].read_only = true;
    volumes[1].replica_placement = 1;
    volumes[1].ttl = 0x303;
    volumes[1].compact_revision = 2;
    volumes[1].modified_at_second = 1700000123;
    volumes[1].remote_storage_name = "s3.default";
    volumes[1].disk_type = "ssd";
    volumes[1].disk_id = 1;
    report(f, volumes, 2);
    assert_int_equal(f->beat._volume_digest_case,
                     MASTER_PB__HEARTBEAT___VOLUME_DIGEST_VOLUME_DIGEST);
    assert_true(f->beat.volume_digest == 0xCDF9B01FB6B245ACull);
}

static void first_beat_is_full(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8), make_volume(2, 8)};
    report(f, volumes, 2);
    assert_int_equal(f->beat.n_volumes, 2);
    assert_int_equal(f->beat.n_changed_volumes, 0);
    assert_false(f->beat.has_no_volumes);
}

static void empty_server_says_so_in_a_full_beat_only(void **state)
{
    struct fixture *f = *state;
    report(f, NULL, 0);
    assert_true(f->beat.has_no_volumes);
    assert_true(f->beat.volume_digest == 0);
    heartbeat_memory_accept(f->memory);
    report(f, NULL, 0);
    assert_false(f->beat.has_no_volumes);
}

static void every_beat_is_full_until_the_master_accepts_digests(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8)};
    report(f, volumes, 1);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_volumes, 1);
    heartbeat_memory_accept(f->memory);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_volumes, 0);
    assert_int_equal(f->beat.n_changed_volumes, 0);
}

static void only_what_changed_is_named_and_the_digest_covers_all(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8), make_volume(2, 8)};
    report(f, volumes, 2);
    uint64_t digest = f->beat.volume_digest;
    heartbeat_memory_accept(f->memory);
    volumes[1].size = 16;
    report(f, volumes, 2);
    assert_int_equal(f->beat.n_changed_volumes, 1);
    assert_int_equal(f->beat.changed_volumes[0]->id, 2);
    assert_true(f->beat.volume_digest != digest);
    volumes[1].size = 8;
    report(f, volumes, 2);
    assert_int_equal(f->beat.n_changed_volumes, 1);
    assert_true(f->beat.volume_digest == digest);
}

static void a_requested_full_list_comes_once(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8)};
    report(f, volumes, 1);
    heartbeat_memory_accept(f->memory);
    heartbeat_memory_request_full(f->memory);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_volumes, 1);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_volumes, 0);
}

static void departed_volumes_are_named_once_as_last_told(void **state)
{
    struct fixture *f = *state;
    char collection[] = "pics";
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8), make_volume(2, 8)};
    volumes[1].collection = collection;
    volumes[1].ttl = 0x303;
    report(f, volumes, 2);
    heartbeat_memory_accept(f->memory);
    memset(collection, 'x', 4); /* the memory keeps its own copy */
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_deleted_volumes, 1);
    assert_int_equal(f->beat.deleted_volumes[0]->id, 2);
    assert_string_equal(f->beat.deleted_volumes[0]->collection, "pics");
    assert_int_equal(f->beat.deleted_volumes[0]->ttl, 0x303);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_deleted_volumes, 0);
}

static void a_copy_that_moved_to_another_disk_has_not_departed(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8)};
    report(f, volumes, 1);
    heartbeat_memory_accept(f->memory);
    volumes[0].disk_id = 1;
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_deleted_volumes, 0);
    assert_int_equal(f->beat.n_changed_volumes, 1);
}

static void a_volume_whose_delta_was_queued_is_told_again(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8)};
    report(f, volumes, 1);
    heartbeat_memory_accept(f->memory);
    heartbeat_memory_forget(f->memory, 0, 1);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_changed_volumes, 1);
}

static void a_new_reason_to_be_read_only_is_told(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8)};
    volumes[0].read_only = true;
    volumes[0].read_only_reasons = VOLUME_RO_LOW_SPACE;
    report(f, volumes, 1);
    uint64_t digest = f->beat.volume_digest;
    heartbeat_memory_accept(f->memory);
    volumes[0].read_only_reasons = VOLUME_RO_OPERATOR;
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_changed_volumes, 1);
    assert_true(f->beat.volume_digest == digest); /* the peer's masters do not know of reasons */
}

static void a_new_stream_starts_from_nothing(void **state)
{
    struct fixture *f = *state;
    MasterPb__VolumeInformationMessage volumes[] = {make_volume(1, 8), make_volume(2, 8)};
    report(f, volumes, 2);
    heartbeat_memory_accept(f->memory);
    heartbeat_memory_reset(f->memory);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_volumes, 1);
    assert_int_equal(f->beat.n_deleted_volumes, 0);
    report(f, volumes, 1);
    assert_int_equal(f->beat.n_volumes, 1);
}

static struct volume_stat make_ttl_stat(uint8_t minutes)
{
    return (struct volume_stat){
        .dat_bytes = 100, .modified_at_second = 1000, .ttl = {minutes, 1}, .file_count = 1};
}

static void expired_volumes_are_hidden_then_destroyed(void **state)
{
    struct volume_stat stat = make_ttl_stat(20); /* grace: 2 minutes */
    int64_t at = 1000 * SECOND_NS, minute = 60 * SECOND_NS;
    assert_int_equal(heartbeat_volume_fate(&stat, 1, at + 21 * minute - SECOND_NS),
                     HEARTBEAT_REPORT);
    assert_int_equal(heartbeat_volume_fate(&stat, 1, at + 21 * minute), HEARTBEAT_HIDE);
    assert_int_equal(heartbeat_volume_fate(&stat, 1, at + 22 * minute), HEARTBEAT_HIDE);
    assert_int_equal(heartbeat_volume_fate(&stat, 1, at + 22 * minute + SECOND_NS),
                     HEARTBEAT_DESTROY);
}

static void nothing_expires_without_limit_content_or_ttl(void **state)
{
    int64_t late = 100000 * SECOND_NS;
    struct volume_stat stat = make_ttl_stat(1);
    assert_int_equal(heartbeat_volume_fate(&stat, 1, late), HEARTBEAT_DESTROY);
    assert_int_equal(heartbeat_volume_fate(&stat, 0, late), HEARTBEAT_REPORT);
    stat.dat_bytes = 8;
    assert_int_equal(heartbeat_volume_fate(&stat, 1, late), HEARTBEAT_REPORT);
    stat = make_ttl_stat(0);
    assert_int_equal(heartbeat_volume_fate(&stat, 1, late), HEARTBEAT_REPORT);
}

static void a_sick_volume_is_hidden_and_never_destroyed(void **state)
{
    struct volume_stat stat = make_ttl_stat(1);
    stat.read_only = VOLUME_RO_IO_ERROR;
    assert_int_equal(heartbeat_volume_fate(&stat, 1, 100000 * SECOND_NS), HEARTBEAT_HIDE);
    stat.read_only = 0;
    stat.is_data_missing = true;
    assert_int_equal(heartbeat_volume_fate(&stat, 1, 100000 * SECOND_NS), HEARTBEAT_HIDE);
}

static void read_only_flags_follow_the_reasons(void **state)
{
    struct volume_stat stat = {.version = 3, .read_only = VOLUME_RO_LOW_SPACE};
    MasterPb__VolumeInformationMessage volume;
    heartbeat_describe(&volume, 5, "c", "", 0, &stat);
    assert_true(volume.read_only);
    assert_false(volume.read_only_can_delete);
    stat.read_only = VOLUME_RO_OPERATOR_CAN_DELETE;
    heartbeat_describe(&volume, 5, "c", "", 0, &stat);
    assert_true(volume.read_only && volume.read_only_can_delete);
    MasterPb__VolumeShortInformationMessage brief;
    heartbeat_describe_short(&brief, &volume);
    assert_true(brief.read_only && brief.read_only_can_delete);
    assert_string_equal(brief.collection, "c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(digest_is_that_of_the_spec, setup, teardown),
        cmocka_unit_test_setup_teardown(first_beat_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_server_says_so_in_a_full_beat_only, setup, teardown),
        cmocka_unit_test_setup_teardown(every_beat_is_full_until_the_master_accepts_digests, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_what_changed_is_named_and_the_digest_covers_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_requested_full_list_comes_once, setup, teardown),
        cmocka_unit_test_setup_teardown(departed_volumes_are_named_once_as_last_told, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_copy_that_moved_to_another_disk_has_not_departed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_volume_whose_delta_was_queued_is_told_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_new_reason_to_be_read_only_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_stream_starts_from_nothing, setup, teardown),
        cmocka_unit_test(expired_volumes_are_hidden_then_destroyed),
        cmocka_unit_test(nothing_expires_without_limit_content_or_ttl),
        cmocka_unit_test(a_sick_volume_is_hidden_and_never_destroyed),
        cmocka_unit_test(read_only_flags_follow_the_reasons),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
