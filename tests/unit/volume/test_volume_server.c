/* A volume server's life under a master: waiting for one, beats, deltas, redirects, leaving,
 * stopping. */
#include "tests/unit/cmocka_all.h"

#include "tests/unit/volume/server_fixture.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int setup(void **state)
{
    struct server_fixture *f = calloc(1, sizeof(*f));
    server_fixture_init(f);
    *state = f;
    return 0;
}

static bool knows_the_first_beats(struct fake_master *m, void *ctx) { return m->beat_count >= 2; }

/* What happens from here on is told as a change, and not with the first list. */
static int setup_started(void **state)
{
    server_fixture_set_up(state);
    struct server_fixture *f = *state;
    fake_master_wait(&f->master, knows_the_first_beats, NULL, "the first beats were told");
    return 0;
}

/* ---- claims about what the master has heard; asked under its lock ---- */

static bool has_beats(struct fake_master *m, void *ctx)
{
    return m->beat_count >= *(const size_t *)ctx;
}

static bool stream_is_over(struct fake_master *m, void *ctx)
{
    return m->streams_closed >= *(const unsigned *)ctx;
}

static bool was_asked_twice(struct fake_master *m, void *ctx)
{
    return m->configurations_asked >= 2;
}

static bool is_volume_beat(const MasterPb__Heartbeat *beat)
{
    return beat->_volume_digest_case == MASTER_PB__HEARTBEAT___VOLUME_DIGEST_VOLUME_DIGEST;
}

static bool last_is_farewell(struct fake_master *m, void *ctx)
{
    const MasterPb__Heartbeat *last = m->beats[m->beat_count - 1];
    return last->has_no_volumes && !is_volume_beat(last);
}

struct search {
    size_t from;
    uint32_t id;
    const MasterPb__Heartbeat *found;
    const MasterPb__VolumeInformationMessage *volume;
};

static bool knows_full(struct fake_master *m, void *ctx)
{
    struct search *s = ctx;
    for (size_t i = s->from; i < m->beat_count; i++)
        for (size_t v = 0; v < m->beats[i]->n_volumes; v++)
            if (m->beats[i]->volumes[v]->id == s->id) {
                s->found = m->beats[i];
                s->volume = m->beats[i]->volumes[v];
                return true;
            }
    return false;
}

static bool knows_change(struct fake_master *m, void *ctx)
{
    struct search *s = ctx;
    for (size_t i = s->from; i < m->beat_count; i++)
        for (size_t v = 0; v < m->beats[i]->n_changed_volumes; v++)
            if (m->beats[i]->changed_volumes[v]->id == s->id) {
                s->found = m->beats[i];
                s->volume = m->beats[i]->changed_volumes[v];
                return true;
            }
    return false;
}

static bool knows_new(struct fake_master *m, void *ctx)
{
    struct search *s = ctx;
    for (size_t i = s->from; i < m->beat_count; i++)
        for (size_t v = 0; v < m->beats[i]->n_new_volumes; v++)
            if (m->beats[i]->new_volumes[v]->id == s->id)
                return (s->found = m->beats[i]) != NULL;
    return false;
}

static bool knows_deleted_delta(struct fake_master *m, void *ctx)
{
    struct search *s = ctx;
    for (size_t i = s->from; i < m->beat_count; i++)
        for (size_t v = 0; v < m->beats[i]->n_deleted_volumes; v++)
            if (m->beats[i]->deleted_volumes[v]->id == s->id && !is_volume_beat(m->beats[i]))
                return (s->found = m->beats[i]) != NULL;
    return false;
}

static bool knows_maintenance(struct fake_master *m, void *ctx)
{
    struct search *s = ctx;
    for (size_t i = s->from; i < m->beat_count; i++)
        if (m->beats[i]->state && m->beats[i]->state->maintenance)
            return (s->found = m->beats[i]) != NULL;
    return false;
}

/* ---- starting ---- */

static void the_ports_open_only_after_a_master_has_answered(void **state)
{
    struct server_fixture *f = *state;
    f->master.is_silent = true;
    assert_int_equal(volume_server_start(&f->server, &f->config, NULL), 0);
    fake_master_wait(&f->master, was_asked_twice, NULL, "the master was asked again");
    assert_int_equal(volume_server_port(f->server), 0);
    pthread_mutex_lock(&f->master.lock);
    f->master.is_silent = false;
    pthread_mutex_unlock(&f->master.lock);
    server_fixture_wait_serving(f);
    assert_int_not_equal(volume_server_port(f->server), 0);
}

