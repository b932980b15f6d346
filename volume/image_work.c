/* The order is what makes it safe: the header first, then what the request makes of its size, and
 * only when both are small enough does a decoder see the bytes. */
#include "volume/image_work.h"

static bool fits(uint64_t width, uint64_t height, uint64_t limit)
{
    return width <= IMAGE_SIDE_MAX && height <= IMAGE_SIDE_MAX && width * height <= limit;
}

static bool begin(struct image_work *work, struct slice bytes, uint64_t limit)
{
    *work = (struct image_work){.bytes = bytes};
    return image_header_parse(bytes, &work->header) &&
           fits(work->header.width, work->header.height, limit);
}

static bool is_affordable(struct image_work *work, uint64_t result, uint64_t limit)
{
    work->cost = (uint64_t)work->header.width * work->header.height + result;
    if (result > limit)
        return false;
    if (work->cost > limit)
        work->cost = limit; /* what is alone may take it all, and twice */
    return true;
}

/* What the encoder takes beside the picture, in pixels of some 10 bytes: for WebP it was measured
 * as 20 bytes a pixel, or 34 without loss (and as seconds for a million of them). */
static uint64_t encoder_cost(const struct image_work *work)
{
    uint64_t pixels = (uint64_t)work->plan.target.width * work->plan.target.height;
    if (work->output != IMAGE_WEBP)
        return 0;
    return work->header.is_lossless ? 3 * pixels : pixels;
}

bool image_work_plan(struct image_work *work, struct slice bytes,
                     const struct image_request *request, uint64_t limit)
{
    if (!begin(work, bytes, limit) ||
        !image_plan_make(request, work->header.width, work->header.height, &work->plan))
        return false;
    work->output = request->output;
    return fits(work->plan.scaled_width, work->plan.scaled_height, limit) &&
           is_affordable(work, image_resample_cost(&work->plan) + encoder_cost(work), limit);
}

bool image_work_plan_upright(struct image_work *work, struct slice bytes, uint64_t limit)
{
    if (!begin(work, bytes, limit) || work->header.format != IMAGE_JPEG ||
        work->header.orientation == 1)
        return false;
    work->is_upright_only = true;
    work->output = IMAGE_JPEG;
    return is_affordable(work, (uint64_t)work->header.width * work->header.height, limit);
}

int image_work_run(const struct image_work *work, char **ret, size_t *ret_size)
{
    const struct image_header *header = &work->header;
    struct image_pixels pixels = {0};
    struct image *image;
    int code = image_decode(work->bytes, header, &image);
    if (code != 0)
        return code;
    struct image_source source = image_read_from(image);
    code = work->is_upright_only
               ? image_upright(&source, header->width, header->height, header->orientation, &pixels)
               : image_resample(&source, &work->plan, &pixels);
    image_destroy(image);
    /* A picture that lies on its side says so before and after: who shows it turns it. */
    if (code == 0)
        code = image_encode(&pixels, work->output, header->is_lossless,
                            work->is_upright_only ? 1 : header->orientation, ret, ret_size);
    image_pixels_fini(&pixels);
    return code;
}
