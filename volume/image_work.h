/* A picture, from bytes to bytes: what it will cost is known first. Any thread; slow. */
#pragma once

#include "volume/image_codec.h"

/* No picture has more pixels, nor any that is made of one: with what the decoders need beside
 * them, some 10 bytes each. */
#define IMAGE_PIXELS_MAX (50u << 20)
/* Nor more in a row or a column. */
#define IMAGE_SIDE_MAX 65535u

struct image_work {
    struct slice bytes; /* borrowed */
    struct image_header header;
    bool is_upright_only;
    struct image_plan plan;
    enum image_format output;
    uint64_t cost; /* pixels in memory at once, at most IMAGE_PIXELS_MAX */
};

/* False: the picture is to stay as it is: there is nothing to do, or it is none, or too large.
 * `pixel_limit` is at most IMAGE_PIXELS_MAX. The request is settled. */
bool image_work_plan(struct image_work *work, struct slice bytes,
                     const struct image_request *request, uint64_t pixel_limit);
/* The same for turning a JPEG upright. */
bool image_work_plan_upright(struct image_work *work, struct slice bytes, uint64_t pixel_limit);

/* KELP_E_NO_MEMORY may pass, other failures are for good. *ret is the caller's, to be freed. */
int image_work_run(const struct image_work *work, char **ret, size_t *ret_size);
