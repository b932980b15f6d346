#include "volume/volume_lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUESTIONS_MAX 8

static struct loop *loop;
static struct volume_lookup *lookup;

/* The source keeps its questions until the test answers them. */
static struct volume_lookup_question *questions[QUESTIONS_MAX];
static size_t question_count;
static uv_sem_t has_asked;

static void keep_question(void *ctx, uint32_t volume_id, struct volume_lookup_question *question)
{
    questions[question_count++] = question;
    uv_sem_post(&has_asked);
}

struct asking {
    struct volume_lookup_request request;
    struct loop_task task;
    uv_sem_t is_done;
};

static void on_found(struct volume_lookup_request *request)
{
    uv_sem_post(&((struct asking *)request)->is_done);
}

static void begin(struct loop_task *task)
{
    struct asking *asking = (struct asking *)((char *)task - offsetof(struct asking, task));
    volume_lookup_find(lookup, &asking->request);
}

static void start_asking(struct asking *asking, uint32_t volume_id)
{
    memset(asking, 0, sizeof(*asking));
    asking->request.loop = loop;
    asking->request.volume_id = volume_id;
    asking->request.done = on_found;
    asking->task.run = begin;
    uv_sem_init(&asking->is_done, 0);
    loop_post(loop, &asking->task);
}

static void finish_asking(struct asking *asking)
{
    uv_sem_wait(&asking->is_done);
    uv_sem_destroy(&asking->is_done);
}

static struct volume_locations *one_location(const char *url)
{
    struct volume_locations *locations = volume_locations_create(1);
    locations->items[0].url = strdup(url);
    return locations;
}

static void answer(size_t index, struct volume_locations *locations)
{
    uv_sem_wait(&has_asked);
    volume_lookup_answer(questions[index], locations, NULL);
}

static int start(void **state)
{
    struct volume_lookup_source source = {.ask = keep_question};
    question_count = 0;
    uv_sem_init(&has_asked, 0);
    assert_int_equal(volume_lookup_create(&lookup, &source, NULL), 0);
    return loop_create(&loop, "lookup", NULL);
}

static int stop(void **state)
{
    loop_destroy(loop);
    volume_lookup_destroy(lookup);
    uv_sem_destroy(&has_asked);
    return 0;
}

static void an_answer_is_kept_until_it_is_forgotten(void **state)
{
    struct asking asking;
    start_asking(&asking, 7);
    answer(0, one_location("a:1"));
    finish_asking(&asking);
    assert_int_equal(asking.request.code, 0);
    assert_string_equal(asking.request.locations->items[0].url, "a:1");
    volume_locations_unref(asking.request.locations);

    start_asking(&asking, 7);
    finish_asking(&asking);
    assert_int_equal(question_count, 1);
    assert_string_equal(asking.request.locations->items[0].url, "a:1");
    volume_locations_unref(asking.request.locations);

    volume_lookup_forget(lookup, 7);
    start_asking(&asking, 7);
    answer(1, one_location("b:1"));
    finish_asking(&asking);
    assert_string_equal(asking.request.locations->items[0].url, "b:1");
    volume_locations_unref(asking.request.locations);
}

static void askers_of_one_volume_share_a_question(void **state)
{
    struct asking some[3];
    for (int i = 0; i < 3; i++)
        start_asking(&some[i], i == 2 ? 8 : 7);
    uv_sem_wait(&has_asked);
    answer(1, one_location("b:1")); /* the third has asked, so all have */
    volume_lookup_answer(questions[0], one_location("a:1"), NULL);
    for (int i = 0; i < 3; i++) {
        finish_asking(&some[i]);
        assert_string_equal(some[i].request.locations->items[0].url, i == 2 ? "b:1" : "a:1");
        volume_locations_unref(some[i].request.locations);
    }
    assert_int_equal(question_count, 2);
}

static void unknown_volumes_and_failures_are_not_kept(void **state)
{
    struct asking asking;
    struct error err;
    start_asking(&asking, 7);
    answer(0, volume_locations_create(0));
    finish_asking(&asking);
    assert_int_equal(asking.request.locations->count, 0);
    volume_locations_unref(asking.request.locations);

    start_asking(&asking, 7);
    uv_sem_wait(&has_asked);
    error_set(&err, KELP_E_UNAVAILABLE, "no master");
    volume_lookup_answer(questions[1], NULL, &err);
    finish_asking(&asking);
    assert_int_equal(asking.request.code, KELP_E_UNAVAILABLE);
    assert_string_equal(asking.request.err.message, "no master");
    assert_null(asking.request.locations);

    start_asking(&asking, 7);
    answer(2, one_location("a:1"));
    finish_asking(&asking);
    volume_locations_unref(asking.request.locations);
}

static void what_is_forgotten_while_asked_is_not_kept(void **state)
{
    struct asking asking;
    start_asking(&asking, 7);
    uv_sem_wait(&has_asked);
    volume_lookup_forget(lookup, 7);
    volume_lookup_answer(questions[0], one_location("old:1"), NULL);
    finish_asking(&asking);
    volume_locations_unref(asking.request.locations);
    start_asking(&asking, 7);
    answer(1, one_location("new:1"));
    finish_asking(&asking);
    assert_string_equal(asking.request.locations->items[0].url, "new:1");
    volume_locations_unref(asking.request.locations);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        CASE(an_answer_is_kept_until_it_is_forgotten),
        CASE(askers_of_one_volume_share_a_question),
        CASE(unknown_volumes_and_failures_are_not_kept),
        CASE(what_is_forgotten_while_asked_is_not_kept),
    };
    return cmocka_run_group_tests_name("volume_lookup", tests, NULL, NULL);
}
