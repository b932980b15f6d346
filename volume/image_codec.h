/* Pictures from and to bytes, by libgd. It is loaded when the first picture comes: with all that
 * it brings along it would cost an idle server several megabytes. Where kelp was built without it,
 * or it is not installed, nothing can be decoded, and pictures are sent as they are stored. Any
 * thread; slow. */
#pragma once

#include "volume/image_resample.h"

struct image; /* decoded */

/* Loads the library if need be. */
bool image_codec_is_there(void);

/* The header must have been parsed from these bytes, and found small enough. KELP_E_CORRUPT,
 * KELP_E_NO_MEMORY, KELP_E_UNAVAILABLE: there is no library. */
int image_decode(struct slice bytes, const struct image_header *header, struct image **ret);
void image_destroy(struct image *image); /* NULL is fine */
/* Borrows the image. */
struct image_source image_read_from(const struct image *image);

/* As a JPEG of quality 75, a PNG, a GIF of one frame, a WebP (lossless or not). A JPEG of an
 * orientation other than 1 says so. *ret is the caller's, to be freed. */
int image_encode(const struct image_pixels *pixels, enum image_format format, bool is_lossless,
                 unsigned orientation, char **ret, size_t *ret_size);
