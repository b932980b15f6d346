#include "volume/image_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define BYTES(literal) slice_of(literal, sizeof(literal) - 1)

#define SOF(height, width)  "\xff\xc0\x00\x0b\x08" height width "\x01\x01\x11\x00"
#define SOS                 "\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
#define SCAN                "\x12\x34\xff\x00\x56"
#define EXIF(order, tiff)   "\xff\xe1\x00\x22" "Exif\0\0" order tiff
#define BIG(value)          EXIF("MM\0\x2a", "\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0" value "\0\0\0\0\0\0")
#define LITTLE(value)       EXIF("II\x2a\0", "\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" value "\0\0\0\0\0\0\0")
#define JPEG(before)        "\xff\xd8" before SOF("\x00\x14", "\x01\x28") SOS SCAN "\xff\xd9"

#define PNG(width, height)                                                                         \
    "\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR" width height "\x08\x02\0\0\0"                                \
    "\0\0\0\0"
#define GIF(screen, frame) "GIF89a" screen "\x80\0\0" "abcdef" "!\xf9\x04\0\0\0\0\0" "," frame "\0"

static void expect(struct slice bytes, enum image_format format, uint32_t width, uint32_t height,
                   unsigned orientation)
{
    struct image_header header;
    assert_true(image_header_parse(bytes, &header));
    assert_int_equal(header.format, format);
    assert_int_equal(header.width, width);
    assert_int_equal(header.height, height);
    assert_int_equal(header.orientation, orientation);
}

static void expect_nothing(struct slice bytes)
{
    struct image_header header = {.width = 12345};
    assert_false(image_header_parse(bytes, &header));
    assert_int_equal(header.width, 12345);
}

/* Cut anywhere it is either refused or still the same picture. */
static void cut_everywhere(struct slice bytes, size_t needed)
{
    for (size_t n = 0; n < bytes.len; n++) {
        struct image_header whole, cut;
        char *copy = memcpy(test_malloc(n + 1), bytes.ptr, n); /* nothing lies behind it */
        assert_true(image_header_parse(bytes, &whole));
        if (image_header_parse(slice_of(copy, n), &cut)) {
            assert_true(n >= needed);
            assert_int_equal(cut.width, whole.width);
            assert_int_equal(cut.height, whole.height);
        }
        test_free(copy);
    }
}

static void jpegs_tell_size_and_orientation(void **state)
{
    expect(BYTES(JPEG("")), IMAGE_JPEG, 0x128, 0x14, 1);
    expect(BYTES(JPEG(BIG("\x06"))), IMAGE_JPEG, 0x128, 0x14, 6);
    expect(BYTES(JPEG(LITTLE("\x08"))), IMAGE_JPEG, 0x128, 0x14, 8);
    expect(BYTES(JPEG(BIG("\x09"))), IMAGE_JPEG, 0x128, 0x14, 1);
    expect(BYTES(JPEG(BIG("\x00"))), IMAGE_JPEG, 0x128, 0x14, 1);
    expect(BYTES(JPEG(BIG("\x03") BIG("\x06"))), IMAGE_JPEG, 0x128, 0x14, 3);
    /* What a decoder passes over is passed over. */
    expect(BYTES(JPEG("\xff\xfe\x00\x02junk\xff\xff\xff\x01\xff\xd0\xff\xfe\x00\x04zz")), IMAGE_JPEG, 0x128, 0x14, 1);
    struct slice jpeg = BYTES(JPEG(LITTLE("\x05")));
    cut_everywhere(jpeg, jpeg.len);
}

static void broken_orientations_count_as_none(void **state)
{
    expect(BYTES(JPEG(EXIF("XX\0\x2a", "\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"))),
           IMAGE_JPEG, 0x128, 0x14, 1);
    /* A directory that lies outside, one that is longer than its segment, and one of longs. */
    expect(BYTES(JPEG(EXIF("MM\0\x2a", "\xff\xff\xff\xff\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"))),
           IMAGE_JPEG, 0x128, 0x14, 1);
    expect(BYTES(JPEG(EXIF("MM\0\x2a", "\0\0\0\x08\xff\xff\x01\x13\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"))),
           IMAGE_JPEG, 0x128, 0x14, 1);
    expect(BYTES(JPEG(EXIF("MM\0\x2a", "\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\x06\0\0\0\0\0\0"))),
           IMAGE_JPEG, 0x128, 0x14, 1);
    expect(BYTES(JPEG("\xff\xe1\x00\x09" "Exif\0\0M")), IMAGE_JPEG, 0x128, 0x14, 1);
}

static void broken_jpegs_are_refused(void **state)
{
    expect_nothing(BYTES("\xff\xd8\xff\xd9"));
    expect_nothing(BYTES("\xff\xd8" SOF("\0\x14", "\0\x28") "\xff\xd9")); /* no scan */
    expect_nothing(BYTES("\xff\xd8" SOS SCAN "\xff\xd9"));                /* no frame */
    expect_nothing(BYTES("\xff\xd8" SOF("\0\0", "\0\x28") SOS SCAN "\xff\xd9"));
    expect_nothing(BYTES("\xff\xd8" SOF("\0\x14", "\0\0") SOS SCAN "\xff\xd9"));
    /* Two frames: a decoder might take the other one. */
    expect_nothing(BYTES(JPEG(SOF("\0\x01", "\0\x01"))));
    expect_nothing(BYTES(JPEG("\xff\xd8")));
    expect_nothing(BYTES(JPEG("\xff\xfe\x00\x01")));
    expect_nothing(BYTES("\xff\xd8\xff\xc0\x00\x04\x08\x00" SOS SCAN "\xff\xd9"));
}

