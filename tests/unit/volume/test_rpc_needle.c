/* The rpcs that look at single needles and at whole volumes, over the wire: fields, codes, words. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/server_fixture.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void flip(struct server_fixture *f, off_t at)
{
    char path[128];
    unsigned char byte;
    snprintf(path, sizeof(path), "%s/7.dat", f->directory);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

static VolumeServerPb__ReadNeedleBlobRequest blob_at(int64_t offset, int32_t size)
{
    VolumeServerPb__ReadNeedleBlobRequest request = INIT(READ_NEEDLE_BLOB);
    request.volume_id = 7;
    request.offset = offset;
    request.size = size;
    return request;
}

static void expect_blob(struct server_fixture *f, int64_t offset, int32_t size, const char *text)
{
    VolumeServerPb__ReadNeedleBlobRequest request = blob_at(offset, size);
    server_fixture_expect(f, "ReadNeedleBlob", &request.base, ANSWER(read_needle_blob), RPC_UNKNOWN,
                          text);
}

/* ---- one needle ---- */

static void a_blob_is_read_where_it_lies(void **state)
{
    struct server_fixture *f = *state;
    expect_blob(f, 8, 5, "not found volume id 7");
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    VolumeServerPb__ReadNeedleBlobRequest request = blob_at(8, 17);
    const VolumeServerPb__ReadNeedleBlobResponse *blob =
        server_fixture_ask(f, "ReadNeedleBlob", &request.base, ANSWER(read_needle_blob));
    assert_int_equal(blob->needle_blob.len, 16 + 17 + 4 + 8 + 3);
    assert_memory_equal(blob->needle_blob.data + 20, "hello", 5);
    server_fixture_free_answer(blob);
    expect_blob(f, 8, -1, "read needle blob offset 8 size -1: invalid needle size -1");
    expect_blob(f, 8, INT32_MIN, "read needle blob offset 8 size -2147483648: invalid needle size "
                                 "-2147483648");
    expect_blob(f, 8, INT32_MAX, "read needle blob offset 8 size 2147483647: EOF");
    expect_blob(f, INT64_MAX, 5, "read needle blob offset 9223372036854775807 size 5: EOF");
    char text[256];
    snprintf(text, sizeof(text), "read needle blob offset -8 size 5: readat %s/7.dat: negative offset",
             f->directory);
    expect_blob(f, -8, 5, text);
}

static void what_is_around_the_data_is_told(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 0x31, 5, "hello");
    VolumeServerPb__VolumeNeedleStatusRequest asked = INIT(VOLUME_NEEDLE_STATUS);
    asked.volume_id = 7;
    asked.needle_id = 0x31;
    const VolumeServerPb__VolumeNeedleStatusResponse *status =
        server_fixture_ask(f, "VolumeNeedleStatus", &asked.base, ANSWER(volume_needle_status));
    assert_int_equal(status->needle_id, 0x31);
    assert_int_equal(status->cookie, 5);
    assert_int_equal(status->crc, 421273531);
    VolumeServerPb__ReadNeedleMetaRequest request = INIT(READ_NEEDLE_META);
    request.volume_id = 7;
    request.offset = 8;
    request.size = (int32_t)status->size;
    const VolumeServerPb__ReadNeedleMetaResponse *meta =
        server_fixture_ask(f, "ReadNeedleMeta", &request.base, ANSWER(read_needle_meta));
    assert_int_equal(meta->cookie, 5);
    assert_int_equal(meta->crc, status->crc);
    assert_int_equal(meta->last_modified, status->last_modified);
    assert_true(meta->append_at_ns > 0);
    server_fixture_free_answer(meta);
    char text[128];
    snprintf(text, sizeof(text), "size mismatch for entry at offset 8: found id 3331 size %u, "
                                 "expected size 0", status->size);
    request.size = -7;
    server_fixture_expect(f, "ReadNeedleMeta", &request.base, ANSWER(read_needle_meta), RPC_UNKNOWN,
                          text);
    request.offset = 1 << 20;
    server_fixture_expect(f, "ReadNeedleMeta", &request.base, ANSWER(read_needle_meta), RPC_UNKNOWN,
                          "EOF");
    server_fixture_free_answer(status);
    asked.needle_id = 77;
    server_fixture_expect(f, "VolumeNeedleStatus", &asked.base, ANSWER(volume_needle_status),
                          RPC_NOT_FOUND, "needle not found 77");
    asked.volume_id = 8;
    server_fixture_expect(f, "VolumeNeedleStatus", &asked.base, ANSWER(volume_needle_status),
                          RPC_UNKNOWN, "volume not found 8");
}

