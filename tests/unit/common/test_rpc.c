/* The RPC layer against itself: all kinds of calls from both sides, and all kinds of errors. */
#include "tests/unit/cmocka_all.h"

#include "tests/proto/rpc_fixture.h"

#include <stdio.h>
#include <string.h>

#define MESSAGE RPC_FIXTURE_MESSAGE
#define DESCRIPTOR RPC_FIXTURE_DESCRIPTOR
#define TIMEOUT_MS RPC_FIXTURE_TIMEOUT_MS

static void assert_body(const ProtobufCMessage *message, const char *body)
{
    const MESSAGE *m = (const void *)message;
    assert_non_null(m);
    assert_int_equal(m->needle_body.len, strlen(body));
    assert_memory_equal(m->needle_body.data, body, strlen(body));
}

/* --- the four kinds */

static void unary_call_is_answered_on_both_places(void **state)
{
    struct rpc_fixture *f = *state;
    static const char *const paths[] = {"/echo.Echo/Unary", "/echo.Echo/WorkerUnary"};
    for (size_t i = 0; i < 2; i++) {
        ProtobufCMessage *answer = NULL;
        enum rpc_status status = RPC_UNKNOWN;
        struct error err = {0};
        assert_int_equal(rpc_fixture_call(f, paths[i], "", "hello", &answer, &status, &err), 0);
        assert_int_equal(status, RPC_OK);
        assert_body(answer, "hello");
        protobuf_c_message_free_unpacked(answer, NULL);
    }
    assert_true(echo_service_wait(&f->service, &f->service.closed, 2));
}

static void peer_ip_is_bare(void **state)
{
    ProtobufCMessage *answer = NULL;
    assert_int_equal(rpc_fixture_call(*state, "/echo.Echo/Unary", "ip", "", &answer, NULL, NULL),
                     0);
    assert_body(answer, "127.0.0.1");
    protobuf_c_message_free_unpacked(answer, NULL);
}

static void many_unary_calls_run_at_once(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    for (unsigned i = 0; i < 500; i++) {
        MESSAGE m = rpc_fixture_say("", "x");
        rpc_client_send(f->client, f->address,
                        i % 2 ? "/echo.Echo/Unary" : "/echo.Echo/WorkerUnary",
                        &m.base, DESCRIPTOR, TIMEOUT_MS, rpc_watch_done, &w);
    }
    rpc_watch_wait(&w, &w.closed, 500);
    assert_int_equal(w.status, RPC_OK);
    rpc_watch_fini(&w);
}

static int count_message(void *ctx, const ProtobufCMessage *message)
{
    unsigned *count = ctx;
    assert_int_equal(((const MESSAGE *)(const void *)message)->version, *count);
    return ++*count == 7 ? -77 : 0;
}

static void server_stream_is_read_in_order(void **state)
{
    struct rpc_fixture *f = *state;
    MESSAGE m = rpc_fixture_say("fail 5 that was all", "abc");
    m.version = 6;
    unsigned count = 0;
    enum rpc_status status;
    struct error err = {0};
    assert_int_equal(rpc_client_read_stream(f->client, f->address, "/echo.Echo/ServerStream",
                                            &m.base,
                                            DESCRIPTOR, TIMEOUT_MS, count_message, &count, &status,
                                            &err),
                     KELP_E_NOT_FOUND);
    assert_int_equal(count, 6);
    assert_int_equal(status, RPC_NOT_FOUND);
    assert_string_equal(err.message, "that was all");
}

static void reader_that_stops_cancels_the_stream(void **state)
{
    struct rpc_fixture *f = *state;
    MESSAGE m = rpc_fixture_say("endless", "abc");
    unsigned count = 0;
    assert_int_equal(rpc_client_read_stream(f->client, f->address, "/echo.Echo/ServerStream",
                                            &m.base,
                                            DESCRIPTOR, 0, count_message, &count, NULL, NULL),
                     -77);
    assert_int_equal(count, 7);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 1));
}