static void stopping_does_not_wait_for_a_master(void **state)
{
    struct server_fixture *f = *state;
    f->master.is_silent = true;
    assert_int_equal(volume_server_start(&f->server, &f->config, NULL), 0);
    server_fixture_stop(f);
}

static void a_bad_config_fails_at_once_and_says_why(void **state)
{
    struct server_fixture *f = *state;
    struct error err = {0};
    f->config.masters = "";
    assert_int_equal(volume_server_start(&f->server, &f->config, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "-master"));
    f->config.masters = f->masters;
    f->location.directory = "/tmp/kelp-there-is-no-such-directory";
    assert_int_equal(volume_server_start(&f->server, &f->config, &err), KELP_E_NOT_FOUND);
}

static void a_port_in_use_is_told(void **state)
{
    struct server_fixture *f = *state;
    f->config.grpc_port = rpc_server_port(f->master.server);
    assert_int_equal(volume_server_start(&f->server, &f->config, NULL), 0);
    server_fixture_wait_failed(f);
    assert_int_equal(f->failure.code, KELP_E_UNAVAILABLE);
    assert_non_null(strstr(f->failure.message, "gRPC port"));
}

/* ---- beats ---- */

static void the_first_beats_are_the_full_list_then_the_shards(void **state)
{
    struct server_fixture *f = *state;
    size_t two = 2;
    fake_master_wait(&f->master, has_beats, &two, "two beats came");
    const MasterPb__Heartbeat *first = f->master.beats[0], *second = f->master.beats[1];
    assert_string_equal(first->ip, "127.0.0.1");
    assert_int_equal(first->port, volume_server_port(f->server));
    assert_int_equal(first->grpc_port, volume_server_grpc_port(f->server));
    char own[32];
    snprintf(own, sizeof(own), "127.0.0.1:%u", volume_server_port(f->server));
    assert_string_equal(first->id, own);
    assert_string_equal(first->public_url, own);
    assert_string_equal(first->data_center, "dc1");
    assert_string_equal(first->rack, "r1");
    assert_true(first->has_no_volumes && first->has_no_ec_shards && is_volume_beat(first));
    assert_int_equal(first->n_location_uuids, 1);
    assert_int_equal(first->n_disk_tags, 1);
    assert_int_equal(first->n_max_volume_counts, 1);
    assert_string_equal(first->max_volume_counts[0]->key, "");
    assert_int_equal(first->max_volume_counts[0]->value, 8);
    assert_true(first->n_disk_total_bytes == 1 && first->disk_total_bytes[0]->value > 0);
    assert_non_null(first->state);
    assert_true(second->has_no_ec_shards && !is_volume_beat(second) && second->ip[0] == '\0');
}

static void a_new_volume_is_told_at_once_and_in_full_with_the_next_beat(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "pics");
    struct search s = {.id = 7};
    fake_master_wait(&f->master, knows_new, &s, "the new volume came as a delta");
    assert_string_equal(s.found->ip, "127.0.0.1");
    assert_string_equal(s.found->new_volumes[0]->collection, "pics");
    fake_master_wait(&f->master, knows_change, &s, "the new volume came in full");
    assert_int_equal(s.volume->size, 8);
    assert_int_equal(s.volume->version, 3);
}

static void what_is_written_is_told_with_the_next_beat(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "pics");
    struct search s = {.id = 7};
    fake_master_wait(&f->master, knows_change, &s, "the volume was told");
    store_fixture_put(f->server->store, 7, 4711, 5, "hello");
    s.from = fake_master_beat_count(&f->master);
    fake_master_wait(&f->master, knows_change, &s, "the write was told");
    assert_int_equal(s.volume->file_count, 1);
    assert_int_equal(s.found->max_file_key, 4711);
}

static void a_deleted_volume_is_told_at_once(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "pics");
    assert_int_equal(store_delete_volume(f->server->store, 7, STORE_DELETE_ALWAYS, NULL), 0);
    struct search s = {.id = 7};
    fake_master_wait(&f->master, knows_deleted_delta, &s, "the deletion was told");
}

static void a_volume_whose_ttl_is_long_over_is_destroyed(void **state)
{
    struct server_fixture *f = *state;
    struct store *store = f->server->store;
    struct store_allocate request = {.id = 7, .ttl = {1, 1}}; /* a minute */
    assert_int_equal(store_allocate_volume(store, &request, NULL), 0);
    store_fixture_put(store, 7, 4711, 5, "hello");
    struct search s = {.id = 7};
    fake_master_wait(&f->master, knows_change, &s, "the volume was told");
    assert_int_equal(store_unmount_volume(store, 7, NULL), 0);
    char path[96];
    snprintf(path, sizeof(path), "%s/7.dat", f->directory);
    const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    assert_int_equal(store_mount_volume(store, 7, NULL, NULL), 0);
    s.from = fake_master_beat_count(&f->master);
    fake_master_wait(&f->master, knows_deleted_delta, &s, "the expired volume was told as gone");
    struct volume *volume;
    while ((volume = store_acquire(store, 7)) != NULL)
        store_release(store, volume);
    assert_int_not_equal(store_mount_volume(store, 7, NULL, NULL), 0);
    assert_int_not_equal(access(path, F_OK), 0);
}