static void a_damaged_needle_has_no_status(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    flip(f, 8 + 20);
    VolumeServerPb__VolumeNeedleStatusRequest asked = INIT(VOLUME_NEEDLE_STATUS);
    asked.volume_id = 7;
    asked.needle_id = 1;
    enum rpc_status code = RPC_OK;
    struct error err = {0};
    ProtobufCMessage *message;
    assert_int_not_equal(server_fixture_call(f, "VolumeNeedleStatus", &asked.base,
                                             ANSWER(volume_needle_status), &message, &code, &err),
                         0);
    assert_int_equal(code, RPC_UNKNOWN);
    assert_non_null(strstr(err.message, "invalid CRC for needle 1 (got "));
    VolumeServerPb__VolumeStatusRequest request = INIT(VOLUME_STATUS);
    request.volume_id = 7;
    const VolumeServerPb__VolumeStatusResponse *status =
        server_fixture_ask(f, "VolumeStatus", &request.base, ANSWER(volume_status));
    assert_int_equal(status->damaged_count, 1);
    assert_int_equal(status->n_damaged, 1);
    assert_int_equal(status->damaged[0]->needle_id, 1);
    assert_int_equal(status->damaged[0]->offset, 8);
    assert_int_equal(status->n_read_only_reasons, 0);
    server_fixture_free_answer(status);
}

static VolumeServerPb__WriteNeedleBlobRequest blob_of(uint8_t *bytes, size_t size, uint64_t key)
{
    VolumeServerPb__WriteNeedleBlobRequest request = INIT(WRITE_NEEDLE_BLOB);
    request.volume_id = 7;
    request.needle_id = key;
    request.size = 17;
    request.needle_blob = (ProtobufCBinaryData){size, bytes};
    return request;
}

static void expect_write(struct server_fixture *f, const VolumeServerPb__WriteNeedleBlobRequest *request,
                         const char *text)
{
    server_fixture_expect(f, "WriteNeedleBlob", &request->base, ANSWER(write_needle_blob),
                          text ? RPC_UNKNOWN : RPC_OK, text);
}

static void a_record_is_carried_to_another_key(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    VolumeServerPb__ReadNeedleBlobRequest asked = blob_at(8, 17);
    const VolumeServerPb__ReadNeedleBlobResponse *blob =
        server_fixture_ask(f, "ReadNeedleBlob", &asked.base, ANSWER(read_needle_blob));
    uint8_t *bytes = blob->needle_blob.data;
    VolumeServerPb__WriteNeedleBlobRequest request = blob_of(bytes, 48, 1000);
    expect_write(f, &request, NULL);
    assert_int_equal(store_fixture_read(f->server->store, 7, 1000, "hello"), 0);

    request = blob_of(bytes, 10, 9);
    expect_write(f, &request, "write blob needle 9 size 17: needle 9 blob of 10 bytes is shorter than "
                              "a needle header");
    request = blob_of(bytes, 40, 9);
    expect_write(f, &request, "write blob needle 9 size 17: needle 9 blob of 40 bytes does not match "
                              "the 48 bytes size 17 takes in a version 3 volume");
    request = blob_of(bytes, 48, 9);
    request.size = 18;
    expect_write(f, &request, "write blob needle 9 size 18: needle 9 size 18 does not match its blob "
                              "header size 17");
    request.size = -1;
    expect_write(f, &request, "write blob needle 9 size -1: needle 9 has invalid size -1");
    request.volume_id = 8;
    expect_write(f, &request, "not found volume id 8");

    struct volume *volume = store_acquire(f->server->store, 7);
    assert_int_equal(volume_mark_read_only(volume, true, false, NULL), 0);
    store_release(f->server->store, volume);
    request = blob_of(bytes, 10, 9);
    expect_write(f, &request, "write blob needle 9 size 17: volume 7 is read only");
    server_fixture_free_answer(blob);
}

/* ---- whole volumes ---- */

static void sync_status_tells_both_ends(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VolumeSyncStatusRequest request = INIT(VOLUME_SYNC_STATUS);
    request.volume_id = 7;
    server_fixture_expect(f, "VolumeSyncStatus", &request.base, ANSWER(volume_sync_status),
                          RPC_UNKNOWN, "not found volume id 7");
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    const VolumeServerPb__VolumeSyncStatusResponse *status =
        server_fixture_ask(f, "VolumeSyncStatus", &request.base, ANSWER(volume_sync_status));
    assert_int_equal(status->tail_offset, 8 + 48);
    assert_int_equal(status->idx_file_size, 17);
    assert_string_equal(status->replication, "000");
    assert_string_equal(status->ttl, "");
    assert_int_equal(status->version, 3);
    assert_int_equal(status->compact_revision, 0);
    server_fixture_free_answer(status);
}

