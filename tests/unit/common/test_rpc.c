/* The RPC layer against itself: all kinds of calls from both sides, errors, limits, and every way in
 * which a call can end early. */
#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "common/rpc_client.h"
#include "common/rpc_server.h"
#include "proto/volume_server.pb-c.h"
#include "tests/proto/echo_service.h"

#include <dirent.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE VolumeServerPb__VolumeTailSenderResponse
#define DESCRIPTOR &volume_server_pb__volume_tail_sender_response__descriptor
#define TIMEOUT_MS 10000

struct fixture {
    struct echo_service service;
    struct rpc_server *server;
    struct rpc_client *client;
    char address[32];
};

static int setup(void **state)
{
    struct fixture *f = must(calloc(1, sizeof(*f)));
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

static int teardown(void **state)
{
    struct fixture *f = *state;
    rpc_client_destroy(f->client);
    rpc_server_destroy(f->server, 0);
    assert_int_equal(f->service.overlapped, 0);
    assert_int_equal(f->service.open, 0);
    echo_service_fini(&f->service);
    free(f);
    return 0;
}

static MESSAGE say(const char *command, const char *body)
{
    MESSAGE m = VOLUME_SERVER_PB__VOLUME_TAIL_SENDER_RESPONSE__INIT;
    m.needle_header = (ProtobufCBinaryData){strlen(command), (uint8_t *)(uintptr_t)command};
    m.needle_body = (ProtobufCBinaryData){strlen(body), (uint8_t *)(uintptr_t)body};
    return m;
}

static void assert_body(const ProtobufCMessage *message, const char *body)
{
    const MESSAGE *m = (const void *)message;
    assert_non_null(m);
    assert_int_equal(m->needle_body.len, strlen(body));
    assert_memory_equal(m->needle_body.data, body, strlen(body));
}

static int call(struct fixture *f, const char *path, const char *command, const char *body,
                ProtobufCMessage **ret, enum rpc_status *status, struct error *err)
{
    MESSAGE m = say(command, body);
    return rpc_client_call(f->client, f->address, path, &m.base, DESCRIPTOR, TIMEOUT_MS, ret, status,
                           err);
}

/* --- a stream as its events, for a thread that waits for them */

struct watch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned opened, messages, closed;
    size_t bytes;
    enum rpc_status status;
    struct error err;
};

static void watch_init(struct watch *w)
{
    memset(w, 0, sizeof(*w));
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
}

static void watch_fini(struct watch *w)
{
    pthread_mutex_destroy(&w->lock);
    pthread_cond_destroy(&w->changed);
}