static void client_stream_is_gathered_and_answered(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    struct rpc_stream *stream = rpc_fixture_open(f, "/echo.Echo/ClientStream", &w);
    MESSAGE m = rpc_fixture_say("", "0123456789");
    for (int i = 0; i < 100; i++)
        assert_int_equal(rpc_stream_send_wait(stream, &m.base), 0);
    rpc_stream_half_close(stream);
    rpc_watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_OK);
    assert_int_equal(w.messages, 1);
    assert_int_equal(w.bytes, 1000);
    rpc_watch_fini(&w);
}

static void two_way_stream_echoes_until_half_closed(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    struct rpc_stream *stream = rpc_fixture_open(f, "/echo.Echo/TwoWay", &w);
    for (unsigned i = 1; i <= 50; i++) {
        MESSAGE m = rpc_fixture_say("", "ping");
        assert_int_equal(rpc_stream_send(stream, &m.base), 0);
        rpc_watch_wait(&w, &w.messages, i);
    }
    assert_int_equal(w.opened, 1);
    assert_int_equal(w.closed, 0);
    rpc_stream_half_close(stream);
    rpc_watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_OK);
    assert_int_equal(w.bytes, 200);
    rpc_watch_fini(&w);
}

static void server_ends_two_way_stream_after_what_it_has_sent(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    struct rpc_stream *stream = rpc_fixture_open(f, "/echo.Echo/TwoWay", &w);
    rpc_stream_ref(stream);
    for (int i = 0; i < 20; i++) {
        MESSAGE m = rpc_fixture_say("", "ping");
        rpc_stream_send(stream, &m.base);
    }
    MESSAGE end = rpc_fixture_say("fail 2 raft.Server: Not current leader", "");
    rpc_stream_send(stream, &end.base);
    rpc_watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.messages, 20);
    assert_int_equal(w.status, RPC_UNKNOWN);
    assert_string_equal(w.err.message, "raft.Server: Not current leader");
    assert_int_equal(rpc_stream_send(stream, &end.base), KELP_E_CANCELLED);
    rpc_stream_cancel(stream);
    rpc_stream_unref(stream);
    rpc_watch_fini(&w);
}

/* --- errors */

static void failure_reaches_the_client_verbatim(void **state)
{
    struct error err = {0};
    enum rpc_status status;
    int rc = rpc_fixture_call(*state, "/echo.Echo/WorkerUnary",
                              "fail 9 ec volume 3 has: \"no\" 100% f\xc3\xbcr\n it",
                  "", NULL, &status, &err);
    assert_int_equal(rc, KELP_E_PRECONDITION);
    assert_int_equal(status, RPC_FAILED_PRECONDITION);
    assert_string_equal(err.message, "ec volume 3 has: \"no\" 100% f\xc3\xbcr\n it");
}

static void unknown_method_and_service_are_unimplemented(void **state)
{
    struct error err = {0};
    enum rpc_status status;
    assert_int_equal(rpc_fixture_call(*state, "/echo.Echo/Nothing", "", "", NULL, &status, &err),
                     KELP_E_UNIMPLEMENTED);
    assert_int_equal(status, RPC_UNIMPLEMENTED);
    assert_string_equal(err.message, "unknown method Nothing for service echo.Echo");
    assert_int_equal(rpc_fixture_call(*state, "/echo.Ech/Unary", "", "", NULL, NULL, &err),
                     KELP_E_UNIMPLEMENTED);
    assert_string_equal(err.message, "unknown service echo.Ech");
    assert_int_equal(rpc_fixture_call(*state, "/echo.Echo/Unar", "", "", NULL, NULL, &err),
                     KELP_E_UNIMPLEMENTED);
    assert_int_equal(rpc_fixture_call(*state, "/echo.Echo/Unary2", "", "", NULL, NULL, &err),
                     KELP_E_UNIMPLEMENTED);
}

/* As a request the server takes this for a field that runs over the end. */
static void request_that_does_not_parse_is_refused(void **state)
{
    struct rpc_fixture *f = *state;
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
    assert_int_equal(rpc_fixture_call(f, "/echo.Echo/Unary", "", "still alive", NULL, NULL, NULL),
                     0);
}

