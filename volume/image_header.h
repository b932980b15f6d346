/* What a picture says of itself in its first bytes: format, size, orientation. Pure; any thread.
 *
 * This is what stands between a client's bytes and the decoders: nothing is decoded whose size has
 * not been read here and found small enough. So it is stricter than they are, and refuses what
 * they might take for another picture than it does. Sources: ITU T.81 annex B, Exif 2.3 (TIFF
 * 6.0), PNG 1.2, GIF89a, RFC 9649. */
#pragma once

#include "common/bytes.h"

enum image_format { IMAGE_NO_FORMAT, IMAGE_JPEG, IMAGE_PNG, IMAGE_GIF, IMAGE_WEBP };

struct image_header {
    enum image_format format;
    uint32_t width, height; /* of the first frame; neither is 0 */
    unsigned orientation;   /* 1 to 8 as Exif has them, 1: upright; of a JPEG only */
    bool is_lossless;       /* as it is stored */
};

/* False: no picture of these formats, or a broken one, or one that only wants to keep a decoder
 * busy (a JPEG of very many scans), or moves (WebP). */
bool image_header_parse(struct slice bytes, struct image_header *ret);
