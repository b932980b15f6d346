/* The load client against a server that says what a test has written down. */
#include "tests/unit/cmocka_all.h"

#include "cli/load_client.h"
#include "common/check.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWERS_MAX 4

/* One connection after the other: for each request the next answer; then the connection is closed.
 */
struct server {
    pthread_t thread;
    int listener, request_count;
    char address[32];
    const char *connections[ANSWERS_MAX][ANSWERS_MAX];
};

/* Heads only: the bodies of these tests come in the same packet. False at the end of the stream. */
static bool take_request(int fd)
{
    char data[65536];
    size_t length = 0;
    while (!memmem(data, length, "\r\n\r\n", 4)) {
        ssize_t n = recv(fd, data + length, sizeof(data) - length, 0);
        if (n <= 0)
            return false;
        length += (size_t)n;
    }
    return true;
}

static void *serve(void *arg)
{
    struct server *server = arg;
    for (int i = 0; i < ANSWERS_MAX && server->connections[i][0]; i++) {
        int one = 1, fd = accept(server->listener, NULL, NULL);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        for (int j = 0; j < ANSWERS_MAX && server->connections[i][j] && take_request(fd); j++) {
            const char *answer = server->connections[i][j];
            server->request_count++;
            /* in two parts, so that the client meets an answer's head without its end */
            size_t half = strlen(answer) / 2;
            CHECK(send(fd, answer, half, MSG_NOSIGNAL) == (ssize_t)half);
            CHECK(send(fd, answer + half, strlen(answer) - half, MSG_NOSIGNAL) >= 0);
        }
        close(fd);
    }
    return NULL;
}

static void server_start(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(bind(server->listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(server->listener, 8) == 0);
    CHECK(getsockname(server->listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", ntohs(address.sin_port));
    CHECK(pthread_create(&server->thread, NULL, serve, server) == 0);
}

static void server_end(struct server *server)
{
    pthread_join(server->thread, NULL);
    close(server->listener);
}

struct asking {
    struct load_call call;
    struct load_client *client;
    int times_left;
};

static void on_done(struct load_call *call)
{
    struct asking *asking = (struct asking *)(void *)call; /* its first member */
    if (--asking->times_left > 0 && call->code == 0)
        load_client_send(asking->client, call);
    else
        load_client_stop(asking->client);
}

/* Asks so many times, one after the other, and leaves the last answer. */
static void ask(struct asking *ret, const char *address, int times)
{
    memset(ret, 0, sizeof(*ret));
    ret->times_left = times;
    ret->call.server = address;
    ret->call.head = SLICE("PUT /3,0123456789 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbo");
    ret->call.body = SLICE("dy");
    ret->call.done = on_done;
    assert_int_equal(load_client_create(&ret->client, NULL, NULL), 0);
    load_client_send(ret->client, &ret->call);
    load_client_run(ret->client);
    load_client_destroy(ret->client);
}

#define OK                                                                                         \
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nAuthorization: Bearer xyz\r\nX-Filler: "              \
    "abcdef\r\n\r\nhello"

static void answers_come_in_all_framings(void **state)
{
    static const char *const answers[] = {
        OK,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nhello", /* ends with the connection */
        "HTTP/1.1 100 Continue\r\n\r\n" OK,
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct server server = {.connections = {{answers[i]}}};
        struct asking asking;
        server_start(&server);
        ask(&asking, server.address, 1);
        server_end(&server);
        assert_int_equal(asking.call.code, 0);
        assert_int_equal(asking.call.status, 200);
        assert_int_equal(asking.call.body_bytes, 5);
        assert_string_equal(asking.call.kept, "hello");
        assert_string_equal(asking.call.authorization,
                            strstr(answers[i], "xyz") ? "Bearer xyz" : "");
    }
}

static void an_answer_without_body_is_an_answer(void **state)
{
    struct server server = {.connections = {{"HTTP/1.1 204 No Content\r\n\r\n", OK}}};
    struct asking asking;
    server_start(&server);
    ask(&asking, server.address, 2);
    server_end(&server);
    assert_int_equal(asking.call.status, 200);
    assert_int_equal(server.request_count, 2);
}

static void a_kept_connection_that_was_closed_is_replaced(void **state)
{
    struct server server = {.connections = {{OK}, {OK, OK}}};
    struct asking asking;
    server_start(&server);
    ask(&asking, server.address, 3);
    server_end(&server);
    assert_int_equal(asking.call.code, 0);
    assert_int_equal(server.request_count, 3);
}

static void a_server_that_wants_to_close_is_taken_at_its_word(void **state)
{
    static const char closing[] =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi";
    struct server server = {.connections = {{closing}, {closing}}};
    struct asking asking;
    server_start(&server);
    ask(&asking, server.address, 2);
    server_end(&server);
    assert_int_equal(asking.call.code, 0);
    assert_string_equal(asking.call.kept, "hi");
}

static void a_fresh_connection_that_breaks_is_a_failure(void **state)
{
    static const char *const answers[] = {
        "",
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        "this is no HTTP at all\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct server server = {.connections = {{answers[i]}}};
        struct asking asking;
        server_start(&server);
        ask(&asking, server.address, 1);
        server_end(&server);
        assert_int_not_equal(asking.call.code, 0);
        assert_non_null(strstr(asking.call.err.message, server.address));
    }
}

static void more_than_an_answer_ends_the_connection(void **state)
{
    struct server server = {.connections = {{OK "HTTP/1.1 200 OK\r\n"}, {OK}}};
    struct asking asking;
    server_start(&server);
    ask(&asking, server.address, 2);
    server_end(&server);
    assert_int_equal(asking.call.code, 0);
    assert_int_equal(server.request_count, 2);
}

static void nobody_there_is_told_later_not_at_once(void **state)
{
    struct asking asking;
    ask(&asking, "127.0.0.1:1", 1);
    assert_int_equal(asking.call.code, KELP_E_UNAVAILABLE);
    assert_non_null(strstr(asking.call.err.message, "127.0.0.1:1: Connection refused"));
    ask(&asking, "no port here", 1);
    assert_int_equal(asking.call.code, KELP_E_INVALID);
}

static void certificates_that_are_not_there_are_named(void **state)
{
    struct load_client *client;
    struct error err;
    struct http_client_tls tls = {.ca = "/nonexistent/ca.pem", .cert = "", .key = ""};
    assert_int_equal(load_client_create(&client, &tls, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "/nonexistent/ca.pem"));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_in_all_framings),
        cmocka_unit_test(an_answer_without_body_is_an_answer),
        cmocka_unit_test(a_kept_connection_that_was_closed_is_replaced),
        cmocka_unit_test(a_server_that_wants_to_close_is_taken_at_its_word),
        cmocka_unit_test(a_fresh_connection_that_breaks_is_a_failure),
        cmocka_unit_test(more_than_an_answer_ends_the_connection),
        cmocka_unit_test(nobody_there_is_told_later_not_at_once),
        cmocka_unit_test(certificates_that_are_not_there_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