static void the_full_list_comes_when_asked_for(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "pics");
    struct search s = {.id = 7};
    fake_master_wait(&f->master, knows_change, &s, "the volume was told");
    s.from = fake_master_beat_count(&f->master);
    MasterPb__HeartbeatResponse again = MASTER_PB__HEARTBEAT_RESPONSE__INIT;
    again.resend_full_volume_list = true;
    fake_master_say(&f->master, &again);
    fake_master_wait(&f->master, knows_full, &s, "the full list came");
}

static void a_lost_stream_is_opened_anew_with_the_full_list(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "pics");
    struct search s = {.id = 7};
    fake_master_wait(&f->master, knows_change, &s, "the volume was told");
    s.from = fake_master_beat_count(&f->master);
    fake_master_hang_up(&f->master);
    fake_master_wait(&f->master, knows_full, &s, "the full list came on a new stream");
    assert_int_equal(f->master.streams_opened, 2);
}

static void a_follower_sends_the_server_on_to_the_leader(void **state)
{
    struct server_fixture *f = *state;
    struct fake_master leader;
    fake_master_start(&leader);
    snprintf(leader.address, sizeof(leader.address), "127.0.0.1:2.%u",
             rpc_server_port(leader.server));
    f->master.leader = leader.address;
    server_fixture_start(f);
    size_t two = 2;
    fake_master_wait(&leader, has_beats, &two, "the leader heard from the server");
    struct address master;
    assert_true(heartbeat_master(f->server->heartbeat, &master));
    server_fixture_stop(f);
    fake_master_stop(&leader);
}

static void a_size_limit_resizes_automatic_disks_at_once(void **state)
{
    struct server_fixture *f = *state;
    f->location.max_volumes = 0;
    f->master.volume_size_limit = 0;
    f->config.pulse_ms = 3600000; /* only the answer can bring a second volume beat */
    server_fixture_start(f);
    size_t beats = 3;
    fake_master_wait(&f->master, has_beats, &beats, "the first beats came");
    assert_int_equal(f->master.beats[0]->max_volume_counts[0]->value, 0);
    MasterPb__HeartbeatResponse options = MASTER_PB__HEARTBEAT_RESPONSE__INIT;
    options.volume_size_limit = 1 << 20;
    fake_master_say(&f->master, &options);
    beats = 4;
    fake_master_wait(&f->master, has_beats, &beats, "a volume beat followed");
    assert_true(f->master.beats[3]->max_volume_counts[0]->value > 0);
}

static void a_directory_that_is_served_twice_ends_the_server(void **state)
{
    struct server_fixture *f = *state;
    f->config.pulse_ms = 10; /* the retries wait for fractions of it */
    server_fixture_start(f);
    char uuid[] = "x";
    char *uuids[] = {uuid};
    MasterPb__HeartbeatResponse duplicate = MASTER_PB__HEARTBEAT_RESPONSE__INIT;
    duplicate.n_duplicated_uuids = 1;
    duplicate.duplicated_uuids = uuids;
    for (unsigned i = 0; i < 4; i++) {
        size_t more = fake_master_beat_count(&f->master) + 1;
        fake_master_wait(&f->master, has_beats, &more, "a beat came");
        fake_master_say(&f->master, &duplicate);
        unsigned closed = i + 1;
        fake_master_wait(&f->master, stream_is_over, &closed, "the refused stream ended");
    }
    server_fixture_wait_failed(f);
    assert_int_equal(f->failure.code, KELP_E_EXISTS);
    assert_non_null(strstr(f->failure.message, "vol_dir.uuid"));
}

static void the_state_is_told_after_a_change(void **state)
{
    struct server_fixture *f = *state;
    VolumeServerPb__VolumeServerState wanted = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    wanted.maintenance = true;
    VolumeServerPb__SetStateRequest request = VOLUME_SERVER_PB__SET_STATE_REQUEST__INIT;
    request.state = &wanted;
    server_fixture_expect(f, "SetState", &request.base,
                          &volume_server_pb__set_state_response__descriptor, RPC_OK, NULL);
    struct search s = {0};
    fake_master_wait(&f->master, knows_maintenance, &s, "the master knows of the maintenance");
}

