/* libgd decodes into rows of ints (or of palette indexes) with seven bits of alpha; both sides of
 * that are here, and nothing else knows of it. Its headers are built with, its library is not
 * linked. */
#include "volume/image_codec.h"

#include "common/check.h"

#include <dlfcn.h>
#include <gd.h>
#include <limits.h>
#include <pthread.h>

#define GD_LIBRARY   "libgd.so.3"
#define JPEG_QUALITY 75
#define WEBP_QUALITY 80

/* ---- the library ---- */

#define GD_CALLS(X)                                                                                \
    X(gdImageCreateFromJpegPtrEx)                                                                  \
    X(gdImageCreateFromPngPtr)                                                                     \
    X(gdImageCreateFromGifPtr)                                                                     \
    X(gdImageCreateFromWebpPtr)                                                                    \
    X(gdImageCreateTrueColor)                                                                      \
    X(gdImageDestroy)                                                                              \
    X(gdImageSaveAlpha)                                                                            \
    X(gdImageTrueColorToPalette)                                                                   \
    X(gdImageJpegPtr)                                                                              \
    X(gdImagePngPtr)                                                                               \
    X(gdImageGifPtr)                                                                               \
    X(gdImageWebpPtrEx)                                                                            \
    X(gdSetErrorMethod)                                                                            \
    X(gdFree)

static struct {
#define X(name) __typeof__(&name) name;
    GD_CALLS(X)
#undef X
} gd;
static bool is_loaded;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* What is wrong with a client's picture is nothing for the log. */
static void ignore(int priority, const char *format, va_list arguments) {}

