#include "tests/unit/volume/picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

struct slice picture_make(enum image_format format, uint32_t width, uint32_t height,
                          unsigned orientation)
{
    if (!image_codec_is_there())
        skip();
    struct image_pixels pixels = {width, height,
                                  malloc((size_t)width * height * IMAGE_PIXEL_BYTES)};
    uint8_t *p = pixels.bytes;
    for (uint32_t y = 0; y < height; y++)
        for (uint32_t x = 0; x < width; x++, p += IMAGE_PIXEL_BYTES) {
            const uint8_t pixel[IMAGE_PIXEL_BYTES] = {(uint8_t)(x * 255 / width),
                                                      (uint8_t)(y * 255 / height), 40, 255};
            memcpy(p, pixel, sizeof(pixel));
        }
    char *bytes;
    size_t size;
    assert_int_equal(image_encode(&pixels, format, true, orientation, &bytes, &size), 0);
    image_pixels_fini(&pixels);
    return slice_of(bytes, size);
}

struct image_header picture_look(struct slice bytes)
{
    struct image_header header;
    assert_true(image_header_parse(bytes, &header));
    return header;
}
