#include "volume/image_service.h"

#include "tests/unit/volume/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct fixture {
    struct image_service *service;
    struct loop *loop;
    struct metrics *metrics;
};

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->metrics = metrics_create();
    assert_int_equal(image_service_create(&f->service, f->metrics, NULL), 0);
    assert_int_equal(loop_create(&f->loop, "test", NULL), 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    image_service_destroy(f->service);
    loop_destroy(f->loop);
    metrics_destroy(f->metrics);
    free(f);
    return 0;
}

/* A job, and the wait for it. */
struct order {
    struct image_job job;
    uv_sem_t is_done;
};

static void on_done(struct image_job *job)
{
    struct order *order = (struct order *)((char *)job - offsetof(struct order, job));
    uv_sem_post(&order->is_done);
}

static void begin(struct fixture *f, struct order *order, struct slice source, int32_t width)
{
    *order = (struct order){.job = {.key = {.needle = 1,
                                            .source_size = source.len,
                                            .request = {.width = width, .output = IMAGE_PNG}},
                                    .source = source,
                                    .loop = f->loop,
                                    .done = on_done}};
    uv_sem_init(&order->is_done, 0);
}

static void finish(struct order *order)
{
    uv_sem_wait(&order->is_done);
    uv_sem_destroy(&order->is_done);
}

static bool prints(struct fixture *f, const char *line)
{
    struct buffer page = BUFFER_INIT;
    metrics_print(f->metrics, &page);
    bool is_there = strstr(buffer_cstr(&page), line) != NULL;
    buffer_fini(&page);
    return is_there;
}

static void a_picture_is_made_once_and_found_again(void **state)
{
    struct fixture *f = *state;
    struct slice png = picture_make(IMAGE_PNG, 80, 40, 1);
    struct order orders[8];
    for (size_t i = 0; i < 8; i++) {
        begin(f, &orders[i], png, 20);
        assert_int_equal(image_service_submit(f->service, &orders[i].job), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        finish(&orders[i]);
        const struct image_entry *entry = orders[i].job.entry;
        assert_int_equal(picture_look(slice_of(entry->bytes, entry->size)).width, 20);
        image_entry_release(entry);
    }
    const struct image_entry *found = image_service_find(f->service, &orders[0].job.key);
    assert_non_null(found);
    image_entry_release(found);
    assert_true(prints(f, "kelp_image_cache_entries 1\n"));
    assert_true(prints(f, "kelp_image_cache_hits_total 1\n"));
    assert_true(prints(f, "kelp_image_source_bytes 0\n"));
    image_service_forget(f->service, 0, 1);
    assert_null(image_service_find(f->service, &orders[0].job.key));
    assert_true(prints(f, "kelp_image_cache_bytes 0\n"));
    assert_true(prints(f, "kelp_image_cache_misses_total 1\n"));
    free((void *)(uintptr_t)png.ptr);
}

static void what_is_no_picture_is_not_looked_at_twice(void **state)
{
    struct fixture *f = *state;
    struct order order;
    begin(f, &order, SLICE("no picture"), 20);
    assert_int_equal(image_service_submit(f->service, &order.job), 0);
    finish(&order);
    assert_int_equal(order.job.entry->size, 0);
    image_entry_release(order.job.entry);
    const struct image_entry *found = image_service_find(f->service, &order.job.key);
    assert_non_null(found);
    image_entry_release(found);
}

static void too_many_bytes_at_once_are_refused(void **state)
{
    struct fixture *f = *state;
    struct order order;
    /* One alone may be as large as it is. */
    assert_true(image_service_enter(f->service, IMAGE_SERVICE_SOURCES * 2));
    assert_false(image_service_enter(f->service, 1));
    begin(f, &order, SLICE("no picture"), 20);
    assert_int_equal(image_service_submit(f->service, &order.job), KELP_E_LIMIT);
    assert_true(prints(f, "kelp_image_refused_total 2\n"));
    image_service_leave(f->service, IMAGE_SERVICE_SOURCES * 2);
    assert_true(image_service_enter(f->service, IMAGE_SERVICE_SOURCES - 10));
    assert_int_equal(image_service_submit(f->service, &order.job), 0);
    finish(&order);
    image_entry_release(order.job.entry);
    image_service_leave(f->service, IMAGE_SERVICE_SOURCES - 10);
    assert_true(prints(f, "kelp_image_source_bytes 0\n"));
}

static void a_jpeg_on_its_side_is_turned(void **state)
{
    struct fixture *f = *state;
    char *bytes;
    size_t size;
    assert_false(image_service_turn_upright(f->service, SLICE("no picture"), &bytes, &size));
    struct slice jpeg = picture_make(IMAGE_JPEG, 80, 40, 8);
    assert_true(image_service_turn_upright(f->service, jpeg, &bytes, &size));
    struct image_header header = picture_look(slice_of(bytes, size));
    assert_int_equal(header.width, 40);
    assert_int_equal(header.orientation, 1);
    assert_true(prints(f, "kelp_image_made_total 1\n"));
    free(bytes);
    free((void *)(uintptr_t)jpeg.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_picture_is_made_once_and_found_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_picture_is_not_looked_at_twice, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(too_many_bytes_at_once_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_jpeg_on_its_side_is_turned, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
