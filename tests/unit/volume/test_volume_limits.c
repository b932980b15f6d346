/* Limits of the data port: reads that wait for a disk, downloads in flight, the size of a file. */
#include "port_stage.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

/* Sends a GET of the blob on a connection of its own. */
static int send_get_of(const char *target, int receive_buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(port.server))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    char request[128];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target);
    assert_int_equal(send(fd, request, strlen(request), 0), strlen(request));
    return fd;
}

static int send_get(int receive_buffer) { return send_get_of(FID, receive_buffer); }

static void expect_status(int fd, const char *status)
{
    char text[1024] = "";
    assert_true(recv(fd, text, sizeof(text) - 1, 0) > 12);
    assert_memory_equal(text + 9, status, 3);
    if (strcmp(status, "503") == 0)
        assert_non_null(strstr(text, "\r\nRetry-After: 1\r\n"));
}

static void reads_beyond_the_queue_are_told_to_come_again(void **state)
{
    stage_restart(
        &(struct data_port_options){.is_cold = true, .is_stuck = true, .reader_queue = 1});
    put_hello();
    atomic_store(&port.is_stuck, true);
    int busy[2];
    for (int i = 0; i < 2; i++) {
        busy[i] = send_get(0);
        data_port_wait_for_read(&port);
    }
    /* Both readers are stuck. Of the next two one waits, the other is refused. */
    struct pollfd next[2] = {{.fd = send_get(0), .events = POLLIN},
                             {.fd = send_get(0), .events = POLLIN}};
    assert_int_equal(poll(next, 2, 10000), 1);
    int refused = next[0].revents ? 0 : 1;
    expect_status(next[refused].fd, "503");
    data_port_release(&port);
    expect_status(next[1 - refused].fd, "200");
    for (int i = 0; i < 2; i++) {
        expect_status(busy[i], "200");
        close(busy[i]);
        close(next[i].fd);
    }
}

static void a_disk_that_hangs_holds_up_no_other(void **state)
{
    stage_restart(
        &(struct data_port_options){.is_cold = true, .is_stuck = true, .has_second_disk = true});
    put_hello();
    ask("PUT", "/4,01637037d6", "", "there");
    assert_int_equal(last.status, 201);
    atomic_store(&port.is_stuck, true);
    int busy[4]; /* more than a pool has threads */
    for (int i = 0; i < 4; i++)
        busy[i] = send_get_of("/4,01637037d6", 0);
    for (int i = 0; i < 2; i++)
        data_port_wait_for_read(&port);
    for (int i = 0; i < 10; i++) {
        ask("GET", FID, "", NULL);
        expect(200, "hello");
    }
    ask("GET", "/status", "", NULL);
    assert_int_equal(last.status, 200);
    data_port_release(&port);
    for (int i = 0; i < 4; i++) {
        expect_status(busy[i], "200");
        close(busy[i]);
    }
}

/* Takes a read that never ends: its client does not read. Returns the client. */
static int hold_a_download(void)
{
    int fd = send_get(4096);
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1); /* it has begun */
    return fd;
}

static void downloads_over_the_limit_wait_and_are_refused(void **state)
{
    stage_restart(&(struct data_port_options){.download_limit_bytes = 1000, .wait_ms = 20});
    size_t size = 30u << 20;
    char *data = calloc(1, size);
    data_port_ask(&port, "PUT", FID, "Content-Type: a/b\r\n", data, size, &last);
    assert_int_equal(last.status, 201);
    free(data);
    int fd = hold_a_download();
    ask("GET", "/3,02637037d6?x=y", "", NULL);
    assert_int_equal(last.status, 429);
    const char *start =
        "{\"error\":\"request /3,02637037d6 because inflight download data 314573";
    assert_memory_equal(last.body, start, strlen(start));
    assert_non_null(strstr(last.body, " \\u003e 1000, and wait timeout\"}"));
    close(fd);
}

static void a_waiting_download_goes_on_when_there_is_room(void **state)
{
    stage_restart(&(struct data_port_options){.download_limit_bytes = 1000, .wait_ms = 10000});
    size_t size = 30u << 20;
    char *data = calloc(1, size);
    data_port_ask(&port, "PUT", FID, "Content-Type: a/b\r\n", data, size, &last);
    free(data);
    ask("PUT", "/3,02637037d6", "", "small");
    int fd = hold_a_download();
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    close(fd); /* the server sees it now or while the next one waits */
    ask("GET", "/3,02637037d6", "", NULL);
    expect(200, "small");
}

static void a_file_over_the_limit_is_refused_exactly(void **state)
{
    stage_restart(&(struct data_port_options){.file_size_limit_bytes = 1000});
    char text[1002];
    memset(text, 'a', 1001);
    text[1001] = 0;
    ask("PUT", FID, "", text);
    expect(400, "{\"error\":\"file over the limited 1000 bytes\"}");
    text[1000] = 0;
    ask("PUT", FID, "", text);
    assert_int_equal(last.status, 201);
    size_t size = 4u << 20;
    char *big = calloc(1, size);
    reply_fini(&last);
    data_port_ask(&port, "PUT", FID, "", big, size, &last);
    expect(400, "{\"error\":\"file over the limited 1000 bytes\"}");
    free(big);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, stage_start, stage_stop)
    const struct CMUnitTest tests[] = {
        CASE(reads_beyond_the_queue_are_told_to_come_again),
        CASE(a_disk_that_hangs_holds_up_no_other),
        CASE(downloads_over_the_limit_wait_and_are_refused),
        CASE(a_waiting_download_goes_on_when_there_is_room),
        CASE(a_file_over_the_limit_is_refused_exactly),
    };
    return cmocka_run_group_tests_name("volume_limits", tests, NULL, NULL);
}
