/* Stands in for image_codec.c where libgd is not there to be built with. */
#include "volume/image_codec.h"

bool image_codec_is_there(void) { return false; }

int image_decode(struct slice bytes, const struct image_header *header, struct image **ret)
{
    return KELP_E_UNAVAILABLE;
}

void image_destroy(struct image *image) {}

static void read_nothing(const void *ctx, uint32_t x, uint32_t y, uint32_t count, uint8_t *ret)
{
    memset(ret, 0, (size_t)count * IMAGE_PIXEL_BYTES);
}

struct image_source image_read_from(const struct image *image)
{
    return (struct image_source){read_nothing, image};
}

int image_encode(const struct image_pixels *pixels, enum image_format format, bool is_lossless,
                 unsigned orientation, char **ret, size_t *ret_size)
{
    return KELP_E_UNAVAILABLE;
}
