/* What a client wants of a picture, and what that means for one of a given size: which part of it
 * is taken and how large it becomes. Pure; any thread. Source: spec/volume-http.md 12. */
#pragma once

#include "volume/image_header.h"

enum image_mode {
    IMAGE_MODE_PLAIN, /* to width x height; one that is 0 follows */
    IMAGE_MODE_FIT,   /* within width x height */
    IMAGE_MODE_FILL,  /* width x height, and what does not fit is cut off */
};

/* As the URL has it. Numbers are the same for the same text, whatever they mean. */
struct image_request {
    int32_t crop_x1, crop_y1, crop_x2, crop_y2;
    int32_t width, height;
    enum image_mode mode;
    enum image_format output;
};

/* ".jpg", ".PNG"; IMAGE_NO_FORMAT for what no picture is called. */
enum image_format image_format_of(struct slice extension);
/* A decimal number, with a sign or without; 0 for anything else, and INT32_MAX for more. */
int32_t image_request_number(struct slice text);
enum image_mode image_request_mode(struct slice text);
/* Drops what has no effect, so that requests for the same thing are the same; false when nothing
 * is left. */
bool image_request_settle(struct image_request *request);

struct image_rect {
    uint32_t x, y, width, height;
};

/* `source` is scaled to scaled_width x scaled_height, and `target` cut out of that. */
struct image_plan {
    struct image_rect source;
    uint32_t scaled_width, scaled_height;
    struct image_rect target;
};

/* `request` is settled. False: the picture stays as it is. */
bool image_plan_make(const struct image_request *request, uint32_t width, uint32_t height,
                     struct image_plan *ret);
