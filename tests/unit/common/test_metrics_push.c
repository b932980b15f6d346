/* Pushing metrics, to a gateway that is our own HTTP server. */
#include "tests/unit/common/http_fixture.h"

#include "common/log.h"
#include "common/metrics_push.h"

#include <string.h>

/* What the gateway got. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned pushes;
    int status; /* what it answers; 0: nothing */
    char method[8], path[128], type[64], body[512];
} gateway = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct fixture f;
static struct metrics *registry;
static struct metric_series *series;
static unsigned collected;

static void copy(char *to, size_t size, struct slice from)
{
    size_t n = from.len < size - 1 ? from.len : size - 1;
    memcpy(to, from.ptr, n);
    to[n] = '\0';
}

static struct http_request *held;
static struct loop_task answer_held;

static void on_request(struct http_request *request, void *ctx)
{
    pthread_mutex_lock(&gateway.lock);
    gateway.pushes++;
    copy(gateway.method, sizeof(gateway.method), request->method_name);
    copy(gateway.path, sizeof(gateway.path), request->raw_path);
    copy(gateway.type, sizeof(gateway.type), http_request_header(request, "Content-Type"));
    copy(gateway.body, sizeof(gateway.body), request->body);
    int status = gateway.status;
    if (status == 0)
        held = request;
    pthread_cond_broadcast(&gateway.changed);
    pthread_mutex_unlock(&gateway.lock);
    if (status != 0)
        http_respond_empty(request, status);
}

static void let_go(struct loop_task *task) { http_respond_empty(held, 200); }

static void wait_for_pushes(unsigned count)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 10;
    pthread_mutex_lock(&gateway.lock);
    int rc = 0;
    while (gateway.pushes < count && rc == 0)
        rc = pthread_cond_timedwait(&gateway.changed, &gateway.lock, &until);
    unsigned pushes = gateway.pushes;
    pthread_mutex_unlock(&gateway.lock);
    assert_true(pushes >= count);
}

static void collect(struct metrics_collector *collector)
{
    collected++;
    metric_set(series, collected);
}

static struct metrics_collector collector = {.collect = collect};

static int setup(void **state)
{
    fixture_init(&f, 1);
    f.handler = (struct http_handler){.on_request = on_request};
    fixture_start(&f);
    registry = metrics_create();
    series = metric_series(metrics_add(registry, METRIC_GAUGE, "pages", "Pages.", NULL, NULL, 0),
                           NULL);
    metrics_add_collector(registry, &collector);
    gateway.pushes = 0;
    gateway.status = 202;
    held = NULL;
    collected = 0;
    return 0;
}

static int teardown(void **state)
{
    fixture_stop(&f);
    metrics_destroy(registry);
    return 0;
}

static struct metrics_push *push_to(const char *address)
{
    struct metrics_push_config config = {
        .metrics = registry,
        .address = address,
        .job = "volumeServer",
        .instance = "127.0.0.1:8080",
        .interval_seconds = 1,
    };
    struct metrics_push *push;
    assert_int_equal(metrics_push_create(&push, &config, NULL), 0);
    return push;
}

static void puts_fresh_pages_again_and_again(void **state)
{
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f.server));
    struct metrics_push *push = push_to(address);
    wait_for_pushes(2);
    metrics_push_destroy(push);
    assert_string_equal(gateway.method, "PUT");
    assert_string_equal(gateway.path, "/metrics/job/volumeServer/instance/127.0.0.1%3A8080");
    assert_string_equal(gateway.type, "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(gateway.body, "# TYPE pages gauge\npages "));
    assert_null(strstr(gateway.body, "pages 1\n"));
}

static void an_address_may_be_a_url_with_a_slash(void **state)
{
    char address[64];
    snprintf(address, sizeof(address), "http://127.0.0.1:%u/", http_server_port(f.server));
    struct metrics_push *push = push_to(address);
    wait_for_pushes(1);
    metrics_push_destroy(push);
    assert_string_equal(gateway.path, "/metrics/job/volumeServer/instance/127.0.0.1%3A8080");
}

static void a_refusal_is_followed_by_another_attempt(void **state)
{
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f.server));
    gateway.status = 400;
    struct metrics_push *push = push_to(address);
    wait_for_pushes(2);
    metrics_push_destroy(push);
}

/* It must neither hold up the end of the server, nor those who want the page meanwhile. */
static void a_gateway_that_hangs_holds_up_nobody(void **state)
{
    char address[64];
    snprintf(address, sizeof(address), "127.0.0.1:%u", http_server_port(f.server));
    gateway.status = 0;
    struct metrics_push *push = push_to(address);
    wait_for_pushes(1);
    struct buffer page = BUFFER_INIT;
    metrics_print(registry, &page);
    assert_string_equal(buffer_cstr(&page), "# HELP pages Pages.\n# TYPE pages gauge\npages 2\n");
    buffer_fini(&page);
    uint64_t begin_ns = uv_hrtime();
    metrics_push_destroy(push);
    assert_true(uv_hrtime() - begin_ns < 3000000000u);
    answer_held.run = let_go;
    loop_post(f.loops[0], &answer_held);
}

static void needs_an_address_and_an_interval(void **state)
{
    struct metrics_push_config config = {
        .metrics = registry, .address = "", .job = "j", .instance = "i", .interval_seconds = 1};
    struct metrics_push *push = NULL;
    assert_int_equal(metrics_push_create(&push, &config, NULL), KELP_E_INVALID);
    config.address = "127.0.0.1:1";
    config.interval_seconds = 0;
    assert_int_equal(metrics_push_create(&push, &config, NULL), KELP_E_INVALID);
    assert_null(push);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(puts_fresh_pages_again_and_again),
        CASE(an_address_may_be_a_url_with_a_slash),
        CASE(a_refusal_is_followed_by_another_attempt),
        CASE(a_gateway_that_hangs_holds_up_nobody),
        CASE(needs_an_address_and_an_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
