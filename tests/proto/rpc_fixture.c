/* See rpc_fixture.h. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "tests/proto/rpc_fixture.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

int rpc_fixture_setup(void **state)
{
    struct rpc_fixture *f = must(calloc(1, sizeof(*f)));
    struct error err = {0};
    echo_service_init(&f->service);
    struct rpc_server_config config = {
        .bind_address = "127.0.0.1", .services = &f->service.rpc, .service_count = 1};
    assert_int_equal(rpc_server_create(&f->server, &config, &err), 0);
    assert_int_equal(rpc_client_create(&f->client, &err), 0);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", rpc_server_port(f->server));
    *state = f;
    return 0;
}

int rpc_fixture_teardown(void **state)
{
    struct rpc_fixture *f = *state;
    rpc_client_destroy(f->client);
    rpc_server_destroy(f->server, 0);
    assert_int_equal(f->service.overlapped, 0);
    assert_int_equal(f->service.open, 0);
    echo_service_fini(&f->service);
    free(f);
    return 0;
}

RPC_FIXTURE_MESSAGE rpc_fixture_say(const char *command, const char *body)
{
    RPC_FIXTURE_MESSAGE m = VOLUME_SERVER_PB__VOLUME_TAIL_SENDER_RESPONSE__INIT;
    m.needle_header = (ProtobufCBinaryData){strlen(command), (uint8_t *)(uintptr_t)command};
    m.needle_body = (ProtobufCBinaryData){strlen(body), (uint8_t *)(uintptr_t)body};
    return m;
}

int rpc_fixture_call(struct rpc_fixture *f, const char *path, const char *command, const char *body,
                ProtobufCMessage **ret, enum rpc_status *status, struct error *err)
{
    RPC_FIXTURE_MESSAGE m = rpc_fixture_say(command, body);
    return rpc_client_call(f->client, f->address, path, &m.base, RPC_FIXTURE_DESCRIPTOR,
                           RPC_FIXTURE_TIMEOUT_MS, ret, status,
                           err);
}

/* --- what came back */

void rpc_watch_init(struct rpc_watch *w)
{
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
}

void rpc_watch_fini(struct rpc_watch *w)
{
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
}

static void watch_opened(struct rpc_stream *stream, void *ctx)
{
    struct rpc_watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->opened++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void watch_message(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    struct rpc_watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->messages++;
    w->bytes += ((const RPC_FIXTURE_MESSAGE *)(const void *)message)->needle_body.len;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void watch_closed(struct rpc_stream *stream, enum rpc_status status, const struct error *err,
                         void *ctx)
{
    struct rpc_watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->closed++;
    w->status = status;
    if (err)
        w->err = *err;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void rpc_watch_done(void *ctx, const ProtobufCMessage *response, enum rpc_status status,
                       const struct error *err)
{
    assert_true((response == NULL) == (err != NULL));
    watch_closed(NULL, status, err, ctx);
}

const struct rpc_stream_ops rpc_watch_ops = {watch_opened, watch_message, watch_closed};

void rpc_watch_wait(struct rpc_watch *w, const unsigned *counter, unsigned at_least)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 20;
    int rc = 0;
    pthread_mutex_lock(&w->lock);
    while (*counter < at_least && rc == 0)
        rc = pthread_cond_timedwait(&w->changed, &w->lock, &deadline);
    pthread_mutex_unlock(&w->lock);
    assert_int_equal(rc, 0);
}

struct rpc_stream *rpc_fixture_open(struct rpc_fixture *f, const char *path, struct rpc_watch *w)
{
    struct rpc_stream *stream = NULL;
    struct error err = {0};
    assert_int_equal(rpc_stream_open(f->client, f->address, path, RPC_FIXTURE_DESCRIPTOR, 0,
                                     &rpc_watch_ops, w,
                                     &stream, &err),
                     0);
    return stream;
}
