/* The limit on uploads in flight, from the outside: whose bytes count, who waits, who goes on. */
#include "common/check.h"
#include "common/metrics.h"
#include "data_port.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define LIMIT 1000
#define FID(n) "/3,0" #n "637037d6"
#define DEADLINE_S 10

static struct data_port port;
static char filler[4096];

static void start(unsigned wait_ms)
{
    data_port_start(
        &port, &(struct data_port_options){.upload_limit_bytes = LIMIT, .wait_ms = wait_ms});
    memset(filler, 'x', sizeof(filler));
}

static int stop(void **state)
{
    data_port_stop(&port);
    return 0;
}

/* ---- a client that takes its time ---- */

static void say(int fd, const char *bytes, size_t size)
{
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

/* A PUT whose header is out; nothing of its body is. */
static int begin(const char *target, const char *framing)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(port.server))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct timeval deadline = {.tv_sec = DEADLINE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    char head[512];
    int size =
        snprintf(head, sizeof(head),
                 "PUT %s HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\n%s\r\n", target, framing);
    say(fd, head, (size_t)size);
    return fd;
}

/* Reads one answer; what it was stays in `text`. */
static int answer(int fd, char text[1024])
{
    ssize_t size = recv(fd, text, 1023, 0);
    text[size > 0 ? size : 0] = 0;
    return size > 12 ? atoi(text + 9) : 0;
}

static void expect_stored(int fd)
{
    char text[1024];
    if (answer(fd, text) != 201)
        fail_msg("not stored: %s", text);
    close(fd);
}

static double gauge(const char *name)
{
    struct buffer text = BUFFER_INIT;
    metrics_print(port.metrics, &text);
    const char *at = strstr(buffer_cstr(&text), name);
    double value = at ? atof(at + strlen(name)) : -1;
    buffer_fini(&text);
    return value;
}