static void jpegs_of_too_many_scans_are_refused(void **state)
{
    static const char head[] = "\xff\xd8" SOF("\0\x14", "\0\x28"), scan[] = SOS SCAN;
    char bytes[sizeof(head) + 65 * sizeof(scan) + 2];
    for (unsigned scans = 64; scans <= 65; scans++) {
        size_t size = sizeof(head) - 1;
        memcpy(bytes, head, size);
        for (unsigned i = 0; i < scans; i++, size += sizeof(scan) - 1)
            memcpy(bytes + size, scan, sizeof(scan) - 1);
        memcpy(bytes + size, "\xff\xd9", 2);
        struct image_header header;
        assert_int_equal(image_header_parse(slice_of(bytes, size + 2), &header), scans == 64);
    }
}

static void pngs_tell_their_size(void **state)
{
    struct slice png = BYTES(PNG("\0\0\x01\x28", "\0\0\0\x14"));
    expect(png, IMAGE_PNG, 0x128, 0x14, 1);
    cut_everywhere(png, 29);
    expect_nothing(BYTES(PNG("\0\0\0\0", "\0\0\0\x14")));
    expect_nothing(BYTES(PNG("\0\0\0\x14", "\0\0\0\0")));
    expect_nothing(BYTES(PNG("\x80\0\0\0", "\0\0\0\x14")));
    expect_nothing(BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0dIDAT\0\0\0\1\0\0\0\1\x08\x02\0\0\0\0\0\0\0"));
    expect_nothing(BYTES("\x89PNG\r\n\x1a\n\0\0\0\x0eIHDR\0\0\0\1\0\0\0\1\x08\x02\0\0\0\0\0\0\0"));
}

static void gifs_tell_the_size_of_the_first_frame(void **state)
{
    struct slice gif = BYTES(GIF("\x28\x01\x14\0", "\x08\0\x04\0\x20\x01\x10\0"));
    expect(gif, IMAGE_GIF, 0x120, 0x10, 1);
    cut_everywhere(gif, gif.len);
    /* Frames beyond the screen. */
    expect_nothing(BYTES(GIF("\x28\x01\x14\0", "\x09\0\x04\0\x20\x01\x10\0")));
    expect_nothing(BYTES(GIF("\x28\x01\x14\0", "\x08\0\x05\0\x20\x01\x10\0")));
    expect_nothing(BYTES(GIF("\x28\x01\x14\0", "\0\0\0\0\0\0\x10\0")));
    expect_nothing(BYTES("GIF87a\x01\0\x01\0\0\0\0;"));
    expect_nothing(BYTES("GIF88a\x01\0\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0"));
}

static void webps_tell_their_size(void **state)
{
    static const char lossy[] = "RIFF\x1a\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x28\x41\x14\x80";
    static const char lossless[] = "RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2f\x27\xc1\x04\0";
    static const char extended[] = "RIFF\x38\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x27\x01\0\x13\0\0"
                                   "ALPH\x01\0\0\0\0\0VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x28\x01\x14\0";
    expect(BYTES(lossy), IMAGE_WEBP, 0x128, 0x14, 1);
    expect(BYTES(lossless), IMAGE_WEBP, 0x128, 0x14, 1);
    expect(BYTES(extended), IMAGE_WEBP, 0x128, 0x14, 1);
    cut_everywhere(BYTES(lossy), sizeof(lossy) - 1);
    cut_everywhere(BYTES(lossless), sizeof(lossless) - 1);
    cut_everywhere(BYTES(extended), sizeof(extended) - 1);
    struct image_header header;
    assert_true(image_header_parse(BYTES(lossless), &header) && header.is_lossless);
    assert_true(image_header_parse(BYTES(lossy), &header) && !header.is_lossless);
}

static void webps_that_move_or_contradict_themselves_are_refused(void **state)
{
    char bytes[] = "RIFF\x38\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x27\x01\0\x13\0\0"
                   "VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x28\x01\x14\0";
    struct image_header header;
    assert_true(image_header_parse(BYTES(bytes), &header));
    bytes[20] = 2; /* animated */
    expect_nothing(BYTES(bytes));
    bytes[20] = 0;
    bytes[24] = 0x28; /* another width than the frame's */
    expect_nothing(BYTES(bytes));
    bytes[24] = 0x27;
    bytes[38] = 1; /* no key frame */
    expect_nothing(BYTES(bytes));
    expect_nothing(BYTES("RIFF\x1a\0\0\0WEBPVP8 \xff\xff\xff\xff\0\0\0\x9d\x01\x2a\x28\x41\x14\x80"));
    expect_nothing(BYTES("RIFF\x1a\0\0\0WAVEVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\x28\x41\x14\x80"));
}

static void anything_else_is_refused(void **state)
{
    expect_nothing((struct slice){0});
    expect_nothing(BYTES("BM plain text"));
    expect_nothing(BYTES("\xff\xd8\xff"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jpegs_tell_size_and_orientation),
        cmocka_unit_test(broken_orientations_count_as_none),
        cmocka_unit_test(broken_jpegs_are_refused),
        cmocka_unit_test(jpegs_of_too_many_scans_are_refused),
        cmocka_unit_test(pngs_tell_their_size),
        cmocka_unit_test(gifs_tell_the_size_of_the_first_frame),
        cmocka_unit_test(webps_tell_their_size),
        cmocka_unit_test(webps_that_move_or_contradict_themselves_are_refused),
        cmocka_unit_test(anything_else_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
