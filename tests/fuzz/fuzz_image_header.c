/* Headers of pictures, and what requests make of their sizes: whatever is asked of whatever
 * picture, the pieces that are cut lie inside of it. */
#include "tests/fuzz/fuzz.h"

#include "volume/image_plan.h"

static void check_plan(const struct image_request *request, uint32_t width, uint32_t height)
{
    struct image_plan plan;
    if (!image_plan_make(request, width, height, &plan))
        return;
    const struct image_rect *source = &plan.source, *target = &plan.target;
    CHECK(source->width > 0 && source->height > 0 && target->width > 0 && target->height > 0);
    CHECK((uint64_t)source->x + source->width <= width);
    CHECK((uint64_t)source->y + source->height <= height);
    CHECK((uint64_t)target->x + target->width <= plan.scaled_width);
    CHECK((uint64_t)target->y + target->height <= plan.scaled_height);
}

static int32_t take_number(struct slice *input)
{
    return image_request_number(fuzz_take_until(input, '&'));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct slice input = slice_of(bytes, size);
    struct image_header header;
    struct image_request request = {.output = IMAGE_JPEG};
    bool is_picture = image_header_parse(input, &header);
    if (is_picture) {
        CHECK(header.format != IMAGE_NO_FORMAT && header.width > 0 && header.height > 0);
        CHECK(header.orientation >= 1 && header.orientation <= 8);
        CHECK(header.orientation == 1 || header.format == IMAGE_JPEG);
        input = slice_from(input, size > 64 ? size - 64 : 0);
    }
    request.mode = image_request_mode(fuzz_take_until(&input, '&'));
    request.width = take_number(&input);
    request.height = take_number(&input);
    request.crop_x1 = take_number(&input);
    request.crop_y1 = take_number(&input);
    request.crop_x2 = take_number(&input);
    request.crop_y2 = take_number(&input);
    uint32_t width = is_picture ? header.width : fuzz_take_byte(&input) + 1u;
    uint32_t height = is_picture ? header.height : fuzz_take_byte(&input) + 1u;
    if (!image_request_settle(&request))
        return 0;
    struct image_request again = request;
    CHECK(image_request_settle(&again) && memcmp(&again, &request, sizeof(again)) == 0);
    check_plan(&request, width, height);
    return 0;
}
