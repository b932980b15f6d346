/* Pictures all the way through the decoders: what comes out is a picture of the size that was
 * planned. */
#include "tests/fuzz/fuzz.h"

#include "volume/image_work.h"

#define PIXELS 4096u

static void run(const struct image_work *work, uint32_t width, uint32_t height)
{
    char *result;
    size_t size;
    struct image_header header;
    CHECK(work->cost <= PIXELS);
    if (image_work_run(work, &result, &size) != 0)
        return;
    CHECK(image_header_parse(slice_of(result, size), &header));
    CHECK(header.format == work->output && header.width == width && header.height == height);
    free(result);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct slice input = slice_of(bytes, size);
    uint8_t choice = fuzz_take_byte(&input);
    struct image_request request = {
        .width = choice & 31,
        .height = choice >> 5,
        .mode = (enum image_mode)(choice % 3),
        .output = (enum image_format)(IMAGE_JPEG + choice % 4),
    };
    struct image_work work;
    if (image_request_settle(&request) && image_work_plan(&work, input, &request, PIXELS))
        run(&work, work.plan.target.width, work.plan.target.height);
    if (image_work_plan_upright(&work, input, PIXELS)) {
        bool is_turned = work.header.orientation >= 5;
        run(&work, is_turned ? work.header.height : work.header.width,
            is_turned ? work.header.width : work.header.height);
    }
    return 0;
}