static void expect_configured(struct server_fixture *f, uint32_t id, const char *replication,
                              const char *error)
{
    VolumeServerPb__VolumeConfigureRequest request = INIT(VOLUME_CONFIGURE);
    request.volume_id = id;
    request.replication = (char *)(uintptr_t)replication;
    const VolumeServerPb__VolumeConfigureResponse *answer =
        server_fixture_ask(f, "VolumeConfigure", &request.base, ANSWER(volume_configure));
    assert_string_equal(answer->error, error);
    server_fixture_free_answer(answer);
}

static bool was_changed(struct fake_master *m, void *ctx)
{
    bool is_gone = false;
    for (size_t i = 0; i < m->beat_count; i++) {
        const MasterPb__Heartbeat *beat = m->beats[i];
        for (size_t j = 0; j < beat->n_deleted_volumes; j++)
            is_gone = is_gone || (beat->deleted_volumes[j]->id == 7 &&
                                  beat->deleted_volumes[j]->replica_placement == 0);
        for (size_t j = 0; j < beat->n_new_volumes; j++)
            if (is_gone && beat->new_volumes[j]->id == 7 &&
                beat->new_volumes[j]->replica_placement == 1)
                return true;
    }
    return false;
}

static void configure_changes_the_replication_and_tells_the_master(void **state)
{
    struct server_fixture *f = *state;
    expect_configured(f, 7, "001",
                      "volume configure volume_id:7 replication:\"001\": volume 7 not found on disk. "
                      "Also failed to restore mount: volume 7 not found on disk");
    server_fixture_allocate(f, 7, "");
    expect_configured(f, 7, "x",
                      "volume configure replication volume_id:7 replication:\"x\": unknown "
                      "replication type: 00x");
    struct volume *volume = store_acquire(f->server->store, 7);
    expect_configured(f, 7, "001", ""); /* while somebody has it in use */
    assert_int_equal(replica_placement_to_byte(volume_replica_placement(volume)), 1);
    store_release(f->server->store, volume);
    fake_master_wait(&f->master, was_changed, NULL, "the old one went and the new one came");
}

static const VolumeServerPb__ScrubVolumeResponse *scrub(struct server_fixture *f,
                                                        VolumeServerPb__VolumeScrubMode mode)
{
    VolumeServerPb__ScrubVolumeRequest request = INIT(SCRUB_VOLUME);
    request.mode = mode;
    return server_fixture_ask(f, "ScrubVolume", &request.base, ANSWER(scrub_volume));
}

