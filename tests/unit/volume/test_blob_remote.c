/* Reads that another server has to answer: of volumes that are not here, of copies that are
 * damaged, and of chunks; and servers that fail in every way while they do. */
#include "data_port.h"
#include "false_peer.h"

#include "common/check.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FID "/3,01637037d6"
#define BIG (3u * 1024 * 1024 + 123)
#define NOBODY "127.0.0.1:1"

static struct data_port port, other;
static struct false_peer bad;
static struct reply last;
static bool has_bad;

static struct reply *ask(struct data_port *at, const char *method, const char *target,
                         const char *headers)
{
    reply_fini(&last);
    data_port_ask(at, method, target, headers, NULL, 0, &last);
    return &last;
}

static void expect(int status, const char *body)
{
    if (last.status != status || !last.body || strcmp(last.body, body) != 0)
        fail_msg("expected %d %s, got:\n%s", status, body, last.text);
}

static void put(struct data_port *at, const char *target, const void *data, size_t size)
{
    reply_fini(&last);
    data_port_ask(at, "PUT", target, "Content-Type: a/b\r\n", data, size, &last);
    assert_int_equal(last.status, 201);
}

/* `port` has volume 3 or has it not, `other` has it; each knows both. */
static void start(const struct data_port_options *options)
{
    data_port_start(&port, options);
    data_port_start(&other, &(struct data_port_options){.replication = options->replication});
    port.peers[0] = port.url;
    port.peers[1] = other.peers[1] = other.url;
    other.peers[0] = port.url;
    port.peer_count = other.peer_count = 2;
    has_bad = false;
}

static void start_replicated(enum volume_read_mode mode)
{
    start(&(struct data_port_options){.replication = "001", .read_mode = mode});
}

/* `port` has no volume and asks the bad server, perhaps after or before the good one. */
static void start_with_bad_peer(const char *answer, size_t repeat, bool hangs, unsigned timeout_ms)
{
    start(&(struct data_port_options){.has_no_volume = true, .peer_timeout_ms = timeout_ms});
    put(&other, FID, "hello", 5);
    bad = (struct false_peer){.answer = answer, .repeat = repeat, .hangs = hangs};
    false_peer_start(&bad);
    has_bad = true;
    port.peers[0] = bad.url;
}

static void stop_bad(void)
{
    if (has_bad)
        false_peer_stop(&bad);
    has_bad = false;
}

static int stop(void **state)
{
    reply_fini(&last);
    data_port_stop(&port); /* first: it ends what the bad server waits for */
    stop_bad();
    data_port_stop(&other);
    return 0;
}

static void damage(struct data_port *at, off_t back)
{
    char path[100];
    unsigned char byte;
    snprintf(path, sizeof(path), "%s/3.dat", at->directory);
    int fd = open(path, O_RDWR);
    off_t place = lseek(fd, 0, SEEK_END) - back;
    assert_int_equal(pread(fd, &byte, 1, place), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, place), 1);
    close(fd);
}

#define DAMAGE_HELLO (72 - 21) /* of the record's 72 bytes, the data is the 20th to 24th */

static char *put_big(struct data_port *at)
{
    char *data = must(malloc(BIG));
    uint32_t x = 7;
    for (size_t i = 0; i < BIG; i++) {
        x = x * 1664525 + 1013904223;
        data[i] = (char)(x >> 24);
    }
    put(at, FID, data, BIG);
    return data;
}

static void expect_bytes(int status, const char *data, size_t size)
{
    assert_int_equal(last.status, status);
    assert_false(last.is_short);
    assert_int_equal(last.body_size, size);
    assert_memory_equal(last.body, data, size);
}

/* ---- a damaged copy ---- */

