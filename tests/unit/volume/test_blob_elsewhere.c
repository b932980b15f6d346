/* Blobs with replicas, and blobs of volumes that are on another server. */
#include "port_stage.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void start_pair(const char *replication)
{
    stage_restart(&(struct data_port_options){.replication = replication});
    data_port_start(&other, &(struct data_port_options){.replication = replication});
    port.peers[1] = other.url;
    port.peer_count = 2;
    other.peers[0] = port.url;
    other.peers[1] = other.url;
    other.peer_count = 2;
}

static int stop_pair(void **state)
{
    data_port_stop(&other);
    return stage_stop(state);
}

static void a_write_and_its_delete_reach_the_replica(void **state)
{
    start_pair("001");
    ask("PUT", "/3,01637037d6.txt?ts=1600000000&ttl=3d",
        "Content-Type: text/css\r\nSeaweed-Owner: me\r\n", "hello");
    assert_int_equal(last.status, 201);
    ask_other("GET", FID, "");
    expect(200, "hello");
    expect_header("Content-Type", "text/css");
    expect_header("Owner", "me");
    expect_header("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT");
    expect_header("Content-Disposition", "inline; filename=\"3,01637037d6.txt\"");
    ask("PUT", "/3,01637037d6.txt", "", "hello");
    expect(204, "");
    ask("DELETE", FID, "", NULL);
    assert_int_equal(last.status, 202);
    ask_other("GET", FID, "");
    expect(404, "");
}

static void compressed_data_is_replicated_as_it_is_stored(void **state)
{
    start_pair("001");
    char text[3001];
    memset(text, 'x', 3000);
    text[3000] = 0;
    ask("PUT", FID, "Content-Type: text/plain\r\n", text);
    assert_int_equal(last.status, 201);
    ask_other("GET", FID, "Accept-Encoding: gzip\r\n");
    expect_header("Content-Encoding", "gzip");
    ask_other("GET", FID, "");
    expect(200, text);
}

/* A delete that failed half-way is tried again by its client, who takes a 404 for success. */
static void a_delete_that_is_tried_again_reaches_the_replica(void **state)
{
    start_pair("001");
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 201);
    ask("DELETE", FID "?type=replicate", "", NULL); /* on this side only */
    assert_int_equal(last.status, 202);
    ask_other("GET", FID, "");
    expect(200, "hello");
    ask("DELETE", FID "?type=replicate", "", NULL);
    expect(404, "{\"size\":0}");
    ask_other("GET", FID, "");
    expect(200, "hello");
    ask("DELETE", FID, "", NULL);
    expect(404, "{\"size\":0}");
    ask_other("GET", FID, "");
    expect(404, "");
}

/* Takes one connection, reads a request's header, answers a failure that names no error. */
static void *fail_without_an_error(void *arg)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n"
                                 "Connection: close\r\n\r\n{}";
    int fd = accept(*(int *)arg, NULL, NULL);
    char text[4096];
    size_t size = 0;
    while (size < sizeof(text) - 1) {
        ssize_t n = read(fd, text + size, sizeof(text) - 1 - size);
        if (n <= 0)
            break;
        size += (size_t)n;
        text[size] = '\0';
        char *end = strstr(text, "\r\n\r\n");
        if (end && strstr(end + 4, "--\r\n")) /* the end of the form */
            break;
    }
    assert_int_equal(write(fd, answer, sizeof(answer) - 1), (ssize_t)sizeof(answer) - 1);
    close(fd);
    return NULL;
}

static void a_replica_that_fails_without_an_error_fails_the_write(void **state)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    char url[32];
    snprintf(url, sizeof(url), "127.0.0.1:%u", ntohs(address.sin_port));
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, fail_without_an_error, &fd), 0);
    stage_restart(&(struct data_port_options){.replication = "001"});
    port.peers[1] = url;
    port.peer_count = 2;
    ask("PUT", FID, "", "hello");
    pthread_join(thread, NULL);
    close(fd);
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "answered with status 503"));
}

static void too_few_writable_replicas_fail_a_write_before_it_is_done(void **state)
{
    stage_restart(&(struct data_port_options){.replication = "001"});
    ask("PUT", FID, "", "hello");
    expect(500, "{\"error\":\"writable replication locations [1] is less than volume 3 replication "
                "copy count [2]\"}");
    ask("GET", FID, "", NULL);
    expect(404, "");
    port.peers[1] = "127.0.0.1:1";
    port.is_read_only[1] = true;
    port.peer_count = 2;
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    assert_int_equal(port.question_count, 2); /* the first answer was dropped */
    ask("PUT", FID "?type=replicate", "", "hello");
    assert_int_equal(last.status, 201);
    ask("DELETE", FID, "", NULL);
    expect(500, "{\"error\":\"Deletion Failed: replication locations [1] is less than volume 3 "
                "replication copy count [2]\"}");
}

