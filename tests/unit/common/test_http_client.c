/* The HTTP client, against our server. */
#include "tests/unit/common/http_fixture.h"

#include "common/http_client.h"

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
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