static void a_damaged_copy_is_made_good_by_the_replica(void **state)
{
    start_replicated(VOLUME_READ_PROXY);
    put(&port, FID, "hello", 5);
    damage(&port, DAMAGE_HELLO);
    ask(&port, "GET", FID, "");
    expect(200, "hello");
    assert_string_equal(reply_header(&last, "Content-Type"), "a/b");
    assert_string_equal(reply_header(&last, "Etag"), "\"9a71bb4c\"");
    ask(&port, "GET", FID, "Range: bytes=1-2\r\n");
    expect(206, "el");
    ask(&port, "HEAD", FID, "");
    expect(200, "");
    assert_string_equal(reply_header(&last, "Content-Length"), "5");
    ask(&port, "GET", FID, "If-None-Match: \"9a71bb4c\"\r\n");
    expect(304, "");
    ask(&port, "GET", FID "?proxied=true", ""); /* asked by another server: no further */
    expect(500, "");
}

static void a_damaged_copy_is_redirected_from(void **state)
{
    char location[100];
    start_replicated(VOLUME_READ_REDIRECT);
    put(&port, FID, "hello", 5);
    damage(&port, DAMAGE_HELLO);
    snprintf(location, sizeof(location), "http://%s/3,01637037d6?proxied=true", other.url);
    static const char *const methods[] = {"GET", "HEAD"};
    for (int i = 0; i < 2; i++) {
        ask(&port, methods[i], FID, "Range: bytes=1-2\r\n");
        assert_int_equal(last.status, 301);
        assert_string_equal(reply_header(&last, "Location"), location);
        assert_null(reply_header(&last, "Etag"));
    }
    ask(&port, "GET", FID "?proxied=true", "");
    expect(500, "");
}

static void a_damaged_copy_is_500_for_a_server_of_its_own(void **state)
{
    start_replicated(VOLUME_READ_LOCAL);
    put(&port, FID, "hello", 5);
    damage(&port, DAMAGE_HELLO);
    ask(&port, "GET", FID, "");
    expect(500, "");
}

static void two_damaged_copies_are_500_and_no_loop(void **state)
{
    start_replicated(VOLUME_READ_PROXY);
    put(&port, FID, "hello", 5);
    damage(&port, DAMAGE_HELLO);
    damage(&other, DAMAGE_HELLO);
    ask(&port, "GET", FID, "");
    expect(500, "");
    struct http_server_stats stats;
    http_server_stats(other.server, &stats);
    assert_int_equal(stats.requests, 2); /* the replica's PUT, and one GET */
}

/* What a client says of its own must not hide from the other server who asks. */
static void no_query_of_a_client_makes_a_loop(void **state)
{
    static const char *const targets[] = {FID "?proxied=false", FID "?proxied", FID "?a=b#c",
                                          "/3/01637037d6/a#b"};
    struct http_server_stats stats;
    start_replicated(VOLUME_READ_PROXY);
    put(&port, FID, "hello", 5);
    damage(&port, DAMAGE_HELLO);
    damage(&other, DAMAGE_HELLO);
    for (unsigned i = 0; i < 4; i++) {
        ask(&port, "GET", targets[i], "");
        expect(500, "");
        http_server_stats(other.server, &stats);
        assert_int_equal(stats.requests, 2 + i);
    }
}

static void a_damaged_copy_without_a_living_replica_is_500(void **state)
{
    start_replicated(VOLUME_READ_PROXY);
    put(&port, FID, "hello", 5);
    damage(&port, DAMAGE_HELLO);
    port.peers[1] = NOBODY;
    volume_lookup_forget(port.lookup, 3);
    ask(&port, "GET", FID, "");
    expect(500, "");
}

static void a_disk_that_fails_is_made_good_by_the_replica(void **state)
{
    start(&(struct data_port_options){.replication = "001", .is_failing = true});
    put(&port, FID, "hello", 5);
    for (int i = 0; i < 5; i++) { /* more than it takes to quarantine a volume */
        ask(&port, "GET", FID, "");
        expect(200, "hello");
    }
}

/* Damage far behind the first bytes is seen too late once, and never again. */
static void a_damaged_big_copy_is_cut_once_and_then_made_good(void **state)
{
    start_replicated(VOLUME_READ_PROXY);
    char *data = put_big(&port);
    damage(&port, BIG / 2);
    ask(&port, "GET", FID, "");
    assert_int_equal(last.status, 200);
    assert_true(last.is_short);
    ask(&port, "GET", FID, "");
    expect_bytes(200, data, BIG);
    ask(&port, "GET", FID, "Range: bytes=100-\r\n");
    expect_bytes(206, data + 100, BIG - 100);
    free(data);
}