static void a_scrub_finds_the_damaged_needle(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    server_fixture_allocate(f, 8, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    store_fixture_put(f->server->store, 7, 2, 5, "world");
    store_fixture_put(f->server->store, 8, 2, 5, "world");
    const VolumeServerPb__ScrubVolumeResponse *answer =
        scrub(f, VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__FULL);
    assert_int_equal(answer->total_volumes, 2);
    assert_int_equal(answer->total_files, 3);
    assert_int_equal(answer->n_broken_volume_ids, 0);
    server_fixture_free_answer(answer);
    flip(f, 8 + 20);
    answer = scrub(f, VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__INDEX);
    assert_int_equal(answer->n_broken_volume_ids, 0);
    server_fixture_free_answer(answer);
    answer = scrub(f, VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__LOCAL);
    assert_int_equal(answer->n_broken_volume_ids, 1);
    assert_int_equal(answer->broken_volume_ids[0], 7);
    assert_int_equal(answer->n_details, 1);
    assert_non_null(strstr(answer->details[0], "failed to read needle 1 on volume 7: invalid CRC for "
                                               "needle 1 (got "));
    server_fixture_free_answer(answer);
}

/* However many volumes are broken, and however badly. */
static void the_findings_of_a_scrub_are_bounded(void **state)
{
    struct server_fixture *f = *state;
    uint32_t ids[30];
    server_fixture_allocate(f, 7, "");
    for (uint64_t key = 1; key <= 1100; key++) {
        store_fixture_put(f->server->store, 7, key, 5, "hello");
        flip(f, 8 + 48 * ((off_t)key - 1) + 20);
    }
    for (size_t i = 0; i < 30; i++)
        ids[i] = 7;
    VolumeServerPb__ScrubVolumeRequest request = INIT(SCRUB_VOLUME);
    request.mode = VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__FULL;
    request.volume_ids = ids;
    request.n_volume_ids = 30;
    const VolumeServerPb__ScrubVolumeResponse *answer =
        server_fixture_ask(f, "ScrubVolume", &request.base, ANSWER(scrub_volume));
    assert_int_equal(answer->n_broken_volume_ids, 30);
    assert_string_equal(answer->details[1000], "volume 7: 100 more findings");
    assert_in_range(answer->n_details, 20000, 20000 + 30);
    assert_string_equal(answer->details[answer->n_details - 1], "volume 7: 1100 more findings");
    server_fixture_free_answer(answer);
}

static void a_scrub_of_no_volume_or_no_mode_is_refused(void **state)
{
    struct server_fixture *f = *state;
    uint32_t ids[] = {7};
    VolumeServerPb__ScrubVolumeRequest request = INIT(SCRUB_VOLUME);
    request.mode = VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__CHECKSUM;
    server_fixture_expect(f, "ScrubVolume", &request.base, ANSWER(scrub_volume), RPC_OK, NULL);
    request.volume_ids = ids;
    request.n_volume_ids = 1;
    server_fixture_expect(f, "ScrubVolume", &request.base, ANSWER(scrub_volume), RPC_UNKNOWN,
                          "volume id 7 not found");
    server_fixture_allocate(f, 7, "");
    server_fixture_expect(f, "ScrubVolume", &request.base, ANSWER(scrub_volume), RPC_UNKNOWN,
                          "unsupported volume scrub mode 4");
}

static bool is_connected(struct fake_master *m, void *ctx)
{
    for (size_t i = 0; i < m->beat_count; i++)
        if (m->beats[i]->n_disk_tags > 0 && m->beats[i]->n_volumes == 0 &&
            !m->beats[i]->has_no_volumes)
            return true;
    return false;
}

static void a_scrub_marks_what_is_broken_if_asked(void **state)
{
    struct server_fixture *f = *state;
    fake_master_wait(&f->master, is_connected, NULL, "the stream was open");
    server_fixture_allocate(f, 7, "");
    store_fixture_put(f->server->store, 7, 1, 5, "hello");
    flip(f, 8 + 20);
    VolumeServerPb__ScrubVolumeRequest request = INIT(SCRUB_VOLUME);
    request.mode = VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__FULL;
    request.mark_broken_volumes_readonly = true;
    const VolumeServerPb__ScrubVolumeResponse *answer =
        server_fixture_ask(f, "ScrubVolume", &request.base, ANSWER(scrub_volume));
    assert_int_equal(answer->n_details, 2);
    assert_string_equal(answer->details[1], "volume 7 is now read-only");
    server_fixture_free_answer(answer);
    struct volume_stat stat;
    struct volume *volume = store_acquire(f->server->store, 7);
    volume_stat(volume, &stat);
    store_release(f->server->store, volume);
    assert_int_equal(stat.read_only, VOLUME_RO_OPERATOR);
}

static void maintenance_refuses_what_changes_and_lets_the_rest_pass(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "");
    assert_int_equal(server_state_set(f->server->state, true, 0, NULL), 0);
    char text[128];
    snprintf(text, sizeof(text), "volume server %s is in maintenance mode", f->server->identity.id);
    VolumeServerPb__WriteNeedleBlobRequest write = INIT(WRITE_NEEDLE_BLOB);
    server_fixture_expect(f, "WriteNeedleBlob", &write.base, ANSWER(write_needle_blob), RPC_UNKNOWN,
                          text);
    VolumeServerPb__VolumeConfigureRequest configure = INIT(VOLUME_CONFIGURE);
    server_fixture_expect(f, "VolumeConfigure", &configure.base, ANSWER(volume_configure),
                          RPC_UNKNOWN, text);
    VolumeServerPb__VolumeSyncStatusRequest status = INIT(VOLUME_SYNC_STATUS);
    status.volume_id = 7;
    server_fixture_free_answer(
        server_fixture_ask(f, "VolumeSyncStatus", &status.base, ANSWER(volume_sync_status)));
    server_fixture_free_answer(scrub(f, VOLUME_SERVER_PB__VOLUME_SCRUB_MODE__FULL));
    expect_blob(f, 8, 1 << 20, "read needle blob offset 8 size 1048576: EOF");
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, server_fixture_set_up, server_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_blob_is_read_where_it_lies),
        TEST(what_is_around_the_data_is_told),
        TEST(a_damaged_needle_has_no_status),
        TEST(a_record_is_carried_to_another_key),
        TEST(sync_status_tells_both_ends),
        TEST(configure_changes_the_replication_and_tells_the_master),
        TEST(a_scrub_finds_the_damaged_needle),
        TEST(the_findings_of_a_scrub_are_bounded),
        TEST(a_scrub_of_no_volume_or_no_mode_is_refused),
        TEST(a_scrub_marks_what_is_broken_if_asked),
        TEST(maintenance_refuses_what_changes_and_lets_the_rest_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