static void watch_opened(struct rpc_stream *stream, void *ctx)
{
    struct watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->opened++;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void watch_message(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    struct watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->messages++;
    w->bytes += ((const MESSAGE *)(const void *)message)->needle_body.len;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void watch_closed(struct rpc_stream *stream, enum rpc_status status, const struct error *err,
                         void *ctx)
{
    struct watch *w = ctx;
    pthread_mutex_lock(&w->lock);
    w->closed++;
    w->status = status;
    if (err)
        w->err = *err;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void watch_done(void *ctx, const ProtobufCMessage *response, enum rpc_status status,
                       const struct error *err)
{
    assert_true((response == NULL) == (err != NULL));
    watch_closed(NULL, status, err, ctx);
}

static const struct rpc_stream_ops watch_ops = {watch_opened, watch_message, watch_closed};

/* Waits until the counter, one of the watch's, is at least that. */
static void watch_wait(struct watch *w, const unsigned *counter, unsigned at_least)
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

static struct rpc_stream *open_stream(struct fixture *f, const char *path, struct watch *w)
{
    struct rpc_stream *stream = NULL;
    struct error err = {0};
    assert_int_equal(rpc_stream_open(f->client, f->address, path, DESCRIPTOR, 0, &watch_ops, w,
                                     &stream, &err),
                     0);
    return stream;
}

/* --- the four kinds */

static void unary_call_is_answered_on_both_places(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/echo.Echo/Unary", "/echo.Echo/WorkerUnary"};
    for (size_t i = 0; i < 2; i++) {
        ProtobufCMessage *answer = NULL;
        enum rpc_status status = RPC_UNKNOWN;
        struct error err = {0};
        assert_int_equal(call(f, paths[i], "", "hello", &answer, &status, &err), 0);
        assert_int_equal(status, RPC_OK);
        assert_body(answer, "hello");
        protobuf_c_message_free_unpacked(answer, NULL);
    }
    assert_true(echo_service_wait(&f->service, &f->service.closed, 2));
}

static void peer_ip_is_bare(void **state)
{
    ProtobufCMessage *answer = NULL;
    assert_int_equal(call(*state, "/echo.Echo/Unary", "ip", "", &answer, NULL, NULL), 0);
    assert_body(answer, "127.0.0.1");
    protobuf_c_message_free_unpacked(answer, NULL);
}

static void many_unary_calls_run_at_once(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    for (unsigned i = 0; i < 500; i++) {
        MESSAGE m = say("", "x");
        rpc_client_send(f->client, f->address, i % 2 ? "/echo.Echo/Unary" : "/echo.Echo/WorkerUnary",
                        &m.base, DESCRIPTOR, TIMEOUT_MS, watch_done, &w);
    }
    watch_wait(&w, &w.closed, 500);
    assert_int_equal(w.status, RPC_OK);
    watch_fini(&w);
}

static int count_message(void *ctx, const ProtobufCMessage *message)
{
    unsigned *count = ctx;
    assert_int_equal(((const MESSAGE *)(const void *)message)->version, *count);
    return ++*count == 7 ? -77 : 0;
}

static void server_stream_is_read_in_order(void **state)
{
    struct fixture *f = *state;
    MESSAGE m = say("fail 5 that was all", "abc");
    m.version = 6;
    unsigned count = 0;
    enum rpc_status status;
    struct error err = {0};
    assert_int_equal(rpc_client_read_stream(f->client, f->address, "/echo.Echo/ServerStream", &m.base,
                                            DESCRIPTOR, TIMEOUT_MS, count_message, &count, &status,
                                            &err),
                     KELP_E_NOT_FOUND);
    assert_int_equal(count, 6);
    assert_int_equal(status, RPC_NOT_FOUND);
    assert_string_equal(err.message, "that was all");
}

static void reader_that_stops_cancels_the_stream(void **state)
{
    struct fixture *f = *state;
    MESSAGE m = say("endless", "abc");
    unsigned count = 0;
    assert_int_equal(rpc_client_read_stream(f->client, f->address, "/echo.Echo/ServerStream", &m.base,
                                            DESCRIPTOR, 0, count_message, &count, NULL, NULL),
                     -77);
    assert_int_equal(count, 7);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 1));
}

static void client_stream_is_gathered_and_answered(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    struct rpc_stream *stream = open_stream(f, "/echo.Echo/ClientStream", &w);
    MESSAGE m = say("", "0123456789");
    for (int i = 0; i < 100; i++)
        assert_int_equal(rpc_stream_send_wait(stream, &m.base), 0);
    rpc_stream_half_close(stream);
    watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_OK);
    assert_int_equal(w.messages, 1);
    assert_int_equal(w.bytes, 1000);
    watch_fini(&w);
}

static void two_way_stream_echoes_until_half_closed(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    struct rpc_stream *stream = open_stream(f, "/echo.Echo/TwoWay", &w);
    for (unsigned i = 1; i <= 50; i++) {
        MESSAGE m = say("", "ping");
        assert_int_equal(rpc_stream_send(stream, &m.base), 0);
        watch_wait(&w, &w.messages, i);
    }
    assert_int_equal(w.opened, 1);
    assert_int_equal(w.closed, 0);
    rpc_stream_half_close(stream);
    watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_OK);
    assert_int_equal(w.bytes, 200);
    watch_fini(&w);
}

static void server_ends_two_way_stream_after_what_it_has_sent(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    struct rpc_stream *stream = open_stream(f, "/echo.Echo/TwoWay", &w);
    rpc_stream_ref(stream);
    for (int i = 0; i < 20; i++) {
        MESSAGE m = say("", "ping");
        rpc_stream_send(stream, &m.base);
    }
    MESSAGE end = say("fail 2 raft.Server: Not current leader", "");
    rpc_stream_send(stream, &end.base);
    watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.messages, 20);
    assert_int_equal(w.status, RPC_UNKNOWN);
    assert_string_equal(w.err.message, "raft.Server: Not current leader");
    assert_int_equal(rpc_stream_send(stream, &end.base), KELP_E_CANCELLED);
    rpc_stream_cancel(stream);
    rpc_stream_unref(stream);
    watch_fini(&w);
}

