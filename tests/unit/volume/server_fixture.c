/* Short pulses, no waiting before the stop; everything else as in the field. */
#include "tests/unit/volume/server_fixture.h"

#include "common/check.h"
#include "tests/unit/cmocka_all.h"
#include "tests/unit/volume/store_fixture.h"
#include "volume/volume_server_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define WAIT_SECONDS 10

static void on_serving(void *ctx)
{
    struct server_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->is_serving = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_failed(void *ctx, const struct error *err)
{
    struct server_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->failure = *err;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void server_fixture_init(struct server_fixture *f)
{
    memset(f, 0, sizeof(*f));
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    fake_master_start(&f->master);
    strcpy(f->directory, "/tmp/kelp-server-XXXXXX");
    assert_non_null(mkdtemp(f->directory));
    assert_int_equal(rpc_client_create(&f->client, NULL), 0);
    snprintf(f->masters, sizeof(f->masters), "%s", f->master.address);
    f->location = (struct store_location_config){.directory = f->directory, .max_volumes = 8};
    volume_server_config_init(&f->config);
    f->config.port = 0;
    f->config.masters = f->masters;
    f->config.data_center = "dc1";
    f->config.rack = "r1";
    f->config.pulse_ms = 50;
    f->config.pre_stop_seconds = 0;
    f->config.http_threads = 1;
    f->config.locations = &f->location;
    f->config.location_count = 1;
    f->config.on_serving = on_serving;
    f->config.on_failed = on_failed;
    f->config.ctx = f;
}

static void wait_until(struct server_fixture *f, const bool *flag, const int *code)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_SECONDS;
    pthread_mutex_lock(&f->lock);
    int rc = 0;
    while (!(flag && *flag) && !*code && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    pthread_mutex_unlock(&f->lock);
}

void server_fixture_wait_serving(struct server_fixture *f)
{
    wait_until(f, &f->is_serving, &f->failure.code);
    if (f->failure.code || !f->is_serving)
        fail_msg("not serving: %s", f->failure.message);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", volume_server_grpc_port(f->server));
}

void server_fixture_wait_failed(struct server_fixture *f)
{
    wait_until(f, NULL, &f->failure.code);
    assert_int_not_equal(f->failure.code, 0);
}

void server_fixture_start(struct server_fixture *f)
{
    struct error err = {0};
    if (volume_server_start(&f->server, &f->config, &err))
        fail_msg("start: %s", err.message);
    server_fixture_wait_serving(f);
}

void server_fixture_stop(struct server_fixture *f)
{
    volume_server_stop(f->server, 1000);
    f->server = NULL;
    f->is_serving = false;
}

void server_fixture_fini(struct server_fixture *f)
{
    server_fixture_stop(f);
    rpc_client_destroy(f->client);
    fake_master_stop(&f->master);
    store_fixture_remove_tree(f->directory);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
}

int server_fixture_call(struct server_fixture *f, const char *method,
                        const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                        ProtobufCMessage **ret, enum rpc_status *ret_status, struct error *err)
{
    char path[128];
    snprintf(path, sizeof(path), "/volume_server_pb.VolumeServer/%s", method);
    return rpc_client_call(f->client, f->address, path, request, response, WAIT_SECONDS * 1000, ret,
                           ret_status, err);
}

void server_fixture_expect(struct server_fixture *f, const char *method,
                           const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *response, enum rpc_status status,
                           const char *text)
{
    enum rpc_status got;
    struct error err = {0};
    server_fixture_call(f, method, request, response, NULL, &got, &err);
    if (got != status || (text && strcmp(err.message, text) != 0))
        fail_msg("%s: %s \"%s\", not %s \"%s\"", method, rpc_status_name(got), err.message,
                 rpc_status_name(status), text ? text : "");
}

int server_fixture_set_up(void **state)
{
    struct server_fixture *f = must(calloc(1, sizeof(*f)));
    server_fixture_init(f);
    server_fixture_start(f);
    *state = f;
    return 0;
}

int server_fixture_tear_down(void **state)
{
    server_fixture_fini(*state);
    free(*state);
    return 0;
}

void server_fixture_allocate(struct server_fixture *f, uint32_t id, const char *collection)
{
    const struct store_allocate request = {.id = id, .collection = collection, .disk_type = ""};
    struct error err = {0};
    if (store_allocate_volume(f->server->store, &request, &err) != 0)
        fail_msg("%s", err.message);
}

const void *server_fixture_ask(struct server_fixture *f, const char *method,
                               const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *response)
{
    ProtobufCMessage *message;
    struct error err = {0};
    if (server_fixture_call(f, method, request, response, &message, NULL, &err) != 0)
        fail_msg("%s: %s", method, err.message);
    return message;
}

void server_fixture_free_answer(const void *message)
{
    protobuf_c_message_free_unpacked((ProtobufCMessage *)(uintptr_t)message, NULL);
}
