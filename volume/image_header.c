/* Where a decoder and this parser could disagree on which of two sizes counts, the bytes are
 * refused: a second frame header, a WebP canvas unlike its frame, a GIF frame beyond its screen. */
#include "volume/image_header.h"

/* A progressive JPEG has about ten; each costs the decoder a walk over the whole picture. */
#define JPEG_SCANS_MAX 64u

static uint8_t byte_at(struct slice bytes, size_t at) { return (uint8_t)bytes.ptr[at]; }

/* ---- JPEG ---- */

enum {
    JPEG_TEM = 0x01,
    JPEG_SOF0 = 0xc0,
    JPEG_DHT = 0xc4,
    JPEG_JPG = 0xc8,
    JPEG_DAC = 0xcc,
    JPEG_SOF15 = 0xcf,
    JPEG_RST0 = 0xd0,
    JPEG_RST7 = 0xd7,
    JPEG_SOI = 0xd8,
    JPEG_EOI = 0xd9,
    JPEG_SOS = 0xda,
    JPEG_APP1 = 0xe1,
};

/* The first IFD of a TIFF file, which is what Exif is. */
static unsigned tiff_orientation(struct slice tiff)
{
    enum { ORIENTATION = 0x0112, SHORT = 3, ENTRY_SIZE = 12 };
    if (tiff.len < 8)
        return 1;
    bool is_big = slice_starts(tiff, SLICE("MM"));
    if (!is_big && !slice_starts(tiff, SLICE("II")))
        return 1;
    const char *p = tiff.ptr;
    size_t at = is_big ? load_be32(p + 4) : load_le32(p + 4);
    if (at > tiff.len - 2 || at < 8)
        return 1;
    size_t count = is_big ? load_be16(p + at) : load_le16(p + at);
    at += 2;
    for (; count > 0 && tiff.len - at >= ENTRY_SIZE; count--, at += ENTRY_SIZE) {
        const char *entry = p + at;
        if ((is_big ? load_be16(entry) : load_le16(entry)) != ORIENTATION)
            continue;
        unsigned type = is_big ? load_be16(entry + 2) : load_le16(entry + 2);
        unsigned value = is_big ? load_be16(entry + 8) : load_le16(entry + 8);
        return type == SHORT && value >= 1 && value <= 8 ? value : 1;
    }
    return 1;
}

static bool is_frame_header(uint8_t marker)
{
    return marker >= JPEG_SOF0 && marker <= JPEG_SOF15 && marker != JPEG_DHT &&
           marker != JPEG_JPG && marker != JPEG_DAC;
}

static bool has_no_body(uint8_t marker)
{
    return marker == JPEG_TEM || (marker >= JPEG_RST0 && marker <= JPEG_RST7);
}

/* The next marker at or after *at, or 0; *at is then behind it. Other bytes before it are passed
 * over, as decoders do; so is the coded data of a scan, in which no marker appears. */
static uint8_t next_marker(struct slice bytes, size_t *at)
{
    while (*at < bytes.len) {
        const char *found = memchr(bytes.ptr + *at, 0xff, bytes.len - *at);
        if (!found)
            return 0;
        *at = (size_t)(found - bytes.ptr);
        while (*at < bytes.len && byte_at(bytes, *at) == 0xff)
            (*at)++;
        if (*at == bytes.len)
            return 0;
        uint8_t marker = byte_at(bytes, (*at)++);
        if (marker != 0)
            return marker;
    }
    return 0;
}

/* Precision, height, width, components. The height of 0, to be told after the first scan, is not
 * taken. */
static bool parse_frame_header(struct slice body, struct image_header *ret)
{
    if (body.len < 6 || ret->width != 0)
        return false;
    ret->height = load_be16(body.ptr + 1);
    ret->width = load_be16(body.ptr + 3);
    return ret->width != 0 && ret->height != 0;
}

static bool parse_jpeg(struct slice bytes, struct image_header *ret)
{
    bool has_orientation = false;
    unsigned scans = 0;
    size_t at = 2;
    for (;;) {
        uint8_t marker = next_marker(bytes, &at);
        if (marker == 0 || marker == JPEG_EOI)
            return marker != 0 && scans > 0;
        if (has_no_body(marker))
            continue;
        if (marker == JPEG_SOI || bytes.len - at < 2)
            return false;
        size_t length = load_be16(bytes.ptr + at);
        if (length < 2 || length > bytes.len - at)
            return false;
        struct slice body = slice_of(bytes.ptr + at + 2, length - 2);
        at += length;
        if (is_frame_header(marker) && !parse_frame_header(body, ret))
            return false;
        if (marker == JPEG_SOS && (ret->width == 0 || ++scans > JPEG_SCANS_MAX))
            return false;
        if (marker == JPEG_APP1 && !has_orientation && slice_starts(body, SLICE("Exif\0\0"))) {
            has_orientation = true;
            ret->orientation = tiff_orientation(slice_from(body, 6));
        }
    }
}

/* ---- PNG ---- */

static const struct slice png_signature = {"\x89PNG\r\n\x1a\n", 8};

