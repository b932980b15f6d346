#include "volume/image_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define PLAIN IMAGE_MODE_PLAIN
#define FIT   IMAGE_MODE_FIT
#define FILL  IMAGE_MODE_FILL

/* What the peer makes of a picture of this size. */
static const struct {
    uint32_t width, height;
    struct image_request request;
    bool is_changed;
    uint32_t result_width, result_height;
} cases[] = {
    {40, 20, {.width = 10}, true, 10, 5},
    {40, 20, {.height = 10}, true, 20, 10},
    {40, 20, {.width = 7}, true, 7, 4},
    {40, 20, {.height = 7}, true, 14, 7},
    {40, 20, {.width = 1}, true, 1, 1},
    {300, 200, {.width = 10}, true, 10, 7},
    {1, 1000, {.height = 10}, true, 1, 10},
    {40, 20, {.width = 10, .height = 10}, true, 10, 10},
    {40, 20, {.width = 40, .height = 10}, true, 40, 10},
    {40, 20, {.width = 30, .height = 80}, true, 30, 80},
    {20, 20, {.width = 10, .height = 10}, true, 10, 10},
    {40, 20, {.width = 40}, false, 0, 0},
    {40, 20, {.width = 100, .height = 100}, false, 0, 0},
    {40, 20, {.width = 100, .height = 100, .mode = FILL}, false, 0, 0},
    {40, 20, {.width = 10, .height = 5, .mode = FIT}, true, 10, 5},
    {40, 20, {.width = 10, .height = 10, .mode = FIT}, true, 10, 5},
    {40, 20, {.width = 30, .height = 80, .mode = FIT}, true, 30, 15},
    {40, 20, {.width = 39, .height = 19, .mode = FIT}, true, 38, 19},
    {40, 20, {.width = 13, .height = 11, .mode = FIT}, true, 13, 6},
    {40, 20, {.width = 7, .height = 3, .mode = FIT}, true, 6, 3},
    {40, 20, {.width = 3, .height = 1, .mode = FIT}, true, 2, 1},
    {1000, 1, {.width = 10, .height = 10, .mode = FIT}, true, 10, 1},
    {1, 1000, {.width = 10, .height = 10, .mode = FIT}, true, 1, 10},
    {40, 20, {.width = 10, .height = 10, .mode = FILL}, true, 10, 10},
    {40, 20, {.width = 10, .height = 15, .mode = FILL}, true, 10, 15},
    {40, 20, {.width = 30, .height = 80, .mode = FILL}, true, 30, 80},
    {400, 200, {.width = 10, .height = 15, .mode = FILL}, true, 10, 15},
    {200, 400, {.width = 10, .height = 15, .mode = FILL}, true, 10, 15},
    {40, 20, {.crop_x2 = 10, .crop_y2 = 5}, true, 10, 5},
    {40, 20, {.crop_x1 = 5, .crop_y1 = 5, .crop_x2 = 40, .crop_y2 = 20}, true, 35, 15},
    {40, 20, {.crop_x1 = 5, .crop_y1 = 5, .crop_x2 = 41, .crop_y2 = 20}, false, 0, 0},
    {40, 20, {.crop_x2 = 40, .crop_y2 = 21}, false, 0, 0},
    {40, 20, {.crop_x2 = 20, .crop_y2 = 20, .width = 10}, true, 10, 10},
    {40, 20, {.crop_x2 = 20, .crop_y2 = 20, .width = 30}, true, 20, 20},
    {40, 20, {.crop_x2 = 41, .crop_y2 = 20, .width = 10}, true, 10, 5},
    {40, 20, {.crop_x2 = 5, .crop_y2 = 5, .width = 20, .height = 20}, true, 5, 5},
};

static void check_inside(const struct image_plan *plan, uint32_t width, uint32_t height)
{
    const struct image_rect *source = &plan->source, *target = &plan->target;
    assert_true(source->width > 0 && source->height > 0 && target->width > 0 && target->height > 0);
    assert_true(source->x + source->width <= width && source->y + source->height <= height);
    assert_true(target->x + target->width <= plan->scaled_width);
    assert_true(target->y + target->height <= plan->scaled_height);
}

static void sizes_are_the_peers(void **state)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image_request request = cases[i].request;
        request.output = IMAGE_PNG;
        assert_true(image_request_settle(&request));
        struct image_plan plan;
        bool is_changed = image_plan_make(&request, cases[i].width, cases[i].height, &plan);
        if (is_changed != cases[i].is_changed)
            fail_msg("case %zu: changed: %d", i, is_changed);
        if (!is_changed)
            continue;
        check_inside(&plan, cases[i].width, cases[i].height);
        if (plan.target.width != cases[i].result_width ||
            plan.target.height != cases[i].result_height)
            fail_msg("case %zu: %u x %u", i, plan.target.width, plan.target.height);
    }
}

