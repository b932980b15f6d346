/* Why not the codec library's own scaling: it weighs the colour of pixels that cannot be seen as
 * much as that of others, which leaves a rim around everything that is cut out; and it takes the
 * picture twice. Here a row is read as it is scaled, and colours are weighed with their alpha. */
#include "volume/image_resample.h"

#include "common/check.h"

#include <math.h>

#define LOBES 3.0

/* How one pixel of the result is made along one axis. */
struct reach {
    uint32_t first, count; /* pixels of the source */
    size_t weights;        /* where theirs begin */
};

struct axis {
    struct reach *reaches;
    float *weights; /* of each pixel they sum up to 1 */
};

/* ---- weights ---- */

static double lanczos(double x)
{
    x = fabs(x);
    if (x >= LOBES)
        return 0;
    if (x < 1e-9)
        return 1;
    double a = M_PI * x;
    return LOBES * sin(a) * sin(a / LOBES) / (a * a);
}

static void axis_fini(struct axis *axis)
{
    free(axis->reaches);
    free(axis->weights);
}

static void weigh(struct reach *reach, float *weights, double centre, double stretch)
{
    double sum = 0;
    for (uint32_t i = 0; i < reach->count; i++)
        sum += lanczos((reach->first + i - centre) / stretch);
    for (uint32_t i = 0; i < reach->count; i++)
        weights[i] = (float)(lanczos((reach->first + i - centre) / stretch) / sum);
}

/* `from` pixels become `to`, of which `count` from `start` on are wanted. */
static int axis_init(struct axis *axis, uint32_t from, uint32_t to, uint32_t start, uint32_t count)
{
    double step = (double)from / to;
    double stretch = step > 1 ? step : 1; /* when shrinking, all of the source counts */
    double radius = from == to ? 0 : ceil(stretch * LOBES);
    size_t most = (size_t)(2 * radius) + 2;
    axis->reaches = malloc(count * sizeof(*axis->reaches));
    axis->weights = malloc((most < from ? most : from) * count * sizeof(*axis->weights));
    if (!axis->reaches || !axis->weights) {
        axis_fini(axis);
        return KELP_E_NO_MEMORY;
    }
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        double centre = (start + i + 0.5) * step - 0.5;
        double first = fmax(0, ceil(centre - radius));
        double last = fmin(from - 1.0, floor(centre + radius));
        struct reach *reach = &axis->reaches[i];
        *reach = (struct reach){(uint32_t)first, (uint32_t)(last - first) + 1, used};
        weigh(reach, axis->weights + used, centre, stretch);
        used += reach->count;
    }
    return 0;
}

/* ---- pixels ---- */

static uint8_t to_byte(float value)
{
    return value <= 0 ? 0 : value >= 255 ? 255 : (uint8_t)(value + 0.5f);
}

/* A weighted mean of pixels that lie `stride` bytes apart. */
static void mix(const uint8_t *from, size_t stride, const float *weights, uint32_t count,
                uint8_t *ret)
{
    float red = 0, green = 0, blue = 0, alpha = 0;
    for (uint32_t i = 0; i < count; i++, from += stride) {
        float weight = weights[i] * from[3];
        red += weight * from[0];
        green += weight * from[1];
        blue += weight * from[2];
        alpha += weight;
    }
    if (alpha <= 0) {
        memset(ret, 0, IMAGE_PIXEL_BYTES);
        return;
    }
    ret[0] = to_byte(red / alpha);
    ret[1] = to_byte(green / alpha);
    ret[2] = to_byte(blue / alpha);
    ret[3] = to_byte(alpha);
}

static int pixels_init(struct image_pixels *pixels, uint32_t width, uint32_t height)
{
    pixels->width = width;
    pixels->height = height;
    pixels->bytes = malloc((size_t)width * height * IMAGE_PIXEL_BYTES);
    return pixels->bytes ? 0 : KELP_E_NO_MEMORY;
}

void image_pixels_fini(struct image_pixels *pixels)
{
    free(pixels->bytes);
    pixels->bytes = NULL;
}

static uint8_t *row_of(const struct image_pixels *pixels, uint32_t y)
{
    return pixels->bytes + (size_t)y * pixels->width * IMAGE_PIXEL_BYTES;
}

/* ---- passes ---- */