static bool parse_png(struct slice bytes, struct image_header *ret)
{
    enum { IHDR_SIZE = 13, IHDR_END = 8 + 8 + IHDR_SIZE };
    if (bytes.len < IHDR_END || load_be32(bytes.ptr + 8) != IHDR_SIZE ||
        memcmp(bytes.ptr + 12, "IHDR", 4) != 0)
        return false;
    ret->width = load_be32(bytes.ptr + 16);
    ret->height = load_be32(bytes.ptr + 20);
    ret->is_lossless = true;
    return ret->width != 0 && ret->height != 0 && ret->width <= INT32_MAX &&
           ret->height <= INT32_MAX;
}

/* ---- GIF ---- */

/* Colours of a table whose size is in the low bits of these flags. */
static size_t gif_table_size(uint8_t flags) { return flags & 0x80 ? 3u << ((flags & 7) + 1) : 0; }

/* Passes over the blocks of an extension, up to and with the empty one. */
static bool skip_gif_blocks(struct slice bytes, size_t *at)
{
    while (*at < bytes.len) {
        size_t size = byte_at(bytes, (*at)++);
        if (size == 0)
            return true;
        *at += size;
    }
    return false;
}

static bool parse_gif(struct slice bytes, struct image_header *ret)
{
    enum { SCREEN_END = 13, FRAME_SIZE = 9 };
    if (bytes.len < SCREEN_END)
        return false;
    uint32_t screen_width = load_le16(bytes.ptr + 6), screen_height = load_le16(bytes.ptr + 8);
    size_t at = SCREEN_END + gif_table_size(byte_at(bytes, 10));
    while (at < bytes.len && byte_at(bytes, at) == '!') {
        at += 2;
        if (!skip_gif_blocks(bytes, &at))
            return false;
    }
    if (at >= bytes.len || byte_at(bytes, at) != ',' || bytes.len - at <= FRAME_SIZE)
        return false;
    const char *frame = bytes.ptr + at + 1;
    ret->width = load_le16(frame + 4);
    ret->height = load_le16(frame + 6);
    ret->is_lossless = true;
    return ret->width != 0 && ret->height != 0 &&
           load_le16(frame) + ret->width <= screen_width &&
           load_le16(frame + 2) + ret->height <= screen_height;
}

/* ---- WebP ---- */

static uint32_t load_le24(const char *p)
{
    return load_le16(p) | (uint32_t)(uint8_t)p[2] << 16;
}

/* The size in the header of a frame, lossy or lossless. */
static bool parse_webp_frame(struct slice name, struct slice body, struct image_header *ret)
{
    if (slice_equals(name, SLICE("VP8L"))) {
        if (body.len < 5 || byte_at(body, 0) != 0x2f)
            return false;
        uint32_t bits = load_le32(body.ptr + 1);
        ret->width = (bits & 0x3fff) + 1;
        ret->height = (bits >> 14 & 0x3fff) + 1;
        ret->is_lossless = true;
        return true;
    }
    if (body.len < 10 || (byte_at(body, 0) & 1) != 0 ||
        memcmp(body.ptr + 3, "\x9d\x01\x2a", 3) != 0)
        return false;
    ret->width = load_le16(body.ptr + 6) & 0x3fff;
    ret->height = load_le16(body.ptr + 8) & 0x3fff;
    return ret->width != 0 && ret->height != 0;
}

static bool parse_webp(struct slice bytes, struct image_header *ret)
{
    enum { IS_ANIMATED = 0x02 };
    uint32_t canvas_width = 0, canvas_height = 0;
    for (size_t at = 12; bytes.len - at >= 8;) {
        struct slice name = slice_of(bytes.ptr + at, 4);
        size_t size = load_le32(bytes.ptr + at + 4);
        at += 8;
        if (size > bytes.len - at)
            return false;
        struct slice body = slice_of(bytes.ptr + at, size);
        if (slice_equals(name, SLICE("VP8 ")) || slice_equals(name, SLICE("VP8L")))
            return parse_webp_frame(name, body, ret) &&
                   (canvas_width == 0 ||
                    (canvas_width == ret->width && canvas_height == ret->height));
        if (slice_equals(name, SLICE("VP8X"))) {
            if (canvas_width != 0 || size < 10 || (byte_at(body, 0) & IS_ANIMATED))
                return false;
            canvas_width = load_le24(body.ptr + 4) + 1;
            canvas_height = load_le24(body.ptr + 7) + 1;
        }
        size += size & 1; /* padded */
        if (size > bytes.len - at)
            return false;
        at += size;
    }
    return false;
}

/* ---- all of them ---- */

bool image_header_parse(struct slice bytes, struct image_header *ret)
{
    struct image_header header = {.orientation = 1};
    bool is_good = false;
    if (slice_starts(bytes, SLICE("\xff\xd8\xff"))) {
        header.format = IMAGE_JPEG;
        is_good = parse_jpeg(bytes, &header);
    } else if (slice_starts(bytes, png_signature)) {
        header.format = IMAGE_PNG;
        is_good = parse_png(bytes, &header);
    } else if (slice_starts(bytes, SLICE("GIF87a")) || slice_starts(bytes, SLICE("GIF89a"))) {
        header.format = IMAGE_GIF;
        is_good = parse_gif(bytes, &header);
    } else if (bytes.len >= 12 && slice_starts(bytes, SLICE("RIFF")) &&
               memcmp(bytes.ptr + 8, "WEBP", 4) == 0) {
        header.format = IMAGE_WEBP;
        is_good = parse_webp(bytes, &header);
    }
    if (is_good)
        *ret = header;
    return is_good;
}
