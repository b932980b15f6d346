/* Scales pictures: Lanczos with three lobes, in two passes, first along the rows. Pure; any
 * thread, in proportion to the pixels of the source and of what lies between the passes. */
#pragma once

#include "common/error.h"
#include "volume/image_plan.h"

#define IMAGE_PIXEL_BYTES 4 /* red, green, blue, alpha (255: opaque); not premultiplied */

struct image_pixels {
    uint32_t width, height;
    uint8_t *bytes; /* malloc'd */
};

/* Where pixels come from: `count` of row `y`, from column `x` on. */
struct image_source {
    void (*read)(const void *ctx, uint32_t x, uint32_t y, uint32_t count, uint8_t *ret);
    const void *ctx;
};

/* The plan's rectangles must lie within the source and the scaled picture. KELP_E_NO_MEMORY. */
int image_resample(const struct image_source *source, const struct image_plan *plan,
                   struct image_pixels *ret);
/* What lies in memory meanwhile, in pixels. */
uint64_t image_resample_cost(const struct image_plan *plan);
void image_pixels_fini(struct image_pixels *pixels);

/* Turns and flips so that it is upright; `orientation` is Exif's. KELP_E_NO_MEMORY. */
int image_upright(const struct image_source *source, uint32_t width, uint32_t height,
                  unsigned orientation, struct image_pixels *ret);
