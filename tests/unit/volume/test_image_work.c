#include "volume/image_work.h"

#include "tests/unit/volume/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static const enum image_format formats[] = {IMAGE_JPEG, IMAGE_PNG, IMAGE_GIF, IMAGE_WEBP};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

static void free_slice(struct slice bytes) { free((void *)(uintptr_t)bytes.ptr); }

static struct slice run(const struct image_work *work)
{
    char *bytes;
    size_t size;
    assert_int_equal(image_work_run(work, &bytes, &size), 0);
    return slice_of(bytes, size);
}

/* The pixel of a decoded picture. */
static void read_pixel(struct slice bytes, uint32_t x, uint32_t y, uint8_t ret[IMAGE_PIXEL_BYTES])
{
    struct image_header header = picture_look(bytes);
    struct image *image;
    assert_int_equal(image_decode(bytes, &header, &image), 0);
    struct image_source source = image_read_from(image);
    source.read(source.ctx, x, y, 1, ret);
    image_destroy(image);
}

static void assert_near(int got, int wanted, int tolerance)
{
    if (abs(got - wanted) > tolerance)
        fail_msg("%d is not near %d", got, wanted);
}

static void every_format_becomes_every_format(void **state)
{
    for (size_t i = 0; i < FORMATS; i++) {
        struct slice from = picture_make(formats[i], 80, 40, 1);
        assert_int_equal(picture_look(from).format, formats[i]);
        for (size_t j = 0; j < FORMATS; j++) {
            struct image_request request = {.width = 20, .output = formats[j]};
            struct image_work work;
            assert_true(image_work_plan(&work, from, &request, IMAGE_PIXELS_MAX));
            struct slice to = run(&work);
            struct image_header header = picture_look(to);
            assert_int_equal(header.format, formats[j]);
            assert_int_equal(header.width, 20);
            assert_int_equal(header.height, 10);
            uint8_t pixel[IMAGE_PIXEL_BYTES];
            read_pixel(to, 15, 5, pixel);
            assert_near(pixel[0], 255 * 31 / 40, 24);
            assert_near(pixel[1], 255 * 11 / 20, 24);
            assert_int_equal(pixel[3], 255);
            free_slice(to);
        }
        free_slice(from);
    }
}

static void what_is_too_large_is_not_begun(void **state)
{
    struct slice from = picture_make(IMAGE_PNG, 80, 40, 1);
    struct image_work work;
    struct image_request request = {.width = 10, .output = IMAGE_PNG};
    assert_false(image_work_plan(&work, from, &request, 80 * 40 - 1));
    assert_true(image_work_plan(&work, from, &request, 80 * 40));
    assert_true(work.cost <= 80 * 40);
    /* Nor a result that is. */
    request.height = 1000000;
    assert_false(image_work_plan(&work, from, &request, IMAGE_PIXELS_MAX));
    request.width = 60;
    request.height = 60000;
    assert_true(image_work_plan(&work, from, &request, IMAGE_PIXELS_MAX));
    assert_false(image_work_plan(&work, from, &request, 1000000));
    free_slice(from);
}

/* It takes several times the memory that others do, and without loss seconds for a million
 * pixels. */
static void a_large_webp_is_not_begun_where_others_are(void **state)
{
    struct slice lossless = picture_make(IMAGE_PNG, 80, 40, 1);
    struct slice lossy = picture_make(IMAGE_JPEG, 80, 40, 1);
    struct image_work work;
    struct image_request request = {.width = 79, .height = 39, .output = IMAGE_PNG};
    uint64_t pixels = 79 * 39, needed = 79 * (40 + 39) + 80;
    assert_true(image_work_plan(&work, lossless, &request, needed));
    request.output = IMAGE_WEBP;
    assert_false(image_work_plan(&work, lossless, &request, needed + 3 * pixels - 1));
    assert_true(image_work_plan(&work, lossless, &request, needed + 3 * pixels));
    assert_false(image_work_plan(&work, lossy, &request, needed + pixels - 1));
    assert_true(image_work_plan(&work, lossy, &request, needed + pixels));
    free_slice(lossless);
    free_slice(lossy);
}

/* Some 50 bytes that ask for gigabytes. */
static void a_bomb_is_not_begun(void **state)
{
    static const char bomb[] = "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xff\xff\0\0\xff\xff\x08\x06\0\0\0"
                               "\0\0\0\0\0\0\0\0IEND\xae\x42\x60\x82";
    struct image_work work;
    struct image_request request = {.width = 10, .output = IMAGE_PNG};
    assert_false(image_work_plan(&work, slice_of(bomb, sizeof(bomb) - 1), &request,
                                 IMAGE_PIXELS_MAX));
}

