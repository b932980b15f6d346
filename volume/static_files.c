/* As a plain file server has it: ranges, a list for a folder, 404 as text; no date, and none of
 * the headers that blobs come with. */
#include "volume/static_files.h"

#include "common/buffer.h"
#include "common/http_range.h"
#include "common/os.h"
#include "volume/blob_call.h"
#include "volume/static_icons.h"

#include <inttypes.h>

#define FOLDER "/seaweedfsstatic/"

struct static_file {
    const char *path, *type;
    const unsigned char *bytes;
    size_t size;
};

static const struct static_file files[] = {
    {"/favicon.ico", "image/x-icon", static_icon_favicon, sizeof(static_icon_favicon)},
    {FOLDER "favicon.ico", "image/x-icon", static_icon_favicon, sizeof(static_icon_favicon)},
    {FOLDER "seaweed50x50.png", "image/png", static_icon_logo, sizeof(static_icon_logo)},
};

static const char list_of_folder[] = "<!doctype html>\n"
                                     "<meta name=\"viewport\" content=\"width=device-width\">\n"
                                     "<pre>\n"
                                     "<a href=\"favicon.ico\">favicon.ico</a>\n"
                                     "<a href=\"seaweed50x50.png\">seaweed50x50.png</a>\n"
                                     "</pre>\n";

static void answer_text(struct http_request *request, int status, struct slice text)
{
    http_response_set_header(request, "Content-Type", SLICE("text/plain; charset=utf-8"));
    http_response_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    http_respond(request, status, text, NULL, NULL);
}

/* No more bytes than the file has, or http_range_parse would have said otherwise. */
static void send_ranges(struct http_request *request, const struct static_file *file,
                        const struct http_range_set *set)
{
    char boundary[61];
    struct buffer body = BUFFER_INIT;
    struct slice type = slice_cstr(file->type);
    for (int i = 0; i < 60; i += 15)
        snprintf(boundary + i, sizeof(boundary) - (size_t)i, "%015" PRIx64,
                 os_random(os_real()) >> 4);
    for (size_t i = 0; i < set->count; i++) {
        const struct http_range *range = &set->ranges[i];
        buffer_append_slice(&body, http_range_part_head(request->arena, set, i, file->size, type,
                                                        boundary));
        buffer_append(&body, file->bytes + range->start, range->length);
    }
    buffer_append_slice(&body, http_range_multipart_end(request->arena, boundary));
    http_response_set_header(
        request, "Content-Type",
        slice_cstr(arena_printf(request->arena, "multipart/byteranges; boundary=%s", boundary)));
    struct slice all = arena_slice(request->arena, buffer_slice(&body));
    buffer_fini(&body);
    http_respond(request, 206, all, NULL, NULL);
}

static void send_file(struct http_request *request, const struct static_file *file)
{
    struct http_range_set set;
    struct slice all = slice_of((const char *)file->bytes, file->size);
    http_range_parse(request->arena, http_request_header(request, "Range"), file->size, &set);
    switch (set.outcome) {
    case HTTP_RANGE_INVALID:
        answer_text(request, 416, SLICE("invalid range\n"));
        return;
    case HTTP_RANGE_NO_OVERLAP:
        http_response_header(request, "Content-Range",
                             http_range_unsatisfied(request->arena, file->size));
        answer_text(request, 416, SLICE("invalid range: failed to overlap\n"));
        return;
    default:
        break;
    }
    http_response_header(request, "Accept-Ranges", SLICE("bytes"));
    http_response_header(request, "Content-Type", slice_cstr(file->type));
    if (set.outcome == HTTP_RANGE_SINGLE) {
        http_response_header(request, "Content-Range",
                             http_range_content_range(request->arena, set.ranges[0], file->size));
        http_respond(request, 206,
                     slice_until(slice_from(all, set.ranges[0].start), set.ranges[0].length), NULL,
                     NULL);
    } else if (set.outcome == HTTP_RANGE_MULTIPLE) {
        send_ranges(request, file, &set);
    } else {
        http_respond(request, 200, all, NULL, NULL);
    }
}

void static_files_serve(struct http_request *request)
{
    struct slice path = request->path;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
        if (slice_equals(path, slice_cstr(files[i].path))) {
            send_file(request, &files[i]);
            return;
        }
    if (slice_equals(path, SLICE("/seaweedfsstatic"))) {
        blob_call_redirect(request, 307, SLICE(FOLDER));
    } else if (slice_equals(path, SLICE(FOLDER))) {
        http_response_header(request, "Content-Type", SLICE("text/html; charset=utf-8"));
        http_respond(request, 200, slice_cstr(list_of_folder), NULL, NULL);
    } else {
        answer_text(request, 404, SLICE("404 page not found\n"));
    }
}