static void every_size_and_mode_stays_inside(void **state)
{
    for (uint32_t width = 1; width < 230; width = width * 2 + 3)
        for (uint32_t height = 1; height < 230; height = height * 2 + 1)
            for (int32_t to_width = 0; to_width < 240; to_width = to_width * 2 + 1)
                for (int32_t to_height = 0; to_height < 240; to_height = to_height * 3 + 1)
                    for (int mode = PLAIN; mode <= FILL; mode++) {
                        struct image_request request = {.width = to_width, .height = to_height,
                                                        .mode = (enum image_mode)mode,
                                                        .output = IMAGE_JPEG};
                        struct image_plan plan;
                        if (image_request_settle(&request) &&
                            image_plan_make(&request, width, height, &plan))
                            check_inside(&plan, width, height);
                    }
}

static void fill_takes_the_middle(void **state)
{
    struct image_request request = {.width = 100, .height = 100, .mode = FILL, .output = IMAGE_PNG};
    struct image_plan plan;
    assert_true(image_plan_make(&request, 400, 200, &plan));
    assert_int_equal(plan.source.x, 100);
    assert_int_equal(plan.source.width, 200);
    assert_int_equal(plan.source.height, 200);
    /* A small one is scaled before it is cut. */
    request.width = request.height = 10;
    assert_true(image_plan_make(&request, 40, 20, &plan));
    assert_int_equal(plan.source.width, 40);
    assert_int_equal(plan.scaled_width, 20);
    assert_int_equal(plan.target.x, 5);
}

static void what_has_no_effect_is_dropped(void **state)
{
    struct image_request request = {.width = -5, .height = 10, .mode = FIT, .crop_x1 = 7,
                                    .output = IMAGE_GIF};
    assert_true(image_request_settle(&request));
    struct image_request plain = {.height = 10, .output = IMAGE_GIF};
    assert_memory_equal(&request, &plain, sizeof(plain));
    struct image_request nothing[] = {
        {.output = IMAGE_PNG},
        {.output = IMAGE_PNG, .width = -1, .height = -7},
        {.output = IMAGE_PNG, .crop_x1 = -1, .crop_x2 = 5, .crop_y2 = 5},
        {.output = IMAGE_PNG, .crop_x1 = 5, .crop_x2 = 5, .crop_y2 = 5},
        {.output = IMAGE_WEBP, .crop_x2 = 5, .crop_y2 = 5},
        {.output = IMAGE_NO_FORMAT, .width = 5},
    };
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
        assert_false(image_request_settle(&nothing[i]));
}

static void numbers_are_read_as_the_peer_does(void **state)
{
    static const struct {
        const char *text;
        int32_t value;
    } numbers[] = {{"", 0},     {"0", 0},    {"10", 10},   {"+10", 10},        {"-5", -5},
                   {"abc", 0},  {"10.5", 0}, {"1 0", 0},   {"0x10", 0},        {"-", 0},
                   {"+-1", 0},  {"007", 7},  {"1e3", 0},   {"2147483647", INT32_MAX},
                   {"2147483648", INT32_MAX}, {"-99999999999999999999", -INT32_MAX},
                   {"99999999999999999999999999x", 0}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        assert_int_equal(image_request_number(slice_cstr(numbers[i].text)), numbers[i].value);
}

static void names_tell_the_format(void **state)
{
    assert_int_equal(image_format_of(SLICE(".jpg")), IMAGE_JPEG);
    assert_int_equal(image_format_of(SLICE(".JPEG")), IMAGE_JPEG);
    assert_int_equal(image_format_of(SLICE(".Png")), IMAGE_PNG);
    assert_int_equal(image_format_of(SLICE(".gif")), IMAGE_GIF);
    assert_int_equal(image_format_of(SLICE(".webp")), IMAGE_WEBP);
    assert_int_equal(image_format_of(SLICE(".bmp")), IMAGE_NO_FORMAT);
    assert_int_equal(image_format_of(SLICE("jpg")), IMAGE_NO_FORMAT);
    assert_int_equal(image_format_of(SLICE("")), IMAGE_NO_FORMAT);
    assert_int_equal(image_request_mode(SLICE("fit")), FIT);
    assert_int_equal(image_request_mode(SLICE("fill")), FILL);
    assert_int_equal(image_request_mode(SLICE("Fit")), PLAIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_are_the_peers),
        cmocka_unit_test(every_size_and_mode_stays_inside),
        cmocka_unit_test(fill_takes_the_middle),
        cmocka_unit_test(what_has_no_effect_is_dropped),
        cmocka_unit_test(numbers_are_read_as_the_peer_does),
        cmocka_unit_test(names_tell_the_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