/* --- errors */

static void failure_reaches_the_client_verbatim(void **state)
{
    struct error err = {0};
    enum rpc_status status;
    int rc = call(*state, "/echo.Echo/WorkerUnary", "fail 9 ec volume 3 has: \"no\" 100% f\xc3\xbcr\n it",
                  "", NULL, &status, &err);
    assert_int_equal(rc, KELP_E_PRECONDITION);
    assert_int_equal(status, RPC_FAILED_PRECONDITION);
    assert_string_equal(err.message, "ec volume 3 has: \"no\" 100% f\xc3\xbcr\n it");
}

static void unknown_method_and_service_are_unimplemented(void **state)
{
    struct error err = {0};
    enum rpc_status status;
    assert_int_equal(call(*state, "/echo.Echo/Nothing", "", "", NULL, &status, &err),
                     KELP_E_UNIMPLEMENTED);
    assert_int_equal(status, RPC_UNIMPLEMENTED);
    assert_string_equal(err.message, "unknown method Nothing for service echo.Echo");
    assert_int_equal(call(*state, "/echo.Ech/Unary", "", "", NULL, NULL, &err), KELP_E_UNIMPLEMENTED);
    assert_string_equal(err.message, "unknown service echo.Ech");
    assert_int_equal(call(*state, "/echo.Echo/Unar", "", "", NULL, NULL, &err), KELP_E_UNIMPLEMENTED);
    assert_int_equal(call(*state, "/echo.Echo/Unary2", "", "", NULL, NULL, &err), KELP_E_UNIMPLEMENTED);
}

/* As a request the server takes this for a field that runs over the end. */
static void request_that_does_not_parse_is_refused(void **state)
{
    struct fixture *f = *state;
    ProtobufCMessageUnknownField garbage = {
        .tag = 1, .wire_type = PROTOBUF_C_WIRE_TYPE_VARINT, .len = 1, .data = (uint8_t[]){5}};
    VolumeServerPb__Empty m = VOLUME_SERVER_PB__EMPTY__INIT;
    m.base.n_unknown_fields = 1;
    m.base.unknown_fields = &garbage;
    static const char *const paths[] = {"/echo.Echo/Unary", "/echo.Echo/WorkerUnary",
                                        "/echo.Echo/ServerStream", "/echo.Echo/TwoWay"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        enum rpc_status status = RPC_OK;
        struct error err = {0};
        assert_int_equal(rpc_client_call(f->client, f->address, paths[i], &m.base, DESCRIPTOR,
                                         TIMEOUT_MS, NULL, &status, &err),
                         KELP_E_INTERNAL);
        assert_int_equal(status, RPC_INTERNAL);
        assert_non_null(strstr(err.message, "error unmarshalling request"));
    }
    assert_int_equal(call(f, "/echo.Echo/Unary", "", "still alive", NULL, NULL, NULL), 0);
}

static void answer_that_does_not_parse_is_reported(void **state)
{
    struct fixture *f = *state;
    MESSAGE m = say("", "\xff\xff\xff");
    struct error err = {0};
    /* Field 2 is a string of bytes here and a double there. */
    int rc = rpc_client_call(f->client, f->address, "/echo.Echo/Unary", &m.base,
                             &volume_server_pb__vacuum_volume_compact_response__descriptor, TIMEOUT_MS,
                             NULL, NULL, &err);
    assert_int_equal(rc, KELP_E_INTERNAL);
    assert_non_null(strstr(err.message, "error unmarshalling response"));
}

static void deadline_ends_both_sides(void **state)
{
    struct fixture *f = *state;
    MESSAGE m = say("hold", "");
    enum rpc_status status;
    struct error err = {0};
    assert_int_equal(rpc_client_call(f->client, f->address, "/echo.Echo/Unary", &m.base, DESCRIPTOR, 50,
                                     NULL, &status, &err),
                     KELP_E_TIMEOUT);
    assert_int_equal(status, RPC_DEADLINE_EXCEEDED);
    m = say("block", "");
    assert_int_equal(rpc_client_call(f->client, f->address, "/echo.Echo/WorkerUnary", &m.base,
                                     DESCRIPTOR, 50, NULL, &status, &err),
                     KELP_E_TIMEOUT);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 2));
}