static void torn_pictures_fail(void **state)
{
    struct image_request request = {.width = 10, .output = IMAGE_PNG};
    for (size_t i = 0; i < FORMATS; i++) {
        struct slice from = picture_make(formats[i], 200, 100, 1);
        struct image_work work;
        char *bytes;
        size_t size;
        struct slice torn = slice_until(from, from.len / 2);
        if (image_work_plan(&work, torn, &request, IMAGE_PIXELS_MAX) &&
            formats[i] != IMAGE_GIF) /* decoders of GIF make do with what is there */
            assert_int_not_equal(image_work_run(&work, &bytes, &size), 0);
        free_slice(from);
    }
}

static void a_picture_on_its_side_says_so_afterwards(void **state)
{
    struct slice from = picture_make(IMAGE_JPEG, 80, 40, 6);
    assert_int_equal(picture_look(from).orientation, 6);
    struct image_work work;
    struct image_request request = {.width = 20, .output = IMAGE_JPEG};
    assert_true(image_work_plan(&work, from, &request, IMAGE_PIXELS_MAX));
    struct slice to = run(&work);
    struct image_header header = picture_look(to);
    assert_int_equal(header.orientation, 6);
    assert_int_equal(header.width, 20);
    free_slice(from);
    free_slice(to);
}

static void a_picture_on_its_side_is_turned_upright(void **state)
{
    struct slice from = picture_make(IMAGE_JPEG, 80, 40, 6);
    struct image_work work;
    assert_true(image_work_plan_upright(&work, from, IMAGE_PIXELS_MAX));
    struct slice to = run(&work);
    struct image_header header = picture_look(to);
    assert_int_equal(header.orientation, 1);
    assert_int_equal(header.width, 40);
    assert_int_equal(header.height, 80);
    /* What was on the left, dark red, is at the top; what was at the bottom, green, on the left. */
    uint8_t pixel[IMAGE_PIXEL_BYTES];
    read_pixel(to, 3, 3, pixel);
    assert_near(pixel[0], 0, 40);
    assert_near(pixel[1], 240, 40);
    read_pixel(to, 36, 76, pixel);
    assert_near(pixel[0], 240, 40);
    assert_near(pixel[1], 0, 40);
    free_slice(from);
    free_slice(to);
}

static void only_a_jpeg_on_its_side_is_turned(void **state)
{
    struct image_work work;
    struct slice upright = picture_make(IMAGE_JPEG, 20, 10, 1);
    struct slice png = picture_make(IMAGE_PNG, 20, 10, 1);
    struct slice large = picture_make(IMAGE_JPEG, 20, 10, 3);
    assert_false(image_work_plan_upright(&work, upright, IMAGE_PIXELS_MAX));
    assert_false(image_work_plan_upright(&work, png, IMAGE_PIXELS_MAX));
    assert_false(image_work_plan_upright(&work, large, 199));
    assert_false(image_work_plan_upright(&work, SLICE("hello"), IMAGE_PIXELS_MAX));
    free_slice(upright);
    free_slice(png);
    free_slice(large);
}

/* Half transparent white is grey in a format that knows no transparency. */
static void transparency_is_kept_or_laid_on_black(void **state)
{
    if (!image_codec_is_there())
        skip();
    struct image_pixels pixels = {8, 8, malloc(8 * 8 * IMAGE_PIXEL_BYTES)};
    for (size_t i = 0; i < 8 * 8; i++)
        memcpy(pixels.bytes + i * IMAGE_PIXEL_BYTES, "\xff\xff\xff\x80", IMAGE_PIXEL_BYTES);
    static const enum image_format keeping[] = {IMAGE_PNG, IMAGE_WEBP};
    for (size_t i = 0; i < 2; i++) {
        char *bytes;
        size_t size;
        uint8_t pixel[IMAGE_PIXEL_BYTES];
        assert_int_equal(image_encode(&pixels, keeping[i], true, 1, &bytes, &size), 0);
        read_pixel(slice_of(bytes, size), 4, 4, pixel);
        assert_near(pixel[3], 128, 2);
        assert_near(pixel[0], 255, 1);
        struct image_work work;
        struct image_request request = {.width = 4, .output = IMAGE_JPEG};
        assert_true(image_work_plan(&work, slice_of(bytes, size), &request, IMAGE_PIXELS_MAX));
        struct slice jpeg = run(&work);
        read_pixel(jpeg, 2, 2, pixel);
        assert_near(pixel[0], 128, 4);
        free_slice(jpeg);
        free(bytes);
    }
    image_pixels_fini(&pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_becomes_every_format),
        cmocka_unit_test(what_is_too_large_is_not_begun),
        cmocka_unit_test(a_large_webp_is_not_begun_where_others_are),
        cmocka_unit_test(a_bomb_is_not_begun),
        cmocka_unit_test(torn_pictures_fail),
        cmocka_unit_test(a_picture_on_its_side_says_so_afterwards),
        cmocka_unit_test(a_picture_on_its_side_is_turned_upright),
        cmocka_unit_test(only_a_jpeg_on_its_side_is_turned),
        cmocka_unit_test(transparency_is_kept_or_laid_on_black),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