static void a_range_of_a_damaged_big_copy_is_made_good(void **state)
{
    start_replicated(VOLUME_READ_PROXY);
    char *data = put_big(&port);
    damage(&port, BIG / 2);
    ask(&port, "GET", FID, "Range: bytes=5-99\r\n");
    expect_bytes(206, data + 5, 95);
    assert_string_equal(reply_header(&last, "Content-Range"), "bytes 5-99/3145851");
    ask(&port, "GET", FID, "Range: bytes=0-1,5-6\r\n");
    assert_int_equal(last.status, 206);
    free(data);
}

/* ---- servers that fail ---- */

static void a_dead_server_is_passed_over(void **state)
{
    start(&(struct data_port_options){.has_no_volume = true});
    put(&other, FID, "hello", 5);
    port.peers[0] = NOBODY;
    for (int i = 0; i < 12; i++) {
        ask(&port, i % 2 ? "HEAD" : "GET", FID, "");
        expect(200, i % 2 ? "" : "hello");
    }
}

static void a_server_in_trouble_is_passed_over(void **state)
{
    start_with_bad_peer("HTTP/1.1 503 Service Unavailable\r\nEtag: \"bad\"\r\nContent-Length: 3\r\n"
                        "Connection: close\r\n\r\nbad", 0, false, 0);
    for (int i = 0; i < 100 && atomic_load(&bad.requests) == 0; i++) {
        ask(&port, "GET", FID, "");
        expect(200, "hello");
        assert_string_equal(reply_header(&last, "Etag"), "\"9a71bb4c\"");
    }
    assert_true(atomic_load(&bad.requests) > 0);
    port.peer_count = 1;
    volume_lookup_forget(port.lookup, 3);
    ask(&port, "GET", FID, ""); /* where there is no other, its answer is the answer */
    expect(503, "bad");
}

static void a_server_that_is_silent_is_passed_over(void **state)
{
    start_with_bad_peer("", 0, true, 1500);
    for (int i = 0; i < 100 && atomic_load(&bad.requests) == 0; i++) {
        ask(&port, "GET", FID, "");
        expect(200, "hello");
    }
}

static void a_server_that_breaks_off_breaks_the_answer_off(void **state)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3d0901\r\n",
    };
    for (int i = 0; i < 2; i++) {
        start_with_bad_peer(answers[i], 3000000, false, 0);
        port.peer_count = 1;
        ask(&port, "GET", FID, "");
        assert_int_equal(last.status, 200);
        assert_true(last.body_size < 3100000);
        assert_true(i == 0 ? last.is_short : !strstr(last.body + last.body_size - 8, "0\r\n\r\n"));
        if (i == 0)
            stop(state);
    }
}

static void a_server_that_stops_in_the_midst_is_not_waited_for(void **state)
{
    start_with_bad_peer("HTTP/1.1 200 OK\r\nContent-Length: 4000000\r\n\r\n", 1000000, true, 300);
    port.peer_count = 1;
    ask(&port, "GET", FID, "");
    assert_int_equal(last.status, 200);
    assert_true(last.is_short);
}

/* Neither that it comes to an end, nor that it is as long as it says, may be relied upon. */
static void an_answer_that_is_none_is_passed_over(void **state)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, 500\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n",
        "HTTP/1.1 099 Odd\r\nContent-Length: 500\r\n\r\n",
        "HTTP/1.1 000 Odd\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        start_with_bad_peer(heads[i], 500, false, 5000);
        port.peer_count = 1;
        ask(&port, "GET", FID, "");
        if (last.status != 500)
            fail_msg("for %sgot:\n%s", heads[i], last.text);
        ask(&port, "HEAD", FID, "");
        assert_int_equal(last.status, 500);
        port.peer_count = 2;
        volume_lookup_forget(port.lookup, 3);
        for (int j = 0; j < 100 && atomic_load(&bad.requests) < 3; j++) {
            ask(&port, "GET", FID, "");
            expect(200, "hello");
        }
        stop(state);
    }
    start(&(struct data_port_options){.has_no_volume = true});
}