static void a_replica_that_is_down_fails_the_write(void **state)
{
    stage_restart(&(struct data_port_options){.replication = "001"});
    port.peers[1] = "127.0.0.1:1";
    port.peer_count = 2;
    ask("PUT", FID, "", "hello");
    assert_int_equal(last.status, 500);
    const char *expected = "{\"error\":\"failed to write to replicas for volume 3: [127.0.0.1:1]: "
                           "upload 3,01637037d6 5 bytes to http://127.0.0.1:1/3,01637037d6?ts=";
    assert_memory_equal(last.body, expected, strlen(expected));
    ask("GET", FID, "", NULL); /* what was written is taken back */
    expect(404, "");
}

static void a_replicas_error_reaches_the_client(void **state)
{
    start_pair("001");
    ask("PUT", "/3,01637037d7?type=replicate", "", "other"); /* another cookie, on one side only */
    reply_fini(&last);
    data_port_ask(&other, "PUT", FID, "", "hello", 5, &last);
    assert_int_equal(last.status, 500);
    assert_non_null(strstr(last.body, "unmarshalled error http://"));
    assert_non_null(
        strstr(last.body, "failed to write to local disk: mismatching cookie 637037d6"));
}

static void a_token_is_not_sent_in_the_clear_to_delete(void **state)
{
    start_pair("001");
    put_hello();
    ask("DELETE", FID, "Authorization: Bearer abc\r\n", NULL);
    char answer[300];
    snprintf(answer, sizeof(answer),
             "{\"error\":\"Deletion Failed: [%s]: refusing to forward delete authorization to %s "
             "without HTTPS\"}",
             other.url, other.url);
    expect(500, answer);
}

static void a_failing_lookup_fails_the_write(void **state)
{
    stage_restart(&(struct data_port_options){.replication = "001"});
    port.lookup_failure = "no master";
    ask("PUT", FID, "", "hello");
    expect(500, "{\"error\":\"replicating lookup failed for 3: no master\"}");
}

static void start_apart(enum volume_read_mode mode)
{
    stage_restart(&(struct data_port_options){.has_no_volume = true, .read_mode = mode});
    data_port_start(&other, &(struct data_port_options){0});
    port.peers[0] = other.url;
    port.peer_count = 1;
    data_port_ask(&other, "PUT", FID, "Content-Type: a/b\r\n", "hello", 5, &last);
    assert_int_equal(last.status, 201);
}

static void a_volume_elsewhere_is_proxied(void **state)
{
    start_apart(VOLUME_READ_PROXY);
    ask("GET", FID, "", NULL);
    expect(200, "hello");
    expect_header("Content-Type", "a/b");
    expect_header("Etag", "\"9a71bb4c\"");
    ask("GET", FID, "Range: bytes=1-2\r\n", NULL);
    expect(206, "el");
    ask("HEAD", FID, "", NULL);
    expect(200, "");
    expect_header("Content-Length", "5");
    ask("GET", FID "?proxied=true", "", NULL);
    expect(404, "");
    ask("PUT", "/3,05637037d6", "", "there"); /* a write is forwarded too */
    assert_int_equal(last.status, 201);
    ask_other("GET", "/3,05637037d6", "");
    expect(200, "there");
}

static void a_volume_elsewhere_is_redirected_to(void **state)
{
    char location[200];
    start_apart(VOLUME_READ_REDIRECT);
    ask("GET", "/3/01637037d6/x.png?collection=c%20d", "", NULL);
    assert_int_equal(last.status, 301);
    snprintf(location, sizeof(location), "http://%s/3,01637037d6?collection=c+d&proxied=true",
             other.url);
    expect_header("Location", location);
    expect_header("Content-Type", "text/html; charset=utf-8");
}

static void a_volume_elsewhere_is_404_in_local_mode(void **state)
{
    start_apart(VOLUME_READ_LOCAL);
    ask("GET", FID, "", NULL);
    expect(404, "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_start, stage_stop)
#define PAIR(name) cmocka_unit_test_setup_teardown(name, stage_start, stop_pair)
    const struct CMUnitTest tests[] = {
        CASE(too_few_writable_replicas_fail_a_write_before_it_is_done),
        CASE(a_replica_that_is_down_fails_the_write),
        CASE(a_replica_that_fails_without_an_error_fails_the_write),
        CASE(a_failing_lookup_fails_the_write),
        PAIR(a_write_and_its_delete_reach_the_replica),
        PAIR(a_delete_that_is_tried_again_reaches_the_replica),
        PAIR(compressed_data_is_replicated_as_it_is_stored),
        PAIR(a_replicas_error_reaches_the_client),
        PAIR(a_token_is_not_sent_in_the_clear_to_delete),
        PAIR(a_volume_elsewhere_is_proxied),
        PAIR(a_volume_elsewhere_is_redirected_to),
        PAIR(a_volume_elsewhere_is_404_in_local_mode),
    };
    return cmocka_run_group_tests_name("blob_elsewhere", tests, NULL, NULL);
}
