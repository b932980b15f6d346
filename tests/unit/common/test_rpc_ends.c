/* The RPC layer against itself: its limits, and every way in which calls can end early. */
#include "tests/unit/cmocka_all.h"

#include "tests/proto/rpc_fixture.h"

#include "common/check.h"

#include <dirent.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE RPC_FIXTURE_MESSAGE
#define DESCRIPTOR RPC_FIXTURE_DESCRIPTOR
#define TIMEOUT_MS RPC_FIXTURE_TIMEOUT_MS

/* --- limits */

static void large_messages_pass_both_ways(void **state)
{
    struct rpc_fixture *f = *state;
    MESSAGE m = rpc_fixture_say("", "");
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
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    atomic_store(&reader_may_go_on, false);
    struct rpc_stream_ops ops = rpc_watch_ops;
    ops.on_message = stall;
    struct rpc_stream *stream = NULL;
    assert_int_equal(rpc_stream_open(f->client, f->address, "/echo.Echo/ServerStream", DESCRIPTOR,
                                     0, &ops, &w, &stream, NULL),
                     0);
    /* The server has got one request and reads no more: the others fill the client's queue. */
    MESSAGE m = rpc_fixture_say("endless", "");
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
    rpc_watch_wait(&w, &w.closed, 1);
    free(m.needle_body.data);
    rpc_watch_fini(&w);
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
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    MESSAGE m = rpc_fixture_say("", "x");
    assert_int_equal(rpc_fixture_call(f, "/echo.Echo/Unary", "", "a", NULL, NULL, NULL), 0);
    unsigned threads = count_threads();
    struct rpc_stream *streams[1000];
    for (unsigned i = 0; i < 1000; i++) {
        streams[i] = rpc_fixture_open(f, "/echo.Echo/TwoWay", &w);
        rpc_stream_send(streams[i], &m.base);
    }
    rpc_watch_wait(&w, &w.messages, 1000);
    assert_true(echo_service_wait(&f->service, &f->service.open, 1000));
    assert_in_range(count_threads(), 1, threads + 8);
    for (unsigned i = 0; i < 1000; i++)
        rpc_stream_half_close(streams[i]);
    rpc_watch_wait(&w, &w.closed, 1000);
    rpc_watch_fini(&w);
}

/* --- ends */

static void server_destroyed_under_running_calls_ends_them(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    for (unsigned i = 0; i < 20; i++) {
        MESSAGE m = rpc_fixture_say("", "x");
        rpc_stream_send(rpc_fixture_open(f, "/echo.Echo/TwoWay", &w), &m.base);
        m = rpc_fixture_say("hold", "");
        rpc_client_send(f->client, f->address, "/echo.Echo/Unary", &m.base, DESCRIPTOR, 0,
                        rpc_watch_done, &w);
    }
    MESSAGE m = rpc_fixture_say("block", "");
    rpc_client_send(f->client, f->address, "/echo.Echo/WorkerUnary", &m.base, DESCRIPTOR, 0,
                    rpc_watch_done, &w);
    m = rpc_fixture_say("endless", "xyz");
    struct rpc_stream *endless = rpc_fixture_open(f, "/echo.Echo/ServerStream", &w);
    rpc_stream_send(endless, &m.base);
    assert_true(echo_service_wait(&f->service, &f->service.open, 42));
    rpc_server_destroy(f->server, 20);
    f->server = NULL;
    rpc_watch_wait(&w, &w.closed, 42);
    assert_int_not_equal(w.status, RPC_OK);
    assert_int_equal(f->service.closed, 42);
    rpc_watch_fini(&w);
}

static void server_lets_running_calls_finish_within_the_grace(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    MESSAGE m = rpc_fixture_say("", "xyz");
    m.version = 2000;
    struct rpc_stream *stream = rpc_fixture_open(f, "/echo.Echo/ServerStream", &w);
    rpc_stream_send(stream, &m.base);
    rpc_watch_wait(&w, &w.messages, 1);
    rpc_server_destroy(f->server, TIMEOUT_MS);
    f->server = NULL;
    rpc_watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_OK);
    assert_int_equal(w.messages, 2000);
    rpc_watch_fini(&w);
}

static void client_destroyed_under_running_calls_ends_them(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    for (unsigned i = 0; i < 20; i++) {
        MESSAGE m = rpc_fixture_say("", "x");
        rpc_stream_send(rpc_fixture_open(f, "/echo.Echo/TwoWay", &w), &m.base);
        m = rpc_fixture_say("hold", "");
        rpc_client_send(f->client, f->address, "/echo.Echo/Unary", &m.base, DESCRIPTOR, 0,
                        rpc_watch_done, &w);
    }
    assert_true(echo_service_wait(&f->service, &f->service.open, 40));
    rpc_client_destroy(f->client);
    f->client = NULL;
    assert_int_equal(w.closed, 40);
    assert_int_equal(w.status, RPC_CANCELLED);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 40));
    rpc_watch_fini(&w);
}

static int never_stop(void *ctx, const ProtobufCMessage *message) { return 0; }

struct blocked {
    struct rpc_fixture *f;
    int rc;
};

static void *read_for_ever(void *argument)
{
    struct blocked *b = argument;
    MESSAGE m = rpc_fixture_say("endless", "x");
    b->rc = rpc_client_read_stream(b->f->client, b->f->address, "/echo.Echo/ServerStream", &m.base,
                                   DESCRIPTOR, 0, never_stop, NULL, NULL, NULL);
    return NULL;
}

static void client_destroyed_frees_blocked_threads(void **state)
{
    struct rpc_fixture *f = *state;
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
    struct rpc_fixture *f = *state;
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
#define CASE(name) cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)
    const struct CMUnitTest tests[] = {
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
