/* The HTTP client, against our server. */
#include "tests/unit/common/http_fixture.h"

#include "common/http_client.h"

#include <stddef.h>
#include <stdlib.h>

static struct fixture f;
static char base[64];

static int setup(void **state)
{
    fixture_init(&f, 1);
    fixture_start(&f);
    snprintf(base, sizeof(base), "http://127.0.0.1:%u", http_server_port(f.server));
    setenv("http_proxy", "http://127.0.0.1:1/", 1); /* must not be looked at */
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(&f);
    return 0;
}

static struct http_client_request to(const char *method, const char *path, char url[128])
{
    snprintf(url, 128, "%s%s", base, path);
    return (struct http_client_request){.method = method, .url = url};
}

static struct http_client *blocking_client(void)
{
    struct http_client *client;
    assert_int_equal(http_client_create(&client, NULL, NULL), 0);
    return client;
}

static void fetches_and_keeps_the_connection(void **state)
{
    struct http_client *client = blocking_client();
    struct http_client_response response;
    char url[128];
    for (int i = 0; i < 3; i++) {
        struct http_client_request request = to("GET", "/hello", url);
        assert_int_equal(http_client_fetch(client, &request, &response, NULL), 0);
        assert_int_equal(response.status, 200);
        assert_string_equal(response.body, "hello");
        assert_string_equal(http_client_response_header(&response, "content-length"), "5");
        assert_null(http_client_response_header(&response, "nothing"));
        http_client_response_fini(&response);
    }
    struct http_server_stats stats;
    http_server_stats(f.server, &stats);
    assert_int_equal(stats.connections, 1);
    http_client_destroy(client);
}

static void sends_bodies_and_headers(void **state)
{
    static const char *const methods[] = {"PUT", "POST", "DELETE"};
    struct http_client *client = blocking_client();
    struct http_client_response response;
    char url[128], *data = must(malloc(2 << 20));
    memset(data, 'd', 2 << 20);
    for (int i = 0; i < 3; i++) {
        struct http_client_request request = to(methods[i], "/echo", url);
        request.body = slice_of(data, 2 << 20);
        assert_int_equal(http_client_fetch(client, &request, &response, NULL), 0);
        assert_int_equal(response.body_size, 2 << 20);
        assert_memory_equal(response.body, data, 2 << 20);
        http_client_response_fini(&response);
    }
    free(data);
    struct http_client_header header = {"X-Test", "yes"};
    struct http_client_request request = to("POST", "/show?q=1", url);
    request.headers = &header;
    request.header_count = 1;
    assert_int_equal(http_client_fetch(client, &request, &response, NULL), 0);
    assert_non_null(strstr(response.body, "method=POST\n"));
    assert_non_null(strstr(response.body, "\nx=yes\nq=1\n"));
    http_client_response_fini(&response);
    request = to("HEAD", "/big", url);
    assert_int_equal(http_client_fetch(client, &request, &response, NULL), 0);
    assert_string_equal(http_client_response_header(&response, "Content-Length"), "67108864");
    assert_int_equal(response.body_size, 0);
    http_client_response_fini(&response);
    http_client_destroy(client);
}

static void takes_any_status_for_a_success(void **state)
{
    struct http_client *client = blocking_client();
    struct http_client_response response;
    char url[128];
    struct http_client_request request = to("GET", "/nothing", url);
    assert_int_equal(http_client_fetch(client, &request, &response, NULL), 0);
    assert_int_equal(response.status, 404);
    assert_string_equal(response.body, "");
    http_client_response_fini(&response);
    http_client_destroy(client);
}

static void says_why_a_call_failed(void **state)
{
    struct http_client *client = blocking_client();
    struct http_client_response response;
    struct error err;
    char url[128];
    struct http_client_request request = to("GET", "/stream", url);
    request.response_limit_bytes = 1000;
    assert_int_equal(http_client_fetch(client, &request, &response, &err), KELP_E_TOO_LARGE);
    request = to("GET", "/abort", url);
    assert_int_equal(http_client_fetch(client, &request, &response, &err), KELP_E_PROTOCOL);
    request.url = "http://127.0.0.1:1/";
    assert_int_equal(http_client_fetch(client, &request, &response, &err), KELP_E_UNAVAILABLE);
    assert_non_null(strstr(err.message, "http://127.0.0.1:1/: "));
    request.url = "file:///etc/passwd";
    assert_int_equal(http_client_fetch(client, &request, &response, &err), KELP_E_INVALID);
    request = to("GET", "/hold", url);
    request.response_timeout_ms = 50;
    unsigned held = f.held;
    assert_int_equal(http_client_fetch(client, &request, &response, &err), KELP_E_TIMEOUT);
    assert_int_equal(fixture_read(&f, &f.held), held + 1);
    fixture_answer_held(&f);
    http_client_destroy(client);
}

/* --- asynchronous -------------------------------------------------------------------------------
 */