/* ---- leaving ---- */

static void the_state_lies_with_the_indexes(void **state)
{
    struct server_fixture *f = *state;
    char index[96], path[112];
    struct stat st;
    snprintf(index, sizeof(index), "%s/index", f->directory);
    snprintf(path, sizeof(path), "%s/state.pb", index);
    assert_int_equal(mkdir(index, 0755), 0);
    f->config.index_directory = index;
    server_fixture_start(f);
    assert_int_equal(server_state_set(f->server->state, true, 0, NULL), 0);
    assert_int_equal(stat(path, &st), 0);
    server_fixture_stop(f);
    server_fixture_start(f);
    bool maintenance = false;
    uint32_t version;
    server_state_get(f->server->state, &maintenance, &version);
    assert_true(maintenance);
}

static void leaving_says_farewell_and_goes_on_serving(void **state)
{
    struct server_fixture *f = *state;
    size_t two = 2;
    fake_master_wait(&f->master, has_beats, &two, "two beats came");
    VolumeServerPb__VolumeServerLeaveRequest request =
        VOLUME_SERVER_PB__VOLUME_SERVER_LEAVE_REQUEST__INIT;
    for (int i = 0; i < 2; i++)
        server_fixture_expect(f, "VolumeServerLeave", &request.base,
                              &volume_server_pb__volume_server_leave_response__descriptor, RPC_OK,
                              NULL);
    unsigned one = 1;
    fake_master_wait(&f->master, stream_is_over, &one, "the stream ended");
    const MasterPb__Heartbeat *last = f->master.beats[f->master.beat_count - 1];
    assert_true(last->has_no_volumes && last->max_file_key == 0);
    assert_string_equal(last->ip, "127.0.0.1");
    server_fixture_allocate(f, 7, "pics");
    assert_int_equal(f->master.streams_opened, 1);
}

static void stopping_says_farewell(void **state)
{
    struct server_fixture *f = *state;
    size_t two = 2;
    fake_master_wait(&f->master, has_beats, &two, "two beats came");
    server_fixture_stop(f);
    fake_master_wait(&f->master, last_is_farewell, NULL, "the farewell came");
}

static void hurrying_ends_the_wait_before_the_ports_close(void **state)
{
    struct server_fixture *f = *state;
    f->config.pre_stop_seconds = 3600;
    server_fixture_start(f);
    volume_server_hurry(f->server);
    server_fixture_stop(f);
}

static void the_metrics_port_shows_the_volumes(void **state)
{
    struct server_fixture *f = *state;
    server_fixture_allocate(f, 7, "pics");
    struct buffer page = BUFFER_INIT;
    metrics_print(volume_server_metrics(f->server), &page);
    assert_non_null(strstr(buffer_cstr(&page),
                           "SeaweedFS_volumeServer_volumes{collection=\"pics\","
                           "type=\"volume\"} 1"));
    assert_non_null(strstr(buffer_cstr(&page), "SeaweedFS_volumeServer_max_volumes 8"));
    buffer_fini(&page);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, server_fixture_tear_down)
#define STARTED(name) cmocka_unit_test_setup_teardown(name, setup_started, server_fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_ports_open_only_after_a_master_has_answered),
        TEST(stopping_does_not_wait_for_a_master),
        TEST(a_bad_config_fails_at_once_and_says_why),
        TEST(a_port_in_use_is_told),
        TEST(the_state_lies_with_the_indexes),
        STARTED(the_first_beats_are_the_full_list_then_the_shards),
        STARTED(a_new_volume_is_told_at_once_and_in_full_with_the_next_beat),
        STARTED(what_is_written_is_told_with_the_next_beat),
        STARTED(a_deleted_volume_is_told_at_once),
        STARTED(a_volume_whose_ttl_is_long_over_is_destroyed),
        STARTED(the_full_list_comes_when_asked_for),
        STARTED(a_lost_stream_is_opened_anew_with_the_full_list),
        TEST(a_follower_sends_the_server_on_to_the_leader),
        TEST(a_size_limit_resizes_automatic_disks_at_once),
        TEST(a_directory_that_is_served_twice_ends_the_server),
        STARTED(the_state_is_told_after_a_change),
        STARTED(leaving_says_farewell_and_goes_on_serving),
        STARTED(stopping_says_farewell),
        TEST(hurrying_ends_the_wait_before_the_ports_close),
        STARTED(the_metrics_port_shows_the_volumes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