static void cancel_reaches_the_handler(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    static const char *const paths[] = {"/echo.Echo/TwoWay", "/echo.Echo/ClientStream"};
    for (unsigned i = 0; i < 2; i++) {
        struct rpc_stream *stream = open_stream(f, paths[i], &w);
        MESSAGE m = say("", "x");
        rpc_stream_send(stream, &m.base);
        assert_true(echo_service_wait(&f->service, &f->service.open, 1));
        rpc_stream_cancel(stream);
        watch_wait(&w, &w.closed, i + 1);
        assert_int_equal(w.status, RPC_CANCELLED);
        assert_true(echo_service_wait(&f->service, &f->service.cancelled, i + 1));
    }
    watch_fini(&w);
}

static void dead_peer_is_unavailable_and_a_new_one_is_found(void **state)
{
    struct fixture *f = *state;
    uint16_t port = rpc_server_port(f->server);
    assert_int_equal(call(f, "/echo.Echo/Unary", "", "a", NULL, NULL, NULL), 0);
    rpc_server_destroy(f->server, 0);
    f->server = NULL;
    enum rpc_status status;
    struct error err = {0};
    assert_int_equal(call(f, "/echo.Echo/Unary", "", "a", NULL, &status, &err), KELP_E_UNAVAILABLE);
    assert_int_equal(status, RPC_UNAVAILABLE);
    struct watch w;
    watch_init(&w);
    open_stream(f, "/echo.Echo/TwoWay", &w);
    watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_UNAVAILABLE);
    assert_int_equal(w.opened, 0);
    watch_fini(&w);

    struct rpc_server_config config = {.bind_address = "127.0.0.1", .port = port,
                                       .services = &f->service.rpc, .service_count = 1};
    assert_int_equal(rpc_server_create(&f->server, &config, &err), 0);
    assert_int_equal(call(f, "/echo.Echo/Unary", "", "a", NULL, NULL, &err), 0);
}

static void port_in_use_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct rpc_server_config config = {.bind_address = "127.0.0.1", .port = rpc_server_port(f->server),
                                       .services = &f->service.rpc, .service_count = 1};
    struct rpc_server *second = NULL;
    struct error err = {0};
    assert_int_equal(rpc_server_create(&second, &config, &err), KELP_E_UNAVAILABLE);
    assert_null(second);
    assert_non_null(strstr(err.message, f->address));
    assert_non_null(strstr(err.message, "Address already in use"));
    config.also_bind_address = "localhost"; /* cannot be had either way, and does not matter */
    config.bind_address = "127.0.0.2";
    assert_int_equal(rpc_server_create(&second, &config, &err), 0);
    rpc_server_destroy(second, 0);
}

/* --- limits */

static void large_messages_pass_both_ways(void **state)
{
    struct fixture *f = *state;
    MESSAGE m = say("", "");
    m.needle_body.len = 64u << 20;
    m.needle_body.data = must(malloc(m.needle_body.len));
    for (size_t i = 0; i < m.needle_body.len; i++)
        m.needle_body.data[i] = (uint8_t)(i >> 7);
    ProtobufCMessage *answer = NULL;
    assert_int_equal(rpc_client_call(f->client, f->address, "/echo.Echo/Unary", &m.base, DESCRIPTOR,
                                     30000, &answer, NULL, NULL),
                     0);
    const MESSAGE *a = (const void *)answer;
    assert_int_equal(a->needle_body.len, m.needle_body.len);
    assert_int_equal(memcmp(a->needle_body.data, m.needle_body.data, m.needle_body.len), 0);
    protobuf_c_message_free_unpacked(answer, NULL);
    free(m.needle_body.data);
}

/* Nobody reads: what the server echoes stays in the client's window, then in its own queue. */
static atomic_bool reader_may_go_on;

static void stall(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    struct timespec pause = {.tv_nsec = 1000000};
    while (!atomic_load(&reader_may_go_on))
        nanosleep(&pause, NULL);
}