struct async {
    struct loop_task task;
    struct loop *loop;
    struct http_client *client;
    const char *path;
    unsigned timeout_ms, count;
    bool destroys; /* the client, while the calls run */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned done;
    int codes[64], statuses[64];
};

static void on_done(void *ctx, int code, const struct http_client_response *response,
                    const struct error *err)
{
    struct async *a = ctx;
    CHECK(loop_is_current(a->loop) && (code == 0) == (response != NULL) &&
          (code == 0) == (err == NULL));
    pthread_mutex_lock(&a->lock);
    a->codes[a->done] = code;
    a->statuses[a->done++] = response ? response->status : 0;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

static void begin(struct loop_task *task)
{
    struct async *a = (struct async *)task;
    char url[128];
    if (!a->client)
        http_client_create(&a->client, a->loop, NULL);
    struct http_client_request request = to("GET", a->path, url);
    request.response_timeout_ms = a->timeout_ms;
    for (unsigned i = 0; i < a->count; i++)
        http_client_send(a->client, &request, on_done, a);
    CHECK(a->done == 0); /* never from inside */
    if (a->destroys) {
        http_client_destroy(a->client);
        a->client = NULL;
    }
}

static void end(struct loop_task *task)
{
    struct async *a = (struct async *)task;
    http_client_destroy(a->client);
}

static void run_async(struct async *a)
{
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    assert_int_equal(loop_create(&a->loop, "client", NULL), 0);
    a->task.run = begin;
    loop_post(a->loop, &a->task);
    pthread_mutex_lock(&a->lock);
    while (a->done < a->count)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
    a->task.run = end;
    loop_post(a->loop, &a->task);
    loop_destroy(a->loop);
}

static void runs_many_calls_on_a_loop(void **state)
{
    struct async a = {.path = "/hello", .count = 50};
    run_async(&a);
    for (unsigned i = 0; i < a.count; i++) {
        assert_int_equal(a.codes[i], 0);
        assert_int_equal(a.statuses[i], 200);
    }
}

static void gives_up_on_a_loop_too(void **state)
{
    struct async a = {.path = "/hold", .count = 1, .timeout_ms = 50};
    unsigned held = f.held;
    run_async(&a);
    assert_int_equal(a.codes[0], KELP_E_TIMEOUT);
    fixture_wait(&f, &f.held, held + 1);
    fixture_answer_held(&f);
}

static void cancels_what_runs_when_it_is_destroyed(void **state)
{
    struct async a = {.path = "/hello", .count = 5, .destroys = true};
    run_async(&a);
    for (unsigned i = 0; i < a.count; i++)
        assert_int_equal(a.codes[i], KELP_E_CANCELLED);
}

/* --- as it comes --------------------------------------------------------------------------------
 */

struct streamed {
    struct loop_task task, again;
    struct loop *loop;
    struct http_client *client;
    struct http_call *call;
    const char *path;
    bool refuses_head, waits_for_another, cancels;
    size_t refuse_every; /* so many pieces; 0: never */
    size_t enough;       /* of them; 0: all */
    size_t pieces;
    bool has_refused;
    int status;
    const char *length;
    uint64_t taken;
    uv_sem_t over;
    int code;
};

static bool on_head(void *ctx, const struct http_client_response *head)
{
    struct streamed *s = ctx;
    CHECK(s->status == 0 && s->taken == 0 && !head->body);
    s->status = head->status;
    s->length = http_client_response_header(head, "Content-Length") ? "known" : "unknown";
    return !s->refuses_head;
}

static void on_other_done(void *ctx, int code, const struct http_client_response *response,
                          const struct error *err)
{
    struct streamed *s = ctx;
    CHECK(code == KELP_E_TIMEOUT);
    http_client_resume(s->call);
}

static void go_on(struct loop_task *task)
{
    struct streamed *s = (struct streamed *)((char *)task - offsetof(struct streamed, again));
    char url[128];
    struct http_client_request request = to("GET", "/hold", url);
    request.response_timeout_ms = 300;
    if (s->cancels) {
        http_client_cancel(s->call);
        uv_sem_post(&s->over);
    } else if (s->waits_for_another) {
        http_client_send(s->client, &request, on_other_done, s);
    } else {
        http_client_resume(s->call);
    }
}

static enum http_client_taken on_data(void *ctx, struct slice piece)
{
    struct streamed *s = ctx;
    CHECK(piece.len > 0 && piece.len <= HTTP_CLIENT_PIECE_MAX);
    if (s->refuse_every > 0 && s->pieces % s->refuse_every == 0 && !s->has_refused) {
        s->has_refused = true;
        s->again.run = go_on;
        loop_at_turn_end(s->loop, &s->again);
        return HTTP_CLIENT_LATER;
    }
    s->has_refused = false;
    s->pieces++;
    s->taken += piece.len;
    return s->pieces == s->enough ? HTTP_CLIENT_ENOUGH : HTTP_CLIENT_TAKEN;
}

static const struct http_client_sink streamed_sink = {.on_head = on_head, .on_data = on_data};

static void on_streamed(void *ctx, int code, const struct http_client_response *response,
                        const struct error *err)
{
    struct streamed *s = ctx;
    CHECK((code == 0) == (response != NULL) && (!response || response->body_size == 0));
    s->code = code;
    uv_sem_post(&s->over);
}

static void begin_stream(struct loop_task *task)
{
    struct streamed *s = (struct streamed *)task;
    char url[128];
    http_client_create(&s->client, s->loop, NULL);
    struct http_client_request request = to("GET", s->path, url);
    request.response_timeout_ms = s->waits_for_another ? 100 : 0;
    s->call = http_client_stream(s->client, &request, &streamed_sink, on_streamed, s);
}

static void end_stream(struct loop_task *task)
{
    struct streamed *s = (struct streamed *)task;
    http_client_destroy(s->client);
}

static void run_streamed(struct streamed *s)
{
    s->code = 1;
    uv_sem_init(&s->over, 0);
    assert_int_equal(loop_create(&s->loop, "client", NULL), 0);
    s->task.run = begin_stream;
    loop_post(s->loop, &s->task);
    uv_sem_wait(&s->over);
    s->task.run = end_stream;
    loop_post(s->loop, &s->task);
    loop_destroy(s->loop);
    uv_sem_destroy(&s->over);
}

static void a_body_comes_piece_by_piece(void **state)
{
    static const char *const paths[] = {"/stream", "/stream/chunked", "/big"};
    static const uint64_t sizes[] = {FIXTURE_STREAM_BYTES, FIXTURE_STREAM_BYTES, FIXTURE_BIG_BYTES};
    for (int i = 0; i < 3; i++) {
        struct streamed s = {.path = paths[i]};
        run_streamed(&s);
        assert_int_equal(s.code, 0);
        assert_int_equal(s.status, 200);
        assert_string_equal(s.length, i == 1 ? "unknown" : "known");
        assert_true(s.taken == sizes[i]);
    }
}

static void a_piece_that_was_not_taken_comes_again(void **state)
{
    struct streamed s = {.path = "/stream", .refuse_every = 3};
    run_streamed(&s);
    assert_int_equal(s.code, 0);
    assert_true(s.taken == FIXTURE_STREAM_BYTES);
}

/* Another call's time-out, three times as long, passes while nothing is taken. */
static void nobody_is_late_while_nothing_is_taken(void **state)
{
    struct streamed s = {.path = "/stream", .refuse_every = SIZE_MAX, .waits_for_another = true};
    unsigned held = f.held;
    run_streamed(&s);
    assert_int_equal(s.code, 0);
    assert_true(s.taken == FIXTURE_STREAM_BYTES);
    assert_true(fixture_read(&f, &f.held) > held);
    fixture_answer_held(&f);
}

static void a_body_that_breaks_off_says_so_at_its_end(void **state)
{
    struct streamed s = {.path = "/abort"};
    run_streamed(&s);
    assert_int_equal(s.code, KELP_E_PROTOCOL);
    assert_true(s.taken == 10);
}

static void a_header_that_is_refused_ends_the_call(void **state)
{
    struct streamed s = {.path = "/stream", .refuses_head = true};
    run_streamed(&s);
    assert_int_equal(s.code, KELP_E_CANCELLED);
    assert_int_equal(s.status, 200);
    assert_true(s.taken == 0);
}

static void a_sink_that_has_enough_ends_the_call(void **state)
{
    struct streamed s = {.path = "/stream", .refuse_every = 2, .enough = 3};
    run_streamed(&s);
    assert_int_equal(s.code, KELP_E_CANCELLED);
    assert_int_equal(s.pieces, 3);
}

static void a_cancelled_call_ends_without_a_word(void **state)
{
    struct streamed s = {.path = "/stream", .refuse_every = 1, .cancels = true};
    run_streamed(&s);
    assert_int_equal(s.code, 1); /* nobody set it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_and_keeps_the_connection),
        cmocka_unit_test(sends_bodies_and_headers),
        cmocka_unit_test(takes_any_status_for_a_success),
        cmocka_unit_test(says_why_a_call_failed),
        cmocka_unit_test(runs_many_calls_on_a_loop),
        cmocka_unit_test(gives_up_on_a_loop_too),
        cmocka_unit_test(cancels_what_runs_when_it_is_destroyed),
        cmocka_unit_test(a_body_comes_piece_by_piece),
        cmocka_unit_test(a_piece_that_was_not_taken_comes_again),
        cmocka_unit_test(nobody_is_late_while_nothing_is_taken),
        cmocka_unit_test(a_body_that_breaks_off_says_so_at_its_end),
        cmocka_unit_test(a_header_that_is_refused_ends_the_call),
        cmocka_unit_test(a_sink_that_has_enough_ends_the_call),
        cmocka_unit_test(a_cancelled_call_ends_without_a_word),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