static void scale_rows(const struct image_source *source, const struct image_rect *from,
                       uint32_t first, const struct axis *across, uint8_t *row,
                       struct image_pixels *ret)
{
    for (uint32_t y = 0; y < ret->height; y++) {
        source->read(source->ctx, from->x, from->y + first + y, from->width, row);
        uint8_t *out = row_of(ret, y);
        for (uint32_t x = 0; x < ret->width; x++) {
            const struct reach *reach = &across->reaches[x];
            mix(row + (size_t)reach->first * IMAGE_PIXEL_BYTES, IMAGE_PIXEL_BYTES,
                across->weights + reach->weights, reach->count,
                out + (size_t)x * IMAGE_PIXEL_BYTES);
        }
    }
}

static void scale_columns(const struct image_pixels *from, uint32_t first, const struct axis *down,
                          struct image_pixels *ret)
{
    size_t stride = (size_t)from->width * IMAGE_PIXEL_BYTES;
    for (uint32_t y = 0; y < ret->height; y++) {
        const struct reach *reach = &down->reaches[y];
        const uint8_t *column = row_of(from, reach->first - first);
        uint8_t *out = row_of(ret, y);
        for (size_t x = 0; x < stride; x += IMAGE_PIXEL_BYTES)
            mix(column + x, stride, down->weights + reach->weights, reach->count, out + x);
    }
}

uint64_t image_resample_cost(const struct image_plan *plan)
{
    return (uint64_t)plan->target.width * ((uint64_t)plan->source.height + plan->target.height) +
           plan->source.width;
}

static int scale_both(const struct image_source *source, const struct image_plan *plan,
                      const struct axis *across, const struct axis *down, struct image_pixels *ret)
{
    /* Only the rows that the result needs. */
    const struct reach *last = &down->reaches[plan->target.height - 1];
    uint32_t first = down->reaches[0].first;
    struct image_pixels between = {0};
    uint8_t *row = malloc((size_t)plan->source.width * IMAGE_PIXEL_BYTES);
    int code = row ? pixels_init(&between, plan->target.width, last->first + last->count - first)
                   : KELP_E_NO_MEMORY;
    if (code == 0)
        code = pixels_init(ret, plan->target.width, plan->target.height);
    if (code == 0) {
        scale_rows(source, &plan->source, first, across, row, &between);
        scale_columns(&between, first, down, ret);
    }
    free(row);
    image_pixels_fini(&between);
    return code;
}

int image_resample(const struct image_source *source, const struct image_plan *plan,
                   struct image_pixels *ret)
{
    struct axis across, down;
    int code = axis_init(&across, plan->source.width, plan->scaled_width, plan->target.x,
                         plan->target.width);
    if (code != 0)
        return code;
    code = axis_init(&down, plan->source.height, plan->scaled_height, plan->target.y,
                     plan->target.height);
    if (code == 0) {
        code = scale_both(source, plan, &across, &down, ret);
        axis_fini(&down);
    }
    axis_fini(&across);
    return code;
}

/* ---- orientation ---- */

/* Where a stored pixel comes to lie, by its orientation: 2 to 4 flip and turn upside down, 5 to 8
 * also change rows for columns. */
static void place(unsigned orientation, uint32_t width, uint32_t height, uint32_t x, uint32_t y,
                  uint32_t *ret_x, uint32_t *ret_y)
{
    uint32_t right = width - 1 - x, bottom = height - 1 - y;
    const uint32_t places[9][2] = {
        [1] = {x, y}, [2] = {right, y},  [3] = {right, bottom}, [4] = {x, bottom},
        [5] = {y, x}, [6] = {bottom, x}, [7] = {bottom, right}, [8] = {y, right},
    };
    *ret_x = places[orientation][0];
    *ret_y = places[orientation][1];
}

int image_upright(const struct image_source *source, uint32_t width, uint32_t height,
                  unsigned orientation, struct image_pixels *ret)
{
    CHECK(orientation >= 1 && orientation <= 8);
    bool is_turned = orientation >= 5;
    uint8_t *row = malloc((size_t)width * IMAGE_PIXEL_BYTES);
    int code = row ? pixels_init(ret, is_turned ? height : width, is_turned ? width : height)
                   : KELP_E_NO_MEMORY;
    for (uint32_t y = 0; code == 0 && y < height; y++) {
        source->read(source->ctx, 0, y, width, row);
        for (uint32_t x = 0; x < width; x++) {
            uint32_t to_x, to_y;
            place(orientation, width, height, x, y, &to_x, &to_y);
            memcpy(row_of(ret, to_y) + (size_t)to_x * IMAGE_PIXEL_BYTES,
                   row + (size_t)x * IMAGE_PIXEL_BYTES, IMAGE_PIXEL_BYTES);
        }
    }
    free(row);
    return code;
}