static void send_queue_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    atomic_store(&reader_may_go_on, false);
    struct rpc_stream_ops ops = watch_ops;
    ops.on_message = stall;
    struct rpc_stream *stream = NULL;
    assert_int_equal(rpc_stream_open(f->client, f->address, "/echo.Echo/ServerStream", DESCRIPTOR, 0,
                                     &ops, &w, &stream, NULL),
                     0);
    /* The server has got one request and reads no more: the others fill the client's queue. */
    MESSAGE m = say("endless", "");
    m.needle_body.len = 8u << 20;
    m.needle_body.data = must(calloc(1, m.needle_body.len));
    int rc = 0;
    unsigned sent = 0;
    while (rc == 0 && sent < 100) {
        rc = rpc_stream_send(stream, &m.base);
        sent += rc == 0;
    }
    assert_int_equal(rc, KELP_E_LIMIT);
    assert_in_range(sent, 8, 16); /* 64 MiB of queue and 16 of window */
    rpc_stream_cancel(stream);
    atomic_store(&reader_may_go_on, true);
    watch_wait(&w, &w.closed, 1);
    free(m.needle_body.data);
    watch_fini(&w);
}

static unsigned count_threads(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    assert_non_null(dir);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void thousand_open_streams_hold_no_thread(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    MESSAGE m = say("", "x");
    assert_int_equal(call(f, "/echo.Echo/Unary", "", "a", NULL, NULL, NULL), 0);
    unsigned threads = count_threads();
    struct rpc_stream *streams[1000];
    for (unsigned i = 0; i < 1000; i++) {
        streams[i] = open_stream(f, "/echo.Echo/TwoWay", &w);
        rpc_stream_send(streams[i], &m.base);
    }
    watch_wait(&w, &w.messages, 1000);
    assert_true(echo_service_wait(&f->service, &f->service.open, 1000));
    assert_in_range(count_threads(), 1, threads + 8);
    for (unsigned i = 0; i < 1000; i++)
        rpc_stream_half_close(streams[i]);
    watch_wait(&w, &w.closed, 1000);
    watch_fini(&w);
}

/* --- ends */

static void server_destroyed_under_running_calls_ends_them(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    for (unsigned i = 0; i < 20; i++) {
        MESSAGE m = say("", "x");
        rpc_stream_send(open_stream(f, "/echo.Echo/TwoWay", &w), &m.base);
        m = say("hold", "");
        rpc_client_send(f->client, f->address, "/echo.Echo/Unary", &m.base, DESCRIPTOR, 0, watch_done,
                        &w);
    }
    MESSAGE m = say("block", "");
    rpc_client_send(f->client, f->address, "/echo.Echo/WorkerUnary", &m.base, DESCRIPTOR, 0, watch_done,
                    &w);
    m = say("endless", "xyz");
    struct rpc_stream *endless = open_stream(f, "/echo.Echo/ServerStream", &w);
    rpc_stream_send(endless, &m.base);
    assert_true(echo_service_wait(&f->service, &f->service.open, 42));
    rpc_server_destroy(f->server, 20);
    f->server = NULL;
    watch_wait(&w, &w.closed, 42);
    assert_int_not_equal(w.status, RPC_OK);
    assert_int_equal(f->service.closed, 42);
    watch_fini(&w);
}

static void server_lets_running_calls_finish_within_the_grace(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    MESSAGE m = say("", "xyz");
    m.version = 2000;
    struct rpc_stream *stream = open_stream(f, "/echo.Echo/ServerStream", &w);
    rpc_stream_send(stream, &m.base);
    watch_wait(&w, &w.messages, 1);
    rpc_server_destroy(f->server, TIMEOUT_MS);
    f->server = NULL;
    watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_OK);
    assert_int_equal(w.messages, 2000);
    watch_fini(&w);
}