static void a_silent_server_that_is_alone_is_500(void **state)
{
    start_with_bad_peer("", 0, true, 300);
    port.peer_count = 1;
    ask(&port, "GET", FID, "");
    expect(500, "");
}

static void what_the_client_asked_is_asked_of_the_server(void **state)
{
    start_with_bad_peer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n"
                        "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nServer: bad\r\n\r\nok", 0, false, 0);
    port.peer_count = 1;
    ask(&port, "HEAD", FID "?a=%20b", "Accept-Encoding: gzip\r\nRange: bytes=1-2\r\nX-Own: 1\r\n");
    assert_int_equal(last.status, 200);
    assert_string_equal(reply_header(&last, "Content-Length"), "2");
    assert_string_equal(reply_header(&last, "Content-Encoding"), "gzip");
    assert_non_null(strstr(last.text, "a=1\r\n"));
    assert_non_null(strstr(last.text, "b=2\r\n"));
    assert_null(strstr(last.text, "Server: bad"));
    stop_bad();
    assert_memory_equal(bad.first_request, "GET " FID "?proxied=true&a=%20b HTTP/1.1\r\n", 46);
    assert_non_null(strstr(bad.first_request, "\r\nAccept-Encoding: gzip\r\n"));
    assert_non_null(strstr(bad.first_request, "\r\nRange: bytes=1-2\r\n"));
    assert_non_null(strstr(bad.first_request, "\r\nX-Own: 1\r\n"));
}

/* "Content-Length: 0" would be a lie. */
static void what_has_no_length_is_not_given_one(void **state)
{
    start_with_bad_peer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                        "5\r\nhello\r\n0\r\n\r\n", 0, false, 0);
    port.peer_count = 1;
    ask(&port, "HEAD", FID, "");
    assert_int_equal(last.status, 200);
    assert_null(reply_header(&last, "Content-Length"));
}

/* ---- clients ---- */

static int connect_to(struct data_port *at)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(at->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void send_get(int fd)
{
    static const char get[] = "GET " FID " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_int_equal(send(fd, get, sizeof(get) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(get) - 1);
}

/* Else this would last as long as the server's patience with the bad one: forever. */
static void a_client_that_goes_takes_its_request_with_it(void **state)
{
    start_with_bad_peer("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nbegin", 0, true,
                        3600 * 1000);
    port.peer_count = 1;
    int fd = connect_to(&port);
    char byte;
    send_get(fd);
    assert_int_equal(recv(fd, &byte, 1, 0), 1); /* it is under way */
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd); /* a reset */
    stop_bad(); /* which waits until its connection ends */
}

static void a_client_that_only_stopped_sending_gets_its_answer(void **state)
{
    start(&(struct data_port_options){.has_no_volume = true});
    put(&other, FID, "hello", 5);
    int fd = connect_to(&port);
    send_get(fd);
    shutdown(fd, SHUT_WR);
    char text[4096];
    size_t used = 0;
    for (ssize_t n; (n = recv(fd, text + used, sizeof(text) - 1 - used, 0)) > 0;)
        used += (size_t)n;
    text[used] = '\0';
    close(fd);
    assert_non_null(strstr(text, "\r\n\r\nhello"));
}

/* The end of its sending came first, and then that of the server: nobody is left to wait for. */
static void a_server_that_stops_waits_for_no_other(void **state)
{
    start_with_bad_peer("", 0, true, 3600 * 1000);
    port.peer_count = 1;
    int fd = connect_to(&port);
    send_get(fd);
    shutdown(fd, SHUT_WR);
    while (atomic_load(&bad.requests) == 0)
        sched_yield();
    data_port_stop(&port);
    close(fd);
    stop_bad();
    data_port_start(&port, &(struct data_port_options){.has_no_volume = true});
}

/* ---- chunks ---- */

