/* The HTTP fixture. The raw client has a receive time-out, so a server that does not answer fails
 * the test instead of hanging it. */
#include "tests/unit/common/http_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PIECE_BYTES (64u << 10)

/* --- the handler --------------------------------------------------------------------------------
 */

static void count(struct fixture *f, unsigned *counter)
{
    pthread_mutex_lock(&f->lock);
    (*counter)++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_released(void *ctx)
{
    struct fixture *f = ctx;
    count(f, &f->released);
}

static void on_headers(struct http_request *request, void *ctx)
{
    if (slice_equals(request->path, SLICE("/early")))
        http_respond(request, 401, SLICE("no"), NULL, NULL);
    else if (slice_equals(request->path, SLICE("/limit")))
        http_request_limit_body(request, 10, 400, SLICE("text/plain"), SLICE("over 10"));
    else if (slice_equals(request->path, SLICE("/pause"))) {
        struct fixture *f = ctx;
        f->paused_request = request;
        http_request_pause(request);
        count(f, &f->paused);
    }
}

static void on_aborted(struct http_request *request, void *ctx)
{
    struct fixture *f = ctx;
    count(f, &f->aborted);
}

struct stream {
    struct fixture *fixture;
    size_t left;
};

static void send_piece(struct http_request *request, int status, void *ctx)
{
    struct stream *s = ctx;
    if (status < 0 || s->left == 0) {
        http_response_end(request);
        return;
    }
    size_t n = s->left < PIECE_BYTES ? s->left : PIECE_BYTES;
    s->left -= n;
    count(s->fixture, &s->fixture->pieces);
    http_response_write(request, slice_of(s->fixture->big, n), send_piece, s);
}

static void stream(struct http_request *request, struct fixture *f, bool is_chunked)
{
    struct stream *s = arena_alloc(request->arena, sizeof(*s));
    *s = (struct stream){f, FIXTURE_STREAM_BYTES};
    http_response_start(request, 200, is_chunked ? HTTP_LENGTH_CHUNKED : FIXTURE_STREAM_BYTES);
    send_piece(request, 0, s);
}

static void end_now(struct http_request *request, int status, void *ctx)
{
    if (ctx)
        http_response_abort(request);
    else
        http_response_end(request);
}

static void show(struct http_request *request)
{
    char ip[INET6_ADDRSTRLEN];
    http_request_peer_ip(request, ip);
    struct slice x = http_request_header(request, "x-TEST"), q = http_request_query(request, "q");
    http_response_header(request, "X-Injected", SLICE("a\r\nSet-Cookie: b"));
    http_response_header(request, "X-Old", SLICE("old"));
    http_response_set_header(request, "x-old", SLICE("new"));
    const char *text = arena_printf(
        request->arena, "method=%.*s\ntarget=%.*s\npath=%.*s\nquery=%.*s\nx=%s\nq=%s\nip=%s\n",
        (int)request->method_name.len, request->method_name.ptr, (int)request->target.len,
        request->target.ptr, (int)request->path.len, request->path.ptr, (int)request->query.len,
        request->query.ptr, x.ptr ? x.ptr : "(none)", q.ptr ? q.ptr : "(none)", ip);
    http_respond(request, 200, slice_cstr(text), NULL, NULL);
}

static void hold(struct http_request *request, struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->held_request = request;
    f->held++;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_body(struct http_request *request, uint64_t length, void *ctx)
{
    struct fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->body_bytes = (unsigned)length;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void on_request(struct http_request *request, void *ctx)
{
    struct fixture *f = ctx;
    count(f, &f->requests);
    struct slice path = request->path;
    if (slice_equals(path, SLICE("/hello")))
        http_respond(request, 200, SLICE("hello"), NULL, NULL);
    else if (slice_equals(path, SLICE("/echo")) || slice_equals(path, SLICE("/pause")))
        http_respond(request, 200, request->body, on_released, f);
    else if (slice_equals(path, SLICE("/big")))
        http_respond(request, 200, slice_of(f->big, FIXTURE_BIG_BYTES), on_released, f);
    else if (slice_equals(path, SLICE("/show")))
        show(request);
    else if (slice_equals(path, SLICE("/hold")))
        hold(request, f);
    else if (slice_equals(path, SLICE("/stream")))
        stream(request, f, false);
    else if (slice_equals(path, SLICE("/stream/chunked")))
        stream(request, f, true);
    else if (slice_equals(path, SLICE("/empty")))
        http_respond_empty(request, 204);
    else if (slice_equals(path, SLICE("/abort")) || slice_equals(path, SLICE("/short"))) {
        http_response_start(request, 200, 100);
        http_response_write(request, SLICE("0123456789"), end_now,
                            slice_equals(path, SLICE("/abort")) ? f : NULL);
    } else
        http_respond_empty(request, 404);
}

/* --- running it ---------------------------------------------------------------------------------
 */

void fixture_init(struct fixture *f, unsigned loop_count)
{
    signal(SIGPIPE, SIG_IGN);
    *f = (struct fixture){.loop_count = loop_count};
    pthread_mutex_init(&f->lock, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&f->changed, &attr);
    pthread_condattr_destroy(&attr);
    f->handler = (struct http_handler){.on_headers = on_headers,
                                       .on_body = on_body,
                                       .on_request = on_request,
                                       .on_aborted = on_aborted,
                                       .ctx = f};
    f->config = (struct http_server_config){.bind_address = "127.0.0.1",
                                            .loops = f->loops,
                                            .loop_count = loop_count,
                                            .handler = &f->handler,
                                            .body_limit_bytes = 32u << 20};
    f->big = must(calloc(1, FIXTURE_BIG_BYTES)); /* untouched pages cost nothing */
}

void fixture_start(struct fixture *f)
{
    struct error err;
    for (unsigned i = 0; i < f->loop_count; i++)
        CHECK(loop_create(&f->loops[i], "test", &err) == 0);
    if (http_server_create(&f->server, &f->config, &err) < 0)
        fail_msg("%s", err.message);
}

void fixture_stop(struct fixture *f)
{
    http_server_destroy(f->server, 0);
    for (unsigned i = 0; i < f->loop_count; i++)
        loop_destroy(f->loops[i]);
    free(f->big);
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
}

void fixture_wait(struct fixture *f, const unsigned *counter, unsigned value)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += FIXTURE_DEADLINE_MS / 1000;
    int code = 0;
    pthread_mutex_lock(&f->lock);
    while (*counter < value && code == 0)
        code = pthread_cond_timedwait(&f->changed, &f->lock, &deadline);
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(code, 0);
}

unsigned fixture_read(struct fixture *f, const unsigned *counter)
{
    pthread_mutex_lock(&f->lock);
    unsigned value = *counter;
    pthread_mutex_unlock(&f->lock);
    return value;
}

static void run_answer(struct loop_task *task)
{
    struct fixture *f = (struct fixture *)((char *)task - offsetof(struct fixture, answer));
    http_respond(f->held_request, 200, SLICE("held"), on_released, f);
}

static void run_resume(struct loop_task *task)
{
    struct fixture *f = (struct fixture *)((char *)task - offsetof(struct fixture, resume));
    http_request_resume(f->paused_request);
}

void fixture_resume(struct fixture *f)
{
    f->resume.run = run_resume;
    loop_post(f->paused_request->loop, &f->resume);
}

void fixture_answer_held(struct fixture *f)
{
    f->answer.run = run_answer;
    loop_post(f->held_request->loop, &f->answer);
}

/* --- the client ---------------------------------------------------------------------------------
 */

void client_open(struct client *c, struct fixture *f)
{
    *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_true(c->fd >= 0);
    struct timeval deadline = {.tv_sec = FIXTURE_DEADLINE_MS / 1000};
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof(deadline));
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof(deadline));
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(f->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(c->fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

void client_close(struct client *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    free(c->bytes);
}

void client_send(struct client *c, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t n = c->ssl ? SSL_write(c->ssl, bytes, (int)size)
                           : send(c->fd, bytes, size, MSG_NOSIGNAL);
        if (n <= 0)
            return; /* the server may have had enough: what it answers is what counts */
        bytes += n;
        size -= (size_t)n;
    }
}

void client_say(struct client *c, const char *text) { client_send(c, text, strlen(text)); }

/* Receives something more; false at the end. */
static bool receive(struct client *c)
{
    if (c->is_ended)
        return false;
    if (c->capacity - c->size < PIECE_BYTES) {
        c->capacity = c->capacity * 2 + PIECE_BYTES;
        c->bytes = must(realloc(c->bytes, c->capacity));
    }
    char *room = c->bytes + c->size;
    ssize_t n = c->ssl ? SSL_read(c->ssl, room, (int)(c->capacity - c->size))
                       : recv(c->fd, room, c->capacity - c->size, 0);
    if (!c->ssl && n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        fail_msg("no answer in time");
    if (n <= 0)
        c->is_ended = true;
    else
        c->size += (size_t)n;
    return n > 0;
}

static void take(struct client *c, size_t n)
{
    memmove(c->bytes, c->bytes + n, c->size - n);
    c->size -= n;
}

static const char *header_of(const char *head, const char *name)
{
    const char *at = strcasestr(head, name);
    return at ? at + strlen(name) : NULL;
}

static void read_chunks(struct client *c, struct answer *a)
{
    size_t at = 0;
    for (;;) {
        char *end;
        while (!(end = c->size > at ? memmem(c->bytes + at, c->size - at, "\r\n", 2) : NULL))
            if (!receive(c))
                return;
        size_t n = strtoul(c->bytes + at, NULL, 16);
        at = (size_t)(end - c->bytes) + 2;
        while (c->size < at + n + 2)
            if (!receive(c))
                return;
        a->body = must(realloc(a->body, a->size + n + 1));
        memcpy(a->body + a->size, c->bytes + at, n);
        a->size += n;
        a->body[a->size] = '\0';
        at += n + 2;
        if (n == 0)
            break;
    }
    take(c, at);
}

void client_read(struct client *c, struct answer *a, bool is_head)
{
    memset(a, 0, sizeof(*a));
    char *end;
    while (!(end = c->size ? memmem(c->bytes, c->size, "\r\n\r\n", 4) : NULL))
        if (!receive(c))
            return;
    size_t head = (size_t)(end - c->bytes) + 4;
    assert_true(head < sizeof(a->head));
    memcpy(a->head, c->bytes, head);
    a->head[head] = '\0';
    take(c, head);
    assert_int_equal(sscanf(a->head, "HTTP/1.1 %d", &a->status), 1);
    const char *length = header_of(a->head, "\r\nContent-Length: ");
    if (is_head || a->status == 204 || a->status == 304 || a->status < 200)
        return;
    if (strcasestr(a->head, "\r\nTransfer-Encoding: chunked")) {
        read_chunks(c, a);
        return;
    }
    size_t wanted = length ? strtoul(length, NULL, 10) : SIZE_MAX;
    while (c->size < wanted && receive(c))
        continue;
    a->size = c->size < wanted ? c->size : wanted;
    a->body = must(malloc(a->size + 1));
    memcpy(a->body, c->bytes, a->size);
    a->body[a->size] = '\0';
    take(c, a->size);
}

void client_expect(struct client *c, int status, const char *body)
{
    struct answer a;
    client_read(c, &a, false);
    assert_int_equal(a.status, status);
    if (body) {
        assert_non_null(a.body);
        assert_string_equal(a.body, body);
    }
    free(a.body);
}

void client_expect_end(struct client *c)
{
    assert_int_equal(c->size, 0);
    assert_false(receive(c));
}