static void client_destroyed_under_running_calls_ends_them(void **state)
{
    struct fixture *f = *state;
    struct watch w;
    watch_init(&w);
    for (unsigned i = 0; i < 20; i++) {
        MESSAGE m = say("", "x");
        rpc_stream_send(open_stream(f, "/echo.Echo/TwoWay", &w), &m.base);
        m = say("hold", "");
        rpc_client_send(f->client, f->address, "/echo.Echo/Unary", &m.base, DESCRIPTOR, 0, watch_done,
                        &w);
    }
    assert_true(echo_service_wait(&f->service, &f->service.open, 40));
    rpc_client_destroy(f->client);
    f->client = NULL;
    assert_int_equal(w.closed, 40);
    assert_int_equal(w.status, RPC_CANCELLED);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 40));
    watch_fini(&w);
}

static int never_stop(void *ctx, const ProtobufCMessage *message) { return 0; }

struct blocked {
    struct fixture *f;
    int rc;
};

static void *read_for_ever(void *argument)
{
    struct blocked *b = argument;
    MESSAGE m = say("endless", "x");
    b->rc = rpc_client_read_stream(b->f->client, b->f->address, "/echo.Echo/ServerStream", &m.base,
                                   DESCRIPTOR, 0, never_stop, NULL, NULL, NULL);
    return NULL;
}

static void client_destroyed_frees_blocked_threads(void **state)
{
    struct fixture *f = *state;
    struct blocked blocked = {.f = f};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_for_ever, &blocked), 0);
    assert_true(echo_service_wait(&f->service, &f->service.open, 1));
    rpc_client_destroy(f->client);
    f->client = NULL;
    pthread_join(thread, NULL);
    assert_int_equal(blocked.rc, KELP_E_CANCELLED);
}

static void connection_that_breaks_off_cancels_the_handlers(void **state)
{
    struct fixture *f = *state;
    /* HTTP/2 by hand: preface, SETTINGS, HEADERS of a call, then the socket just goes away. */
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(rpc_server_port(f->server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                "\0\0\0\4\0\0\0\0\0";
    assert_int_equal(write(fd, hello, sizeof(hello) - 1), sizeof(hello) - 1);
    uint8_t frame[256] = {0, 0, 0, 1, 4, 0, 0, 0, 1};
    static const char *const headers[][2] = {{":method", "POST"},
                                             {":scheme", "http"},
                                             {":authority", "x"},
                                             {":path", "/echo.Echo/TwoWay"},
                                             {"content-type", "application/grpc"},
                                             {"te", "trailers"}};
    size_t n = 9;
    for (size_t i = 0; i < 6; i++) {
        frame[n++] = 0;
        for (size_t part = 0; part < 2; part++) {
            size_t length = strlen(headers[i][part]);
            frame[n++] = (uint8_t)length;
            memcpy(frame + n, headers[i][part], length);
            n += length;
        }
    }
    frame[2] = (uint8_t)(n - 9);
    /* DATA: one message of no bytes */
    static const uint8_t data[] = {0, 0, 5, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
    memcpy(frame + n, data, sizeof(data));
    n += sizeof(data);
    assert_int_equal(write(fd, frame, n), n);
    assert_true(echo_service_wait(&f->service, &f->service.open, 1));
    close(fd);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 1));
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(unary_call_is_answered_on_both_places),
        CASE(peer_ip_is_bare),
        CASE(many_unary_calls_run_at_once),
        CASE(server_stream_is_read_in_order),
        CASE(reader_that_stops_cancels_the_stream),
        CASE(client_stream_is_gathered_and_answered),
        CASE(two_way_stream_echoes_until_half_closed),
        CASE(server_ends_two_way_stream_after_what_it_has_sent),
        CASE(failure_reaches_the_client_verbatim),
        CASE(unknown_method_and_service_are_unimplemented),
        CASE(request_that_does_not_parse_is_refused),
        CASE(answer_that_does_not_parse_is_reported),
        CASE(deadline_ends_both_sides),
        CASE(cancel_reaches_the_handler),
        CASE(dead_peer_is_unavailable_and_a_new_one_is_found),
        CASE(port_in_use_is_an_error),
        CASE(large_messages_pass_both_ways),
        CASE(send_queue_is_bounded),
        CASE(thousand_open_streams_hold_no_thread),
        CASE(server_destroyed_under_running_calls_ends_them),
        CASE(server_lets_running_calls_finish_within_the_grace),
        CASE(client_destroyed_under_running_calls_ends_them),
        CASE(client_destroyed_frees_blocked_threads),
        CASE(connection_that_breaks_off_cancels_the_handlers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