static void start_chunks(const char *answer, size_t repeat, bool hangs)
{
    start_with_bad_peer(answer, repeat, hangs, 0);
    put(&other, "/3,02637037d6", "first ", 6);
    put(&other, "/3,03637037d6", "second", 6);
    static const char manifest[] =
        "{\"chunks\":[{\"fid\":\"3,02637037d6\",\"offset\":0,\"size\":6},"
        "{\"fid\":\"3,03637037d6\",\"offset\":6,\"size\":6}]}";
    put(&other, "/3,04637037d6?cm=true", manifest, sizeof(manifest) - 1);
    other.peers[0] = bad.url;
}

static void chunks_are_fetched_from_whom_answers(void **state)
{
    start_chunks("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 0,
                 false);
    for (int i = 0; i < 100 && atomic_load(&bad.requests) < 3; i++) {
        ask(&other, "GET", "/3,04637037d6", "");
        expect(200, "first second");
        ask(&other, "GET", "/3,04637037d6", "Range: bytes=4-7\r\n");
        expect(206, "t se");
    }
    other.peers[0] = NOBODY;
    volume_lookup_forget(other.lookup, 3);
    for (int i = 0; i < 6; i++) {
        ask(&other, "GET", "/3,04637037d6", "");
        expect(200, "first second");
    }
}

static void a_chunk_that_breaks_off_breaks_the_file_off(void **state)
{
    start_chunks("HTTP/1.1 206 Partial Content\r\nContent-Length: 6\r\n\r\nfi", 0, false);
    other.peer_count = 1;
    ask(&other, "GET", "/3,04637037d6", "");
    assert_int_equal(last.status, 200);
    assert_true(last.is_short);
    assert_int_equal(last.body_size, 2);
}

/* Taken together for a picture, where nothing goes out that would end it. */
static void a_chunk_that_never_ends_is_not_waited_for(void **state)
{
    start_chunks("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n", 1ull << 40,
                 false);
    other.peer_count = 1;
    ask(&other, "GET", "/3,04637037d6.jpg?width=10", "");
    assert_int_equal(last.status, 200);
    assert_int_equal(last.body_size, 12);
}

static void a_chunk_that_is_longer_than_declared_is_cut(void **state)
{
    start_chunks("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 16\r\n\r\n"
                 "0123456789abcdef", 0, false);
    other.peer_count = 1;
    ask(&other, "GET", "/3,04637037d6", "");
    expect(200, "012345012345");
    ask(&other, "GET", "/3,04637037d6", "Range: bytes=4-7\r\n");
    expect(206, "4501");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, stop)
    const struct CMUnitTest tests[] = {
        CASE(a_damaged_copy_is_made_good_by_the_replica),
        CASE(a_damaged_copy_is_redirected_from),
        CASE(a_damaged_copy_is_500_for_a_server_of_its_own),
        CASE(two_damaged_copies_are_500_and_no_loop),
        CASE(no_query_of_a_client_makes_a_loop),
        CASE(a_damaged_copy_without_a_living_replica_is_500),
        CASE(a_disk_that_fails_is_made_good_by_the_replica),
        CASE(a_damaged_big_copy_is_cut_once_and_then_made_good),
        CASE(a_range_of_a_damaged_big_copy_is_made_good),
        CASE(a_dead_server_is_passed_over),
        CASE(a_server_in_trouble_is_passed_over),
        CASE(a_server_that_is_silent_is_passed_over),
        CASE(a_server_that_breaks_off_breaks_the_answer_off),
        CASE(a_server_that_stops_in_the_midst_is_not_waited_for),
        CASE(an_answer_that_is_none_is_passed_over),
        CASE(a_silent_server_that_is_alone_is_500),
        CASE(what_the_client_asked_is_asked_of_the_server),
        CASE(what_has_no_length_is_not_given_one),
        CASE(a_client_that_goes_takes_its_request_with_it),
        CASE(a_client_that_only_stopped_sending_gets_its_answer),
        CASE(a_server_that_stops_waits_for_no_other),
        CASE(chunks_are_fetched_from_whom_answers),
        CASE(a_chunk_that_breaks_off_breaks_the_file_off),
        CASE(a_chunk_that_never_ends_is_not_waited_for),
        CASE(a_chunk_that_is_longer_than_declared_is_cut),
    };
    return cmocka_run_group_tests_name("blob_remote", tests, NULL, NULL);
}
