/* Roundings are the peer's, to the pixel: clients lay out pages by them. */
#include "volume/image_plan.h"

#include <math.h>

enum image_format image_format_of(struct slice extension)
{
    static const struct {
        struct slice name;
        enum image_format format;
    } names[] = {
        {{".jpg", 4}, IMAGE_JPEG}, {{".jpeg", 5}, IMAGE_JPEG}, {{".png", 4}, IMAGE_PNG},
        {{".gif", 4}, IMAGE_GIF},  {{".webp", 5}, IMAGE_WEBP},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (slice_equals_nocase(extension, names[i].name))
            return names[i].format;
    return IMAGE_NO_FORMAT;
}

int32_t image_request_number(struct slice text)
{
    bool is_negative = text.len > 0 && text.ptr[0] == '-';
    if (is_negative || (text.len > 0 && text.ptr[0] == '+'))
        text = slice_from(text, 1);
    int64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return 0;
        value = value * 10 + (text.ptr[i] - '0');
        if (value > INT32_MAX)
            value = INT32_MAX;
    }
    return (int32_t)(is_negative ? -value : value);
}

enum image_mode image_request_mode(struct slice text)
{
    if (slice_equals(text, SLICE("fit")))
        return IMAGE_MODE_FIT;
    return slice_equals(text, SLICE("fill")) ? IMAGE_MODE_FILL : IMAGE_MODE_PLAIN;
}

bool image_request_settle(struct image_request *r)
{
    bool is_cropped = r->output != IMAGE_WEBP && r->crop_x1 >= 0 && r->crop_y1 >= 0 &&
                      r->crop_x2 > r->crop_x1 && r->crop_y2 > r->crop_y1;
    if (!is_cropped)
        r->crop_x1 = r->crop_y1 = r->crop_x2 = r->crop_y2 = 0;
    if (r->width < 0)
        r->width = 0;
    if (r->height < 0)
        r->height = 0;
    /* The peer makes an empty file of the other two with one dimension only. */
    if (r->width == 0 || r->height == 0)
        r->mode = IMAGE_MODE_PLAIN;
    return r->output != IMAGE_NO_FORMAT && (is_cropped || r->width > 0 || r->height > 0);
}

/* ---- geometry ---- */

static uint32_t at_least_one(double value) { return value < 1 ? 1 : (uint32_t)value; }

/* The other dimension of a picture that keeps its shape. */
static uint32_t follow(uint32_t known, uint32_t from, uint32_t to)
{
    return at_least_one(floor((double)known * to / from + 0.5));
}

static void scale_to(struct image_plan *plan, uint32_t width, uint32_t height)
{
    plan->scaled_width = width;
    plan->scaled_height = height;
    plan->target = (struct image_rect){0, 0, width, height};
}

static void fit(struct image_plan *plan, uint32_t width, uint32_t height)
{
    uint32_t from_width = plan->source.width, from_height = plan->source.height;
    double shape = (double)from_width / from_height;
    if (shape > (double)width / height) {
        uint32_t other = (uint32_t)(width / shape);
        scale_to(plan, width, other > 0 ? other : follow(width, from_width, from_height));
    } else {
        uint32_t other = (uint32_t)(height * shape);
        scale_to(plan, other > 0 ? other : follow(height, from_height, from_width), height);
    }
}

/* Takes the middle of the source that has the shape that is wanted. */
static void cut_to_shape(struct image_rect *source, uint32_t width, uint32_t height)
{
    double shape = (double)source->width / source->height;
    if (shape < (double)width / height) {
        uint32_t cut = (uint32_t)(fmax(1, (double)source->width * height / width) + 0.5);
        cut = cut < source->height ? cut : source->height;
        source->y += (source->height - cut) / 2;
        source->height = cut;
    } else {
        uint32_t cut = (uint32_t)(fmax(1, (double)source->height * width / height) + 0.5);
        cut = cut < source->width ? cut : source->width;
        source->x += (source->width - cut) / 2;
        source->width = cut;
    }
}

/* Of large pictures the middle is cut out first, small ones are scaled first: that loses less. */
static void fill(struct image_plan *plan, uint32_t width, uint32_t height)
{
    enum { SMALL = 100 };
    struct image_rect *source = &plan->source;
    if (source->width == width && source->height == height) {
        scale_to(plan, width, height);
        return;
    }
    if (source->width >= SMALL && source->height >= SMALL) {
        cut_to_shape(source, width, height);
        scale_to(plan, width, height);
        return;
    }
    double shape = (double)source->width / source->height;
    if (shape < (double)width / height)
        scale_to(plan, width, follow(width, source->width, source->height));
    else
        scale_to(plan, follow(height, source->height, source->width), height);
    if (plan->scaled_width < width || plan->scaled_height < height)
        scale_to(plan, width, height); /* a rounding short of it */
    plan->target = (struct image_rect){(plan->scaled_width - width) / 2,
                                       (plan->scaled_height - height) / 2, width, height};
}

static bool resize(struct image_plan *plan, const struct image_request *r)
{
    uint32_t width = (uint32_t)r->width, height = (uint32_t)r->height;
    const struct image_rect *from = &plan->source;
    if (!(width != 0 && from->width > width) && !(height != 0 && from->height > height))
        return false;
    if (r->mode == IMAGE_MODE_FIT)
        fit(plan, width, height);
    else if (r->mode == IMAGE_MODE_FILL || (width == height && from->width != from->height))
        fill(plan, width, height);
    else
        scale_to(plan, width != 0 ? width : follow(height, from->height, from->width),
                 height != 0 ? height : follow(width, from->width, from->height));
    return true;
}

bool image_plan_make(const struct image_request *r, uint32_t width, uint32_t height,
                     struct image_plan *ret)
{
    struct image_plan plan = {.source = {0, 0, width, height}};
    bool is_cropped = r->crop_x2 > 0 && (uint32_t)r->crop_x2 <= width &&
                      (uint32_t)r->crop_y2 <= height;
    if (is_cropped)
        plan.source = (struct image_rect){(uint32_t)r->crop_x1, (uint32_t)r->crop_y1,
                                          (uint32_t)(r->crop_x2 - r->crop_x1),
                                          (uint32_t)(r->crop_y2 - r->crop_y1)};
    scale_to(&plan, plan.source.width, plan.source.height);
    bool is_resized = resize(&plan, r);
    if (is_cropped || is_resized)
        *ret = plan;
    return is_cropped || is_resized;
}