static void answer_that_does_not_parse_is_reported(void **state)
{
    struct rpc_fixture *f = *state;
    MESSAGE m = rpc_fixture_say("", "\xff\xff\xff");
    struct error err = {0};
    /* Field 2 is a string of bytes here and a double there. */
    int rc = rpc_client_call(f->client, f->address, "/echo.Echo/Unary", &m.base,
                             &volume_server_pb__vacuum_volume_compact_response__descriptor,
                             TIMEOUT_MS, NULL, NULL, &err);
    assert_int_equal(rc, KELP_E_INTERNAL);
    assert_non_null(strstr(err.message, "error unmarshalling response"));
}

static void deadline_ends_both_sides(void **state)
{
    struct rpc_fixture *f = *state;
    MESSAGE m = rpc_fixture_say("hold", "");
    enum rpc_status status;
    struct error err = {0};
    assert_int_equal(rpc_client_call(f->client, f->address, "/echo.Echo/Unary", &m.base,
                                     DESCRIPTOR, 50,
                                     NULL, &status, &err),
                     KELP_E_TIMEOUT);
    assert_int_equal(status, RPC_DEADLINE_EXCEEDED);
    m = rpc_fixture_say("block", "");
    assert_int_equal(rpc_client_call(f->client, f->address, "/echo.Echo/WorkerUnary", &m.base,
                                     DESCRIPTOR, 50, NULL, &status, &err),
                     KELP_E_TIMEOUT);
    assert_true(echo_service_wait(&f->service, &f->service.cancelled, 2));
}

static void cancel_reaches_the_handler(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_watch w;
    rpc_watch_init(&w);
    static const char *const paths[] = {"/echo.Echo/TwoWay", "/echo.Echo/ClientStream"};
    for (unsigned i = 0; i < 2; i++) {
        struct rpc_stream *stream = rpc_fixture_open(f, paths[i], &w);
        MESSAGE m = rpc_fixture_say("", "x");
        rpc_stream_send(stream, &m.base);
        assert_true(echo_service_wait(&f->service, &f->service.open, 1));
        rpc_stream_cancel(stream);
        rpc_watch_wait(&w, &w.closed, i + 1);
        assert_int_equal(w.status, RPC_CANCELLED);
        assert_true(echo_service_wait(&f->service, &f->service.cancelled, i + 1));
    }
    rpc_watch_fini(&w);
}

static void dead_peer_is_unavailable_and_a_new_one_is_found(void **state)
{
    struct rpc_fixture *f = *state;
    uint16_t port = rpc_server_port(f->server);
    assert_int_equal(rpc_fixture_call(f, "/echo.Echo/Unary", "", "a", NULL, NULL, NULL), 0);
    rpc_server_destroy(f->server, 0);
    f->server = NULL;
    enum rpc_status status;
    struct error err = {0};
    assert_int_equal(rpc_fixture_call(f, "/echo.Echo/Unary", "", "a", NULL, &status, &err),
                     KELP_E_UNAVAILABLE);
    assert_int_equal(status, RPC_UNAVAILABLE);
    struct rpc_watch w;
    rpc_watch_init(&w);
    rpc_fixture_open(f, "/echo.Echo/TwoWay", &w);
    rpc_watch_wait(&w, &w.closed, 1);
    assert_int_equal(w.status, RPC_UNAVAILABLE);
    assert_int_equal(w.opened, 0);
    rpc_watch_fini(&w);

    struct rpc_server_config config = {.bind_address = "127.0.0.1", .port = port,
                                       .services = &f->service.rpc, .service_count = 1};
    assert_int_equal(rpc_server_create(&f->server, &config, &err), 0);
    assert_int_equal(rpc_fixture_call(f, "/echo.Echo/Unary", "", "a", NULL, NULL, &err), 0);
}

static void port_in_use_is_an_error(void **state)
{
    struct rpc_fixture *f = *state;
    struct rpc_server_config config = {.bind_address = "127.0.0.1",
                                       .port = rpc_server_port(f->server),
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

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, rpc_fixture_setup, rpc_fixture_teardown)
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
