/* What the HTTP server refuses: bad input, too much of anything, too slow; and how it ends. */
#include "tests/unit/common/http_fixture.h"

#include <errno.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* A sanitizer pads and hoards what is allocated. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IDLE_BYTES_MAX (64u << 10)
#else
#define IDLE_BYTES_MAX 2048
#endif

static struct fixture f;

static int setup(void **state)
{
    fixture_init(&f, 1);
    f.config.header_limit_bytes = 4096;
    f.config.body_limit_bytes = 1000000;
    f.config.buffered_limit_bytes = 1500000;
    f.config.idle_timeout_ms = 200;
    f.config.header_timeout_ms = 150;
    return 0;
}

static int setup_and_start(void **state)
{
    setup(state);
    fixture_start(&f);
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(&f);
    return 0;
}

/* Each on a connection of its own; all are refused and the connection ends. */
static void refuses_what_could_smuggle(void **state)
{
    static const struct {
        int status;
        const char *text;
    } rows[] = {
        {400,
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"},
        {400,
         "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3 4\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0x3\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\nabc"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: "
              "chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
              "3\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
              "chunked\r\n\r\n0\r\n\r\n"},
        {501,
         "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        {400,
         "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"},
        {501, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
              "chunked\r\n\r\nxyz\r\nabc\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
              "chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
              "chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n"},
        {400,
         "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
              "chunked\r\n\r\n11111111111111111\r\nabc\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost : a\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\nHost: a\n\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\rX: 1\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\nX: 1\r\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\nX: a\x01z\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\n: empty\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\nX(y): 1\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
        {400, "GET /hel lo HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET hello HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "FE(TCH /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, " GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET  /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /hello  HTTP/1.1\r\nHost: a\r\n\r\n"},
        {400, "GET /hello HTTP/1.1\r\nHost: a/b\r\n\r\n"},
        {501, "AMETHODTHATISLONGERTHANANYBODYNEEDS /hello HTTP/1.1\r\nHost: a\r\n\r\n"},
        {505, "GET /hello HTTP/2.0\r\nHost: a\r\n\r\n"},
        {413, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
              "chunked\r\n\r\nffffffffffffffff\r\n"},
        {400, "GET /hello\r\n"},
        {505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
        {400, "\x16\x03\x01\x02\x01\x01\xfc\x03\x03 a TLS hello"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client c;
        struct answer a;
        client_open(&c, &f);
        client_say(&c, rows[i].text);
        client_read(&c, &a, false);
        if (a.status != rows[i].status)
            fail_msg("row %zu: %d instead of %d: %s", i, a.status, rows[i].status, rows[i].text);
        assert_non_null(strstr(a.head, "Connection: close"));
        assert_non_null(strstr(a.head, "Content-Type: application/json"));
        assert_memory_equal(a.body, "{\"error\":\"", 10);
        free(a.body);
        client_expect_end(&c);
        client_close(&c);
    }
}

static void refuses_a_header_that_is_too_large(void **state)
{
    struct client c;
    char text[5000];
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
    memset(text, 'x', sizeof(text));
    client_send(&c, text, sizeof(text));
    client_expect(&c, 431, "{\"error\":\"request header too large\"}");
    client_expect_end(&c);
    client_close(&c);
    /* Just under the limit is fine. */
    client_open(&c, &f);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: a\r\nX: ");
    client_send(&c, text, 4000);
    client_say(&c, "\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void refuses_endless_framing(void **state)
{
    static const char *const starts[] = {"1;", "0\r\nTrailer: "};
    char text[8192];
    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 2; i++) {
        struct client c;
        client_open(&c, &f);
        client_say(&c, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        client_say(&c, starts[i]);
        for (int k = 0; k < 20; k++)
            client_send(&c, text, sizeof(text));
        client_expect(&c, 400, NULL);
        client_close(&c);
    }
}

static void refuses_a_body_that_is_too_large(void **state)
{
    struct client c;
    char *data = must(calloc(1, 1100000));
    client_open(&c, &f);
    client_say(&c, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000001\r\n\r\n");
    client_send(&c, data, 1000001); /* who sends it all first still reads the answer */
    client_expect(&c, 413, "{\"error\":\"request body too large\"}");
    client_expect_end(&c);
    client_close(&c);
    client_open(&c, &f);
    client_say(&c, "PUT /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10c8e0\r\n");
    client_send(&c, data, 1100000);
    client_expect(&c, 413, NULL);
    client_close(&c);
    client_open(&c, &f);
    client_say(&c, "PUT /limit HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n01234567890");
    client_expect(&c, 400, "over 10");
    client_close(&c);
    client_open(&c, &f);
    client_say(
        &c, "PUT /limit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890");
    client_expect(&c, 400, "over 10");
    client_close(&c);
    free(data);
}

static void refuses_bodies_beyond_the_account(void **state)
{
    struct client first, second;
    struct answer a;
    client_open(&first, &f);
    client_say(&first, "PUT /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                       "Content-Length: 900000\r\n\r\n");
    client_expect(&first, 100, NULL);
    /* What is announced takes nothing from others. */
    size_t size = 900000;
    char *data = must(calloc(1, size));
    client_open(&second, &f);
    client_say(&second, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
    client_send(&second, data, size);
    client_expect(&second, 200, NULL);
    client_close(&second);
    client_send(&first, data, size - 1); /* what has come does */
    free(data);
    fixture_wait(&f, &f.body_bytes, (unsigned)size - 1);
    client_open(&second, &f);
    client_say(&second, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n");
    client_read(&second, &a, false);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.head, "Retry-After: 1\r\n"));
    free(a.body);
    client_close(&second);
    client_close(&first);
    fixture_wait(&f, &f.aborted, 2); /* both had shown their headers */
    client_open(&first, &f);
    client_say(&first, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"); /* the loop has gone on */
    client_expect(&first, 200, "hello");
    client_close(&first);
    struct http_server_stats stats;
    http_server_stats(f.server, &stats);
    assert_int_equal(stats.bytes_buffered, 0);
}

static void answers_a_body_that_is_shorter_than_announced(void **state)
{
    struct client c;
    unsigned requests = f.requests;
    client_open(&c, &f);
    client_say(&c, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    shutdown(c.fd, SHUT_WR);
    client_expect(&c, 400, "{\"error\":\"unexpected EOF\"}");
    client_expect_end(&c);
    client_close(&c);
    assert_int_equal(fixture_read(&f, &f.requests), requests);
}

static void gives_up_on_slow_clients(void **state)
{
    struct client idle, head, body;
    client_open(&idle, &f);
    client_open(&head, &f);
    client_open(&body, &f);
    client_say(&head, "GET /hello HT");
    client_say(&body, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
    client_expect(&head, 400, "{\"error\":\"timed out while reading the request header\"}");
    struct answer a;
    client_read(&body, &a, false);
    assert_int_equal(a.status, 400);
    assert_non_null(strstr(a.body, "i/o timeout"));
    free(a.body);
    client_expect_end(&idle);
    client_close(&idle);
    client_close(&head);
    client_close(&body);
}

/* A byte is sent whenever the server has had the time to think about the one before. */
static void gives_up_on_a_body_that_trickles(void **state)
{
    struct client c;
    setup(state);
    f.config.idle_timeout_ms = 400;
    fixture_start(&f);
    client_open(&c, &f);
    client_say(&c, "PUT /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    struct pollfd answer = {.fd = c.fd, .events = POLLIN};
    int sent = 0;
    while (sent < 1000 && poll(&answer, 1, 40) == 0) {
        client_send(&c, "x", 1);
        sent++;
    }
    assert_true(sent < 1000);
    client_expect(&c, 408, "{\"error\":\"the request body comes too slowly\"}");
    client_close(&c);
}

static void lets_a_handler_take_its_time(void **state)
{
    struct client c, idle;
    client_open(&c, &f);
    client_say(&c, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f, &f.held, 1);
    client_open(&idle, &f);
    client_expect_end(&idle); /* the idle time-out has passed for both */
    fixture_answer_held(&f);
    client_expect(&c, 200, "held");
    client_close(&idle);
    client_close(&c);
}

static size_t resident_bytes(void)
{
    long pages = 0, ignored;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &ignored, &pages), 2);
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void holds_one_piece_for_a_slow_reader(void **state)
{
    struct client c;
    int small = 4096;
    size_t before = resident_bytes();
    client_open(&c, &f);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_say(&c, "GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
    /* The server gives up on a client that takes nothing, long after its buffers have filled. */
    fixture_wait(&f, &f.pieces, 1);
    struct client other;
    client_open(&other, &f);
    client_expect_end(&other);
    assert_true(fixture_read(&f, &f.pieces) < FIXTURE_STREAM_BYTES / (64u << 10) / 2);
    assert_true(resident_bytes() < before + (8u << 20));
    client_close(&other);
    client_close(&c);
}

static struct http_server_stats stats_now(void)
{
    struct http_server_stats stats;
    http_server_stats(f.server, &stats);
    return stats;
}

/* A small buffer tells the server soon what is read. */
static void ask_for_big(struct client *c, bool has_small_buffer)
{
    int small = 4096;
    char byte;
    client_open(c, &f);
    if (has_small_buffer)
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_say(c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(recv(c->fd, &byte, 1, 0), 1);
}

/* So little at a time that the server's own buffers hide it for longer than its patience lasts. */
static void keeps_a_reader_that_reads_slowly(void **state)
{
    struct client c;
    char bytes[16 << 10];
    setup(state);
    f.config.idle_timeout_ms = 600;
    fixture_start(&f);
    ask_for_big(&c, true);
    struct pollfd nothing = {.fd = -1};
    uint64_t end = uv_hrtime() + 2000000000;
    while (uv_hrtime() < end) {
        poll(&nothing, 1, 50); /* the client's own pace */
        assert_true(recv(c.fd, bytes, sizeof(bytes), 0) > 0);
    }
    assert_int_equal(stats_now().timeouts, 0);
    assert_int_equal(stats_now().connections, 1);
    assert_true(stats_now().bytes_queued > 0);
    client_close(&c);
    while (stats_now().connections > 0)
        poll(&nothing, 1, 5);
    assert_int_equal(stats_now().bytes_queued, 0);
}

static void closes_the_slowest_when_too_much_waits(void **state)
{
    struct client slow[3], other;
    setup(state);
    f.config.idle_timeout_ms = 60000;
    f.config.queued_limit_bytes = FIXTURE_BIG_BYTES * 5ull / 2;
    fixture_start(&f);
    for (int i = 0; i < 2; i++)
        ask_for_big(&slow[i], false);
    assert_int_equal(stats_now().connections, 2);
    unsigned released = fixture_read(&f, &f.released);
    ask_for_big(&slow[2], false);
    fixture_wait(&f, &f.released, released + 1);
    assert_int_equal(fixture_read(&f, &f.released), released + 1);
    assert_true(stats_now().bytes_queued <= f.config.queued_limit_bytes);
    client_open(&other, &f);
    client_say(&other, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_expect(&other, 200, "hello");
    client_close(&other);
    char *bytes = must(malloc(FIXTURE_BIG_BYTES));
    ssize_t n, total = 0;
    while ((n = recv(slow[0].fd, bytes, FIXTURE_BIG_BYTES, 0)) > 0)
        total += n;
    assert_true(total < (ssize_t)FIXTURE_BIG_BYTES); /* it was the first, and is cut short */
    free(bytes);
    for (int i = 0; i < 3; i++)
        client_close(&slow[i]);
}

static void releases_what_an_aborted_response_held(void **state)
{
    struct client c;
    char byte;
    unsigned released = f.released;
    client_open(&c, &f);
    client_say(&c, "GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(recv(c.fd, &byte, 1, 0), 1);
    client_close(&c);
    fixture_wait(&f, &f.released, released + 1);
}

static void tells_the_handler_that_the_client_has_gone(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(&c, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f, &f.held, 1);
    struct linger reset = {.l_onoff = 1};
    setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    client_close(&c);
    fixture_wait(&f, &f.aborted, 1);
    fixture_answer_held(&f);
    fixture_wait(&f, &f.released, 1);
    assert_int_equal(fixture_read(&f, &f.aborted), 1);
}

static void waits_for_running_requests_when_it_ends(void **state)
{
    struct client c;
    client_open(&c, &f);
    client_say(&c, "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    fixture_wait(&f, &f.held, 1);
    fixture_answer_held(&f);
    http_server_destroy(f.server, FIXTURE_DEADLINE_MS);
    f.server = NULL;
    client_expect(&c, 200, "held");
    client_expect_end(&c);
    client_close(&c);
}

static void refuses_connections_over_the_limit(void **state)
{
    struct client c[4];
    struct answer a;
    fixture_init(&f, 1);
    f.config.connection_limit = 3;
    fixture_start(&f);
    for (int i = 0; i < 3; i++) {
        client_open(&c[i], &f);
        client_say(&c[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        client_expect(&c[i], 200, "hello");
    }
    client_open(&c[3], &f);
    client_say(&c[3], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    client_read(&c[3], &a, false);
    assert_int_equal(a.status, 503);
    assert_non_null(strstr(a.head, "Retry-After: 1\r\n"));
    free(a.body);
    client_expect_end(&c[3]);
    struct http_server_stats stats;
    http_server_stats(f.server, &stats);
    assert_int_equal(stats.connections_refused, 1);
    for (int i = 0; i < 4; i++)
        client_close(&c[i]);
}

static void keeps_idle_connections_small(void **state)
{
    enum { COUNT = 400 };
    static struct client c[COUNT];
    fixture_init(&f, 1);
    fixture_start(&f);
    for (int i = 0; i < 50; i++) { /* warm: whatever grows once has grown */
        client_open(&c[i], &f);
        client_say(&c[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        client_expect(&c[i], 200, "hello");
    }
    size_t before = resident_bytes();
    for (int i = 50; i < COUNT; i++) {
        client_open(&c[i], &f);
        client_say(&c[i], "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        struct answer a;
        client_read(&c[i], &a, false);
        assert_int_equal(a.status, 200);
        free(a.body);
        free(c[i].bytes); /* the client's own memory does not count */
        c[i].bytes = NULL;
        c[i].capacity = 0;
    }
    size_t each = (resident_bytes() - before) / (COUNT - 50);
    assert_in_range(each, 0, IDLE_BYTES_MAX);
    for (int i = 0; i < COUNT; i++)
        client_close(&c[i]);
}

static void says_that_a_port_is_in_use(void **state)
{
    struct http_server *second;
    struct error err;
    fixture_init(&f, 2);
    fixture_start(&f);
    struct http_server_config config = f.config;
    config.port = http_server_port(f.server);
    assert_int_equal(http_server_create(&second, &config, &err), KELP_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "listen on 127.0.0.1:"));
    assert_non_null(strstr(err.message, "Address already in use"));
    config.bind_address = "";
    assert_int_equal(http_server_create(&second, &config, &err), KELP_E_UNAVAILABLE);
    config.bind_address = "no such host.invalid";
    assert_int_equal(http_server_create(&second, &config, &err), KELP_E_UNAVAILABLE);
}

static void serves_on_all_its_loops(void **state)
{
    enum { COUNT = 32 };
    struct client c[COUNT];
    struct loop *seen[COUNT];
    fixture_init(&f, 2);
    fixture_start(&f);
    bool has_both = false;
    for (unsigned i = 0; i < COUNT; i++) {
        client_open(&c[i], &f);
        client_say(&c[i], "GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        fixture_wait(&f, &f.held, i + 1);
        seen[i] = f.held_request->loop;
        has_both |= seen[i] != seen[0];
        fixture_answer_held(&f);
        client_expect(&c[i], 200, "held");
    }
    assert_true(has_both);
    for (int i = 0; i < COUNT; i++)
        client_close(&c[i]);
}

#define WITH_LIMITS(name) cmocka_unit_test_setup_teardown(name, setup_and_start, teardown)
#define OWN_SETUP(name) cmocka_unit_test_setup_teardown(name, NULL, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_LIMITS(refuses_what_could_smuggle),
        WITH_LIMITS(refuses_a_header_that_is_too_large),
        WITH_LIMITS(refuses_endless_framing),
        WITH_LIMITS(refuses_a_body_that_is_too_large),
        WITH_LIMITS(refuses_bodies_beyond_the_account),
        WITH_LIMITS(answers_a_body_that_is_shorter_than_announced),
        WITH_LIMITS(gives_up_on_slow_clients),
        OWN_SETUP(gives_up_on_a_body_that_trickles),
        WITH_LIMITS(lets_a_handler_take_its_time),
        WITH_LIMITS(holds_one_piece_for_a_slow_reader),
        OWN_SETUP(keeps_a_reader_that_reads_slowly),
        OWN_SETUP(closes_the_slowest_when_too_much_waits),
        WITH_LIMITS(releases_what_an_aborted_response_held),
        WITH_LIMITS(tells_the_handler_that_the_client_has_gone),
        WITH_LIMITS(waits_for_running_requests_when_it_ends),
        OWN_SETUP(refuses_connections_over_the_limit),
        OWN_SETUP(keeps_idle_connections_small),
        OWN_SETUP(says_that_a_port_is_in_use),
        OWN_SETUP(serves_on_all_its_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
