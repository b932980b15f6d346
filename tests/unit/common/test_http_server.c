/* The HTTP server as a client sees it: requests, bodies, keep-alive, responses of all kinds. */
#include "tests/unit/common/http_fixture.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture f;

static int setup(void **state)
{
    fixture_init(&f, 1);
    fixture_start(&f);
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(&f);
    return 0;
}

static void answers_a_get_and_keeps_the_connection(void **state)
{
    struct client c;
    struct answer a;
    client_open(&c, &f);
    for (int i = 0; i < 3; i++) {
        client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        client_read(&c, &a, false);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "hello");
        assert_non_null(strstr(a.head, "\r\nDate: "));
        assert_null(strstr(a.head, "Connection:"));
        free(a.body);
    }
    client_close(&c);
}

static void shows_target_query_headers_and_peer(void **state)
{
    struct client c;
    struct answer a;
    client_open(&c, &f);
    client_say(&c, "GET /%73how?a=%31&q=b%20c+d HTTP/1.1\r\nHost: a\r\nX-Test: \t two words \t\r\n"
                   "X-Empty:\r\nX-test: second\r\n\r\n");
    client_read(&c, &a, false);
    assert_string_equal(a.body, "method=GET\ntarget=/%73how?a=%31&q=b%20c+d\npath=/show\n"
                                "query=a=%31&q=b%20c+d\nx=two words\nq=b c d\nip=127.0.0.1\n");
    assert_non_null(strstr(a.head, "X-Injected: a  Set-Cookie: b\r\n"));
    assert_non_null(strstr(a.head, "x-old: new\r\n"));
    assert_null(strstr(a.head, "X-Old: old"));
    free(a.body);
    /* Names that nobody has encoded. */
    client_say(&c, "GET /show?\xC3\xA4=\xC3\xB6 HTTP/1.1\r\nHost: a\r\nX-Test: \xC3\xBC\r\n\r\n"
                   "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(&c, &a, false);
    assert_non_null(strstr(a.body, "query=%C3%A4=%C3%B6\nx=\xC3\xBC\n"));
    free(a.body);
    client_expect(&c, 200, "hello");
    client_say(&c, "GET http://host:1/show HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(&c, &a, false);
    assert_non_null(strstr(a.body, "\npath=/show\n"));
    free(a.body);
    client_close(&c);
}

static void takes_a_request_byte_by_byte(void **state)
{
    struct client c;
    client_open(&c, &f);
    const char *text = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde";
    for (; *text; text++)
        client_send(&c, text, 1);
    client_expect(&c, 200, "abcde");
    client_close(&c);
}

static void answers_pipelined_requests_in_order(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(
        &c,
        "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
        "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none"
        "GET /empty HTTP/1.1\r\nHost: a\r\n\r\n"
        "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ntwo\r\n0\r\n\r\n"
        "\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_expect(&c, 200, "one");
    client_expect(&c, 204, NULL);
    client_expect(&c, 200, "two");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void keeps_pipelined_requests_while_one_is_held(void **state)
{
    struct client c;
    unsigned held = f.held;
    client_open(&c, &f);
    client_say(&c, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f, &f.held, held + 1);
    client_say(&c,
               "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_answer_held(&f);
    client_expect(&c, 200, "held");
    client_expect(&c, 200, "hello");
    client_expect(&c, 200, "hello");
    client_expect(&c, 404, "");
    client_close(&c);
}

static void stops_reading_when_a_client_pipelines_without_end(void **state)
{
    struct client c;
    unsigned held = f.held;
    client_open(&c, &f);
    client_say(&c, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f, &f.held, held + 1);
    /* More than the kernel's buffers and ours can hold: sending must get stuck. */
    char block[1 << 16];
    memset(block, 'x', sizeof(block));
    size_t sent = 0;
    ssize_t n;
    for (int stuck = 0; stuck < 20 && sent < (64u << 20);) {
        n = send(c.fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n > 0) {
            sent += (size_t)n;
            stuck = 0;
        } else {
            stuck++;
            usleep(2000); /* gives the server's thread the time to take more, if it would */
        }
    }
    assert_true(sent < (32u << 20));
    fixture_answer_held(&f);
    client_expect(&c, 200, "held");
    client_expect(&c, 501, NULL); /* what it sent is a method without end */
    client_close(&c);
}

#define PAUSE_HEAD "PUT /pause HTTP/1.1\r\nHost: a\r\n"

/* All that is sent while a body has to wait comes out in its order. */
static void lets_a_body_wait(void **state)
{
    static const char *const framings[] = {
        "Content-Length: 3\r\n\r\nabc",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    };
    for (int is_late = 0; is_late < 2; is_late++) {
        for (int i = 0; i < 2; i++) {
            struct client c;
            unsigned paused = fixture_read(&f, &f.paused), requests = fixture_read(&f, &f.requests);
            client_open(&c, &f);
            client_say(&c, PAUSE_HEAD);
            const char *body = strstr(framings[i], "\r\n\r\n") + 4;
            size_t head = is_late ? (size_t)(body - framings[i]) : strlen(framings[i]);
            client_send(&c, framings[i], head);
            fixture_wait(&f, &f.paused, paused + 1);
            client_say(&c, framings[i] + head);
            client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_int_equal(fixture_read(&f, &f.requests), requests);
            fixture_resume(&f);
            client_expect(&c, 200, "abc");
            client_expect(&c, 200, "hello");
            client_close(&c);
        }
    }
}

static void asks_for_a_body_that_waited(void **state)
{
    struct client c;
    unsigned paused = fixture_read(&f, &f.paused);
    client_open(&c, &f);
    client_say(&c, PAUSE_HEAD "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    fixture_wait(&f, &f.paused, paused + 1);
    fixture_resume(&f);
    client_expect(&c, 100, NULL);
    client_say(&c, "abc");
    client_expect(&c, 200, "abc");
    client_close(&c);
}

static void answers_a_client_that_half_closes_while_its_body_waits(void **state)
{
    struct client c;
    unsigned paused = fixture_read(&f, &f.paused);
    client_open(&c, &f);
    client_say(&c, PAUSE_HEAD "Content-Length: 3\r\n\r\nabc");
    shutdown(c.fd, SHUT_WR);
    fixture_wait(&f, &f.paused, paused + 1);
    fixture_resume(&f);
    client_expect(&c, 200, "abc");
    client_expect_end(&c);
    client_close(&c);
}

static void tells_when_a_client_goes_while_its_body_waits(void **state)
{
    struct client c;
    unsigned paused = fixture_read(&f, &f.paused), aborted = fixture_read(&f, &f.aborted);
    client_open(&c, &f);
    client_say(&c, PAUSE_HEAD "Content-Length: 3\r\n\r\n");
    fixture_wait(&f, &f.paused, paused + 1);
    client_close(&c);
    fixture_wait(&f, &f.aborted, aborted + 1);
}

static void takes_any_token_for_a_method(void **state)
{
    struct client c;
    struct answer a;
    client_open(&c, &f);
    const char *text = "FETCH /show HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
    for (const char *at = text; *at; at++)
        client_send(&c, at, 1);
    client_read(&c, &a, false);
    assert_int_equal(a.status, 200);
    assert_non_null(strstr(a.body, "method=FETCH\n"));
    free(a.body);
    client_say(&c, "GET /hello HTTP/1.2\r\nHost: a\r\nProxy-Connection: close\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_say(&c, "GET /hello HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_expect_end(&c);
    client_close(&c);
}

static void echoes_bodies_of_all_framings(void **state)
{
    size_t size = 3 << 20;
    char *data = must(malloc(size)), line[64];
    for (size_t i = 0; i < size; i++)
        data[i] = (char)(i * 31 + i / 251);
    for (int is_chunked = 0; is_chunked < 2; is_chunked++) {
        struct client c;
        struct answer a;
        client_open(&c, &f);
        if (is_chunked) {
            client_say(&c, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
            for (size_t at = 0, step = 1; at < size; at += step, step = step * 2 + 1) {
                size_t n = size - at < step ? size - at : step;
                client_send(&c, line, (size_t)snprintf(line, sizeof(line), "%zx;ext=\"1\"\r\n", n));
                client_send(&c, data + at, n);
                client_say(&c, "\r\n");
            }
            client_say(&c, "0\r\nTrailer: x\r\n\r\n");
        } else {
            client_send(&c, line,
                        (size_t)snprintf(line, sizeof(line),
                                         "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: "
                                         "%zu\r\n\r\n",
                                         size));
            client_send(&c, data, size);
        }
        client_read(&c, &a, false);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.size, size);
        assert_memory_equal(a.body, data, size);
        free(a.body);
        client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        client_expect(&c, 200, "hello");
        client_close(&c);
    }
    free(data);
    struct http_server_stats stats;
    http_server_stats(f.server, &stats);
    assert_int_equal(stats.bytes_buffered, 0);
}

static void tells_a_client_that_expects_to_continue(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(
        &c, "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n");
    client_expect(&c, 100, NULL);
    client_say(&c, "abc");
    client_expect(&c, 200, "abc");
    client_close(&c);
    client_open(&c, &f);
    client_say(&c, "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 3\r\n\r\n");
    client_expect(&c, 417, "{\"error\":\"unknown expectation\"}");
    client_expect_end(&c);
    client_close(&c);
}

static void refuses_before_the_body_is_sent(void **state)
{
    struct client c;
    struct answer a;
    /* Who waits for "100 Continue" may or may not send the body after a refusal: the end. */
    client_open(&c, &f);
    client_say(
        &c, "PUT /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    client_read(&c, &a, false);
    assert_int_equal(a.status, 401);
    assert_non_null(strstr(a.head, "Connection: close"));
    free(a.body);
    client_expect_end(&c);
    client_close(&c);
    /* A short body is read away and the connection goes on. */
    client_open(&c, &f);
    client_say(&c, "PUT /early HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n");
    client_expect(&c, 401, "no");
    client_say(&c, "abcGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_say(&c, "GET /early HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&c, 401, "no");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void speaks_http_1_0(void **state)
{
    struct client c;
    struct answer a;
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.0\r\n\r\n");
    client_read(&c, &a, false);
    assert_string_equal(a.body, "hello");
    assert_non_null(strstr(a.head, "Connection: close"));
    free(a.body);
    client_expect_end(&c);
    client_close(&c);
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_read(&c, &a, false);
    assert_non_null(strstr(a.head, "Connection: keep-alive"));
    free(a.body);
    client_say(&c, "GET /stream/chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    client_read(&c, &a, false);
    assert_null(strstr(a.head, "chunked"));
    assert_int_equal(a.size, FIXTURE_STREAM_BYTES);
    free(a.body);
    client_expect_end(&c);
    client_close(&c);
}

static void sends_no_body_for_head(void **state)
{
    static const char *const paths[] = {"hello", "big", "stream"};
    static const char *const lengths[] = {"5", "67108864", "16777216"};
    struct client c;
    struct answer a;
    client_open(&c, &f);
    for (int i = 0; i < 3; i++) {
        char text[128];
        snprintf(text, sizeof(text), "HEAD /%s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        client_say(&c, text);
        client_read(&c, &a, true);
        assert_int_equal(a.status, 200);
        snprintf(text, sizeof(text), "Content-Length: %s\r\n", lengths[i]);
        assert_non_null(strstr(a.head, text));
    }
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void streams_fixed_and_chunked_bodies(void **state)
{
    static const char *const paths[] = {"/stream", "/stream/chunked"};
    struct client c;
    struct answer a;
    client_open(&c, &f);
    for (int i = 0; i < 2; i++) {
        char text[128];
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        client_say(&c, text);
        client_read(&c, &a, false);
        assert_int_equal(a.status, 200);
        assert_int_equal(a.size, FIXTURE_STREAM_BYTES);
        free(a.body);
    }
    client_close(&c);
}

static void shows_a_broken_body_as_broken(void **state)
{
    static const char *const paths[] = {"/abort", "/short"};
    for (int i = 0; i < 2; i++) {
        struct client c;
        struct answer a;
        char text[128];
        client_open(&c, &f);
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        client_say(&c, text);
        client_read(&c, &a, false);
        assert_int_equal(a.size, 10);
        assert_true(c.is_ended);
        free(a.body);
        client_close(&c);
    }
}

static void closes_when_the_client_asks(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
                   "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_expect_end(&c);
    client_close(&c);
}

static void answers_a_client_that_has_shut_down_its_side(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(c.fd, SHUT_WR);
    client_expect(&c, 200, "hello");
    client_expect(&c, 200, "hello");
    client_expect_end(&c);
    client_close(&c);
    unsigned held = f.held, aborted = f.aborted;
    client_open(&c, &f);
    client_say(&c, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f, &f.held, held + 1);
    shutdown(c.fd, SHUT_WR);
    fixture_wait(&f, &f.aborted, aborted + 1);
    fixture_answer_held(&f);
    client_expect(&c, 200, "held");
    client_expect_end(&c);
    client_close(&c);
}

static void ignores_an_offer_to_upgrade(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                   "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n"
                   "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_a_get_and_keeps_the_connection),
        cmocka_unit_test(shows_target_query_headers_and_peer),
        cmocka_unit_test(takes_a_request_byte_by_byte),
        cmocka_unit_test(answers_pipelined_requests_in_order),
        cmocka_unit_test(keeps_pipelined_requests_while_one_is_held),
        cmocka_unit_test(stops_reading_when_a_client_pipelines_without_end),
        cmocka_unit_test(lets_a_body_wait),
        cmocka_unit_test(asks_for_a_body_that_waited),
        cmocka_unit_test(answers_a_client_that_half_closes_while_its_body_waits),
        cmocka_unit_test(tells_when_a_client_goes_while_its_body_waits),
        cmocka_unit_test(takes_any_token_for_a_method),
        cmocka_unit_test(echoes_bodies_of_all_framings),
        cmocka_unit_test(tells_a_client_that_expects_to_continue),
        cmocka_unit_test(refuses_before_the_body_is_sent),
        cmocka_unit_test(speaks_http_1_0),
        cmocka_unit_test(sends_no_body_for_head),
        cmocka_unit_test(streams_fixed_and_chunked_bodies),
        cmocka_unit_test(shows_a_broken_body_as_broken),
        cmocka_unit_test(closes_when_the_client_asks),
        cmocka_unit_test(answers_a_client_that_has_shut_down_its_side),
        cmocka_unit_test(ignores_an_offer_to_upgrade),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
