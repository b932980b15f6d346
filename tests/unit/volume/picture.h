/* Pictures for tests, of any format. */
#pragma once

#include "volume/image_codec.h"

/* Red grows to the right, green downwards. The caller's, to be freed; skips the test without
 * libgd. */
struct slice picture_make(enum image_format format, uint32_t width, uint32_t height,
                          unsigned orientation);
/* The header of these bytes; fails the test when they are no picture. */
struct image_header picture_look(struct slice bytes);