static void wait_for(const char *name, double value)
{
    time_t end = time(NULL) + DEADLINE_S;
    while (gauge(name) != value) {
        if (time(NULL) > end)
            fail_msg("%s is %f, not %f", name, gauge(name), value);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}

#define BYTES "\nSeaweedFS_volumeServer_in_flight_upload_size "
#define PUTS  "\nSeaweedFS_volumeServer_in_flight_requests{type=\"PUT\"} "

/* An upload of 2001 bytes that has sent all but one. It leads, because it is over the limit
 * alone. */
static int hold_an_upload(void)
{
    int fd = begin(FID(1), "Content-Length: 2001\r\n");
    say(fd, filler, 2000);
    wait_for(BYTES, 2000);
    return fd;
}

/* ---- cases ---- */

static void what_is_announced_and_not_sent_does_not_count(void **state)
{
    start(1);
    int slow = begin(FID(1), "Content-Length: 1000000\r\n");
    say(slow, filler, 10);
    wait_for(BYTES, 10);
    int fd = begin(FID(2), "Content-Length: 5\r\n");
    say(fd, "hello", 5);
    expect_stored(fd);
    close(slow);
    wait_for(BYTES, 0);
}

static void over_the_limit_an_upload_is_refused_before_its_body(void **state)
{
    char text[1024];
    start(20);
    int slow = hold_an_upload();
    int fd = begin(FID(2), "Content-Length: 5\r\nExpect: 100-continue\r\n");
    assert_int_equal(answer(fd, text), 429);
    assert_non_null(strstr(text, "\r\nRetry-After: 1\r\n"));
    assert_non_null(strstr(text, "{\"error\":\"reject because inflight upload data 2000 \\u003e "
                                 "1000, and wait timeout\"}"));
    close(fd);
    say(slow, "x", 1); /* who was there first goes on */
    expect_stored(slow);
    wait_for(BYTES, 0);
    wait_for(PUTS, 0);
}

static void chunks_count_while_they_come(void **state)
{
    char text[1024];
    start(20);
    int slow = begin(FID(1), "Transfer-Encoding: chunked\r\n");
    say(slow, "7d0\r\n", 5);
    say(slow, filler, 2000);
    wait_for(BYTES, 2000);
    int fd = begin(FID(2), "Content-Length: 5\r\n");
    say(fd, "hello", 5);
    assert_int_equal(answer(fd, text), 429);
    close(fd);
    say(slow, "\r\n0\r\n\r\n", 7);
    expect_stored(slow);
}

static void a_waiting_upload_goes_on_when_there_is_room(void **state)
{
    start(DEADLINE_S * 1000);
    int slow = hold_an_upload();
    int waiting[3];
    for (int i = 0; i < 3; i++) {
        waiting[i] = begin(i == 0 ? FID(2) : i == 1 ? FID(3) : FID(4), "Content-Length: 5\r\n");
        say(waiting[i], "hello", 5);
    }
    wait_for(PUTS, 4);
    say(slow, "x", 1);
    expect_stored(slow);
    for (int i = 0; i < 3; i++)
        expect_stored(waiting[i]);
    wait_for(BYTES, 0);
}

static void uploads_that_are_over_together_do_not_wait_for_ever(void **state)
{
    start(DEADLINE_S * 1000);
    int some[3];
    const char *targets[] = {FID(1), FID(2), FID(3)};
    for (int i = 0; i < 3; i++)
        some[i] = begin(targets[i], "Content-Length: 1500\r\n");
    wait_for(PUTS, 3); /* all are past the door */
    for (int i = 0; i < 3; i++)
        say(some[i], filler, 900);
    wait_for(BYTES, 2700);
    for (int i = 0; i < 3; i++)
        say(some[i], filler, 600);
    for (int i = 0; i < 3; i++)
        expect_stored(some[i]);
    wait_for(BYTES, 0);
}

static void one_that_waits_in_the_middle_is_refused_in_time(void **state)
{
    char text[1024];
    start(20);
    int slow = begin(FID(1), "Content-Length: 2001\r\n");
    int fd = begin(FID(2), "Content-Length: 1500\r\n");
    wait_for(PUTS, 2);
    say(slow, filler, 2000);
    wait_for(BYTES, 2000);
    say(fd, filler, 1400);
    assert_int_equal(answer(fd, text), 429);
    wait_for(BYTES, 2000); /* what it had sent is given back */
    close(fd);
    say(slow, "x", 1);
    expect_stored(slow);
}

static void a_client_that_leaves_while_it_waits_is_forgotten(void **state)
{
    start(DEADLINE_S * 1000);
    int slow = hold_an_upload();
    int fd = begin(FID(2), "Content-Length: 5\r\n");
    wait_for(PUTS, 2);
    close(fd);
    wait_for(PUTS, 1);
    say(slow, "x", 1);
    expect_stored(slow);
    wait_for(PUTS, 0);
}

static void a_leader_that_leaves_lets_others_go_on(void **state)
{
    start(DEADLINE_S * 1000);
    int slow = hold_an_upload();
    int fd = begin(FID(2), "Content-Length: 5\r\n");
    say(fd, "hello", 5);
    wait_for(PUTS, 2);
    close(slow);
    expect_stored(fd);
    wait_for(BYTES, 0);
}

static void replicas_do_not_wait(void **state)
{
    start(20);
    int slow = hold_an_upload();
    int fd = begin(FID(2) "?type=replicate", "Content-Length: 5\r\n");
    say(fd, "hello", 5);
    expect_stored(fd);
    close(slow);
}

static void a_write_to_a_page_takes_no_part(void **state)
{
    char text[1024];
    start(20);
    int slow = hold_an_upload();
    int fd = begin("/status", "Content-Length: 5\r\n");
    say(fd, "hello", 5);
    assert_int_equal(answer(fd, text), 200);
    close(fd);
    fd = begin("//3,02637037d6", "Content-Length: 5\r\n");
    say(fd, "hello", 5);
    assert_int_equal(answer(fd, text), 307);
    close(fd);
    close(slow);
    wait_for(PUTS, 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_teardown(name, stop)
    const struct CMUnitTest tests[] = {
        CASE(what_is_announced_and_not_sent_does_not_count),
        CASE(over_the_limit_an_upload_is_refused_before_its_body),
        CASE(chunks_count_while_they_come),
        CASE(a_waiting_upload_goes_on_when_there_is_room),
        CASE(uploads_that_are_over_together_do_not_wait_for_ever),
        CASE(one_that_waits_in_the_middle_is_refused_in_time),
        CASE(a_client_that_leaves_while_it_waits_is_forgotten),
        CASE(a_leader_that_leaves_lets_others_go_on),
        CASE(replicas_do_not_wait),
        CASE(a_write_to_a_page_takes_no_part),
    };
    return cmocka_run_group_tests_name("upload_gate", tests, NULL, NULL);
}
