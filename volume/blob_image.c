/* The hook between the read path and the image service. Everything that a picture depends on goes
 * into its key, so one that is in the cache is answered like any other content; the rest goes to
 * the service's threads and comes back. */
#include "volume/blob_image.h"

#include "common/url.h"
#include "volume/blob_chunks.h"
#include "volume/blob_headers.h"
#include "volume/image_service.h"

#include <stddef.h>

/* ---- what is asked ---- */

enum parameter { CROP_X1, CROP_Y1, CROP_X2, CROP_Y2, WIDTH, HEIGHT, MODE, PARAMETERS };

/* The first of each name counts, in one walk over the query. */
static void read_parameters(struct blob *blob, struct slice values[PARAMETERS])
{
    static const struct slice names[PARAMETERS] = {
        [CROP_X1] = {"crop_x1", 7}, [CROP_Y1] = {"crop_y1", 7}, [CROP_X2] = {"crop_x2", 7},
        [CROP_Y2] = {"crop_y2", 7}, [WIDTH] = {"width", 5},     [HEIGHT] = {"height", 6},
        [MODE] = {"mode", 4},
    };
    struct arena *arena = blob->call->request->arena;
    struct slice rest = blob->call->request->query, raw_name, raw_value, name, value;
    while (url_query_next(&rest, &raw_name, &raw_value)) {
        if (url_decode_query(arena, raw_name, &name, NULL) != 0 ||
            url_decode_query(arena, raw_value, &value, NULL) != 0)
            continue;
        for (size_t i = 0; i < PARAMETERS; i++)
            if (!values[i].ptr && slice_equals(name, names[i]))
                values[i] = value.ptr ? value : SLICE("");
    }
}

static bool read_request(struct blob *blob, struct slice extension, struct image_request *ret)
{
    enum image_format format = image_format_of(extension);
    if (format == IMAGE_NO_FORMAT || blob->call->request->query.len == 0)
        return false;
    struct slice values[PARAMETERS] = {0};
    read_parameters(blob, values);
    *ret = (struct image_request){
        .crop_x1 = image_request_number(values[CROP_X1]),
        .crop_y1 = image_request_number(values[CROP_Y1]),
        .crop_x2 = image_request_number(values[CROP_X2]),
        .crop_y2 = image_request_number(values[CROP_Y2]),
        .width = image_request_number(values[WIDTH]),
        .height = image_request_number(values[HEIGHT]),
        .mode = image_request_mode(values[MODE]),
        .output = format,
    };
    return image_request_settle(ret);
}

static struct slice extension_of(const struct blob *blob)
{
    return blob->path.ext.len > 0 ? blob->path.ext
                                  : blob_path_extension(blob_headers_file_name(blob));
}

bool blob_image_is_wanted(struct blob *blob)
{
    struct image_request request;
    return blob->call->request->query.len > 0 && read_request(blob, extension_of(blob), &request);
}

static struct image_key key_of(const struct blob *blob, const struct image_request *request,
                               size_t source_size)
{
    return (struct image_key){
        .needle = blob->key,
        .volume_id = blob->volume_id,
        .cookie = blob->cookie,
        .last_modified = blob->needle.last_modified,
        .checksum = blob->needle.checksum,
        .is_assembled = blob->manifest != NULL,
        .source_size = source_size,
        .request = *request,
    };
}

bool blob_image_wants_whole(struct blob *blob)
{
    struct image_request request;
    size_t size = blob->needle.data.len;
    if (size > IMAGE_SOURCE_MAX || blob->needle.cookie != blob->cookie ||
        !read_request(blob, blob->path.ext, &request))
        return false;
    struct image_key key = key_of(blob, &request, size);
    blob->picture = image_service_find(blob->call->http->images, &key);
    return !blob->picture;
}

/* ---- making it ---- */

/* A request on its way through the service; in its arena. */
struct picture {
    struct image_job job;
    struct blob *blob;
    void (*next)(struct blob *blob);
};

/* Where there is nothing to be done it goes out as it is, streamed or not. */
static void take(struct blob *blob)
{
    if (blob->picture->size == 0)
        return;
    blob->content = slice_of(blob->picture->bytes, blob->picture->size);
    blob->is_streamed = false;
    blob->is_assembled = blob->manifest != NULL;
}

static void refuse(struct blob *blob)
{
    http_response_header(blob->call->request, "Retry-After", SLICE("1"));
    blob_reply_empty(blob, 503);
}

static void on_made(struct image_job *job)
{
    struct picture *picture = (struct picture *)((char *)job - offsetof(struct picture, job));
    struct blob *blob = picture->blob;
    blob->picture = job->entry;
    if (!blob->picture) {
        refuse(blob);
        return;
    }
    take(blob);
    picture->next(blob);
}

static void submit(struct blob *blob)
{
    struct picture *picture = blob->making;
    struct image_service *images = blob->call->http->images;
    image_service_leave(images, blob->entered_bytes);
    blob->entered_bytes = 0;
    picture->job.source = blob->content;
    if (image_service_submit(images, &picture->job) != 0)
        refuse(blob);
}

static void make(struct blob *blob, const struct image_key *key, void (*next)(struct blob *blob))
{
    struct picture *picture = arena_calloc(blob->call->request->arena, sizeof(*picture));
    picture->blob = blob;
    picture->next = next;
    picture->job.key = *key;
    picture->job.loop = blob->call->request->loop;
    picture->job.done = on_made;
    blob->making = picture;
    if (!blob->manifest) {
        submit(blob);
    } else if (image_service_enter(blob->call->http->images, blob->content.len)) {
        blob->entered_bytes = blob->content.len;
        blob_chunks_assemble(blob, submit);
    } else {
        refuse(blob);
    }
}

bool blob_image_start(struct blob *blob, void (*next)(struct blob *blob))
{
    struct image_request request;
    if (blob->picture) {
        take(blob);
        return false;
    }
    if (blob->is_streamed || blob->call->request->query.len == 0 || blob->content.len == 0 ||
        blob->content.len > IMAGE_SOURCE_MAX || !read_request(blob, extension_of(blob), &request))
        return false;
    struct image_key key = key_of(blob, &request, blob->content.len);
    blob->picture = image_service_find(blob->call->http->images, &key);
    if (blob->picture) {
        take(blob);
        return false;
    }
    make(blob, &key, next);
    return true;
}