static void load(void)
{
    void *library = dlopen(GD_LIBRARY, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        return;
    is_loaded = true;
#define X(name)                                                                                    \
    gd.name = (__typeof__(&name))dlsym(library, #name);                                            \
    is_loaded = is_loaded && gd.name;
    GD_CALLS(X)
#undef X
    if (is_loaded)
        gd.gdSetErrorMethod(ignore);
}

bool image_codec_is_there(void)
{
    pthread_once(&once, load);
    return is_loaded;
}

/* ---- decoding ---- */

int image_decode(struct slice bytes, const struct image_header *header, struct image **ret)
{
    if (!image_codec_is_there())
        return KELP_E_UNAVAILABLE;
    if (bytes.len > INT_MAX)
        return KELP_E_TOO_LARGE;
    gdImagePtr image = NULL;
    void *data = (void *)(uintptr_t)bytes.ptr; /* only read */
    switch (header->format) {
    case IMAGE_JPEG:
        image = gd.gdImageCreateFromJpegPtrEx((int)bytes.len, data, 0);
        break;
    case IMAGE_PNG:
        image = gd.gdImageCreateFromPngPtr((int)bytes.len, data);
        break;
    case IMAGE_GIF:
        image = gd.gdImageCreateFromGifPtr((int)bytes.len, data);
        break;
    case IMAGE_WEBP:
        image = gd.gdImageCreateFromWebpPtr((int)bytes.len, data);
        break;
    case IMAGE_NO_FORMAT:
        break;
    }
    if (!image)
        return KELP_E_CORRUPT;
    if ((uint32_t)image->sx != header->width || (uint32_t)image->sy != header->height) {
        gd.gdImageDestroy(image);
        return KELP_E_CORRUPT;
    }
    *ret = (struct image *)image;
    return 0;
}

void image_destroy(struct image *image)
{
    if (image)
        gd.gdImageDestroy((gdImagePtr)image);
}

/* Its alpha is 0 for opaque and 127 for nothing. */
static uint8_t alpha_to_byte(int alpha) { return (uint8_t)(255 - ((alpha << 1) + (alpha >> 6))); }
static int alpha_from_byte(uint8_t alpha) { return gdAlphaMax - (alpha >> 1); }

static void put(uint8_t *out, int red, int green, int blue, int alpha)
{
    out[0] = (uint8_t)red;
    out[1] = (uint8_t)green;
    out[2] = (uint8_t)blue;
    out[3] = alpha_to_byte(alpha);
}

static void read_true_color(const gdImage *image, const int *row, uint32_t count, uint8_t *ret)
{
    for (uint32_t i = 0; i < count; i++, ret += IMAGE_PIXEL_BYTES) {
        int c = row[i];
        put(ret, gdTrueColorGetRed(c), gdTrueColorGetGreen(c), gdTrueColorGetBlue(c),
            c == image->transparent ? gdAlphaTransparent : gdTrueColorGetAlpha(c));
    }
}

static void read_palette(const gdImage *image, const unsigned char *row, uint32_t count,
                         uint8_t *ret)
{
    for (uint32_t i = 0; i < count; i++, ret += IMAGE_PIXEL_BYTES) {
        int c = row[i];
        put(ret, image->red[c], image->green[c], image->blue[c],
            c == image->transparent ? gdAlphaTransparent : image->alpha[c]);
    }
}

static void read_row(const void *ctx, uint32_t x, uint32_t y, uint32_t count, uint8_t *ret)
{
    const gdImage *image = ctx;
    if (image->trueColor)
        read_true_color(image, image->tpixels[y] + x, count, ret);
    else
        read_palette(image, image->pixels[y] + x, count, ret);
}

struct image_source image_read_from(const struct image *image)
{
    return (struct image_source){read_row, image};
}

/* ---- encoding ---- */

/* What has no alpha shows what lies behind black glass, as with the peer. */
static int on_black(const uint8_t *p)
{
    unsigned alpha = p[3];
    return gdTrueColor((int)((p[0] * alpha + 127) / 255), (int)((p[1] * alpha + 127) / 255),
                       (int)((p[2] * alpha + 127) / 255));
}

static gdImagePtr copy_pixels(const struct image_pixels *pixels, bool takes_alpha)
{
    gdImagePtr image = gd.gdImageCreateTrueColor((int)pixels->width, (int)pixels->height);
    if (!image)
        return NULL;
    const uint8_t *p = pixels->bytes;
    bool has_alpha = false;
    for (uint32_t y = 0; y < pixels->height; y++) {
        int *row = image->tpixels[y];
        for (uint32_t x = 0; x < pixels->width; x++, p += IMAGE_PIXEL_BYTES) {
            has_alpha = has_alpha || p[3] != 255;
            row[x] = takes_alpha ? gdTrueColorAlpha(p[0], p[1], p[2], alpha_from_byte(p[3]))
                                 : on_black(p);
        }
    }
    gd.gdImageSaveAlpha(image, takes_alpha && has_alpha);
    return image;
}

static void *encode(gdImagePtr image, enum image_format format, bool is_lossless, int *ret_size)
{
    switch (format) {
    case IMAGE_JPEG:
        return gd.gdImageJpegPtr(image, ret_size, JPEG_QUALITY);
    case IMAGE_PNG:
        return gd.gdImagePngPtr(image, ret_size);
    case IMAGE_GIF:
        return gd.gdImageTrueColorToPalette(image, 1, gdMaxColors)
                   ? gd.gdImageGifPtr(image, ret_size)
                   : NULL;
    case IMAGE_WEBP:
        return gd.gdImageWebpPtrEx(image, ret_size, is_lossless ? gdWebpLossless : WEBP_QUALITY);
    case IMAGE_NO_FORMAT:
        break;
    }
    return NULL;
}

/* Goes behind the first marker: a big-endian TIFF file of one entry. */
static const unsigned char exif_segment[] = {
    0xff, 0xe1, 0, 34, 'E', 'x', 'i', 'f', 0, 0, 'M', 'M', 0, 42, 0, 0, 0, 8, /* header */
    0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 1, 0, 0, /* one entry: 0x0112, a SHORT, one of it */
    0, 0, 0, 0,                                  /* no other directory */
};
enum { EXIF_VALUE = 29, JPEG_MARKER = 2 };

static int copy_out(const char *bytes, size_t size, unsigned orientation, char **ret,
                    size_t *ret_size)
{
    size_t extra = orientation != 1 ? sizeof(exif_segment) : 0;
    char *copy = malloc(size + extra);
    if (!copy)
        return KELP_E_NO_MEMORY;
    size_t head = extra ? JPEG_MARKER : 0;
    memcpy(copy, bytes, head);
    if (extra) {
        memcpy(copy + head, exif_segment, extra);
        copy[head + EXIF_VALUE] = (char)orientation;
    }
    memcpy(copy + head + extra, bytes + head, size - head);
    *ret = copy;
    *ret_size = size + extra;
    return 0;
}

int image_encode(const struct image_pixels *pixels, enum image_format format, bool is_lossless,
                 unsigned orientation, char **ret, size_t *ret_size)
{
    if (!image_codec_is_there())
        return KELP_E_UNAVAILABLE;
    gdImagePtr image = copy_pixels(pixels, format != IMAGE_JPEG);
    if (!image)
        return KELP_E_NO_MEMORY;
    int size = 0;
    void *bytes = encode(image, format, is_lossless, &size);
    gd.gdImageDestroy(image);
    if (!bytes || size < JPEG_MARKER) {
        if (bytes)
            gd.gdFree(bytes);
        return KELP_E_CORRUPT;
    }
    int code = copy_out(bytes, (size_t)size, format == IMAGE_JPEG ? orientation : 1, ret, ret_size);
    gd.gdFree(bytes);
    return code;
}
