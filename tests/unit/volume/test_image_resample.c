#include "volume/image_resample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void read_pixels(const void *ctx, uint32_t x, uint32_t y, uint32_t count, uint8_t *ret)
{
    const struct image_pixels *pixels = ctx;
    assert_true(x + count <= pixels->width && y < pixels->height);
    memcpy(ret, pixels->bytes + ((size_t)y * pixels->width + x) * IMAGE_PIXEL_BYTES,
           (size_t)count * IMAGE_PIXEL_BYTES);
}

static struct image_pixels make(uint32_t width, uint32_t height)
{
    struct image_pixels pixels = {width, height, calloc((size_t)width * height, IMAGE_PIXEL_BYTES)};
    for (uint32_t i = 0; i < width * height; i++) {
        uint8_t *p = pixels.bytes + i * IMAGE_PIXEL_BYTES;
        p[0] = (uint8_t)(i % width * 255 / width);
        p[1] = (uint8_t)(i / width * 255 / height);
        p[2] = 77;
        p[3] = 255;
    }
    return pixels;
}

static const uint8_t *at(const struct image_pixels *pixels, uint32_t x, uint32_t y)
{
    return pixels->bytes + ((size_t)y * pixels->width + x) * IMAGE_PIXEL_BYTES;
}

static struct image_pixels resample(const struct image_pixels *from, struct image_plan plan)
{
    struct image_pixels to;
    assert_int_equal(image_resample(&(struct image_source){read_pixels, from}, &plan, &to), 0);
    assert_int_equal(to.width, plan.target.width);
    assert_int_equal(to.height, plan.target.height);
    return to;
}

static void a_mere_crop_keeps_every_pixel(void **state)
{
    struct image_pixels from = make(20, 10);
    struct image_pixels to = resample(
        &from, (struct image_plan){{3, 2, 11, 7}, 11, 7, {0, 0, 11, 7}});
    for (uint32_t y = 0; y < 7; y++)
        for (uint32_t x = 0; x < 11; x++)
            assert_memory_equal(at(&to, x, y), at(&from, x + 3, y + 2), IMAGE_PIXEL_BYTES);
    image_pixels_fini(&from);
    image_pixels_fini(&to);
}

static void one_colour_stays_that_colour_at_every_size(void **state)
{
    static const uint8_t colour[IMAGE_PIXEL_BYTES] = {200, 100, 50, 120};
    struct image_pixels from = make(37, 23);
    for (uint32_t i = 0; i < 37 * 23; i++)
        memcpy(from.bytes + i * IMAGE_PIXEL_BYTES, colour, IMAGE_PIXEL_BYTES);
    for (uint32_t size = 1; size < 80; size = size * 2 + 1) {
        struct image_pixels to = resample(
            &from, (struct image_plan){{0, 0, 37, 23}, size, size + 3, {0, 0, size, size + 3}});
        for (uint32_t y = 0; y < to.height; y++)
            for (uint32_t x = 0; x < to.width; x++)
                assert_memory_equal(at(&to, x, y), colour, IMAGE_PIXEL_BYTES);
        image_pixels_fini(&to);
    }
    image_pixels_fini(&from);
}

static void a_gradient_stays_one(void **state)
{
    struct image_pixels from = make(400, 200);
    struct image_pixels to = resample(
        &from, (struct image_plan){{0, 0, 400, 200}, 40, 20, {0, 0, 40, 20}});
    for (uint32_t y = 2; y < 18; y++)
        for (uint32_t x = 2; x < 38; x++) {
            assert_in_range(at(&to, x, y)[0], x * 255 / 40 + 1, x * 255 / 40 + 5);
            assert_in_range(at(&to, x, y)[1], y * 255 / 20 + 3, y * 255 / 20 + 9);
            assert_int_equal(at(&to, x, y)[2], 77);
            assert_int_equal(at(&to, x, y)[3], 255);
        }
    image_pixels_fini(&from);
    image_pixels_fini(&to);
}

/* Red beside black that nobody sees: the rim is as red as the rest. */
static void what_cannot_be_seen_lends_no_colour(void **state)
{
    struct image_pixels from = make(40, 40);
    for (uint32_t i = 0; i < 40 * 40; i++) {
        static const uint8_t red[] = {255, 0, 0, 255}, nothing[] = {0, 0, 0, 0};
        memcpy(from.bytes + i * IMAGE_PIXEL_BYTES, i % 40 < 21 ? red : nothing, IMAGE_PIXEL_BYTES);
    }
    struct image_pixels to = resample(
        &from, (struct image_plan){{0, 0, 40, 40}, 10, 10, {0, 0, 10, 10}});
    bool has_rim = false;
    for (uint32_t x = 0; x < 10; x++) {
        const uint8_t *p = at(&to, x, 5);
        has_rim = has_rim || (p[3] > 0 && p[3] < 255);
        if (p[3] > 0)
            assert_int_equal(p[0], 255);
        assert_int_equal(p[1], 0);
    }
    assert_true(has_rim);
    image_pixels_fini(&from);
    image_pixels_fini(&to);
}

static void the_target_is_cut_out_of_the_scaled_picture(void **state)
{
    struct image_pixels from = make(60, 40);
    struct image_pixels whole = resample(
        &from, (struct image_plan){{0, 0, 60, 40}, 30, 20, {0, 0, 30, 20}});
    struct image_pixels part = resample(
        &from, (struct image_plan){{0, 0, 60, 40}, 30, 20, {10, 5, 12, 9}});
    for (uint32_t y = 0; y < 9; y++)
        for (uint32_t x = 0; x < 12; x++)
            assert_memory_equal(at(&part, x, y), at(&whole, x + 10, y + 5), IMAGE_PIXEL_BYTES);
    image_pixels_fini(&from);
    image_pixels_fini(&whole);
    image_pixels_fini(&part);
}

static void each_orientation_is_undone(void **state)
{
    /* Where the upper left pixel of what is stored belongs, and the one to its right. */
    static const struct {
        unsigned orientation;
        uint32_t x, y, x_of_next, y_of_next;
    } places[] = {
        {1, 0, 0, 1, 0}, {2, 2, 0, 1, 0}, {3, 2, 1, 1, 1}, {4, 0, 1, 1, 1},
        {5, 0, 0, 0, 1}, {6, 1, 0, 1, 1}, {7, 1, 2, 1, 1}, {8, 0, 2, 0, 1},
    };
    struct image_pixels from = make(3, 2);
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct image_pixels to;
        assert_int_equal(image_upright(&(struct image_source){read_pixels, &from}, 3, 2,
                                       places[i].orientation, &to), 0);
        assert_int_equal(to.width, places[i].orientation < 5 ? 3 : 2);
        assert_int_equal(to.height, places[i].orientation < 5 ? 2 : 3);
        assert_memory_equal(at(&to, places[i].x, places[i].y), at(&from, 0, 0), 4);
        assert_memory_equal(at(&to, places[i].x_of_next, places[i].y_of_next), at(&from, 1, 0), 4);
        image_pixels_fini(&to);
    }
    image_pixels_fini(&from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mere_crop_keeps_every_pixel),
        cmocka_unit_test(one_colour_stays_that_colour_at_every_size),
        cmocka_unit_test(a_gradient_stays_one),
        cmocka_unit_test(what_cannot_be_seen_lends_no_colour),
        cmocka_unit_test(the_target_is_cut_out_of_the_scaled_picture),
        cmocka_unit_test(each_orientation_is_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
