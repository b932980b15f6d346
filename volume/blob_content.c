/* The order of the steps is the contract: conditions first, so that a 304 is cheap; then what is
 * stored (pairs, name, type); then the body's form; then what the URL overrides; then ranges,
 * which are of the body as it would be sent. */
#include "volume/blob_content.h"

#include "common/gzip.h"
#include "common/http_date.h"
#include "common/http_range.h"
#include "common/mime.h"
#include "volume/blob_chunks.h"
#include "volume/blob_headers.h"
#include "volume/blob_image.h"
#include "volume/blob_stream.h"

#include <inttypes.h>
#include <stdio.h>

/* Up to here unpacking is done on the loop. */
#define UNPACK_ON_LOOP_MAX (128u << 10)
#define UNPACK_MAX         (2ull << 30)

static void send_content(struct blob *blob);

/* ---- conditions ---- */

static bool is_not_modified(struct blob *blob, struct slice etag)
{
    struct http_request *request = blob->call->request;
    int64_t modified = (int64_t)blob->needle.last_modified;
    if (modified > 0) {
        char date[HTTP_DATE_SIZE];
        http_date_format(modified, date);
        http_response_header(request, "Last-Modified", slice_of(date, HTTP_DATE_SIZE - 1));
        int64_t since;
        struct slice condition = http_request_header(request, "If-Modified-Since");
        if (condition.len > 0 && http_date_parse(condition, &since) && since >= modified)
            return true;
    }
    struct slice match = http_request_header(request, "If-None-Match");
    return match.len > 0 && slice_equals(match, etag);
}

/* ---- the body's form ---- */

static bool client_takes_gzip(struct blob *blob)
{
    struct slice accepted = http_request_header(blob->call->request, "Accept-Encoding");
    return accepted.len >= 4 && memmem(accepted.ptr, accepted.len, "gzip", 4) != NULL;
}

static void unpack(struct blob *blob)
{
    size_t size;
    blob->code = gzip_decompress(blob->needle.data, UNPACK_MAX, &blob->unpacked, &size, NULL);
    if (blob->code == 0)
        blob->content = slice_of(blob->unpacked, size);
}

static void respond_unpacked(struct blob *blob);

static void finish_unpacking(struct blob *blob)
{
    if (blob->code == KELP_E_TOO_LARGE) {
        blob_free(blob);
        blob_call_reply_error(blob->call, 413, "compressed object exceeds decompression limit");
        return;
    }
    if (blob->code == KELP_E_NO_MEMORY) {
        http_response_header(blob->call->request, "Retry-After", SLICE("1"));
        blob_reply_empty(blob, 503);
        return;
    }
    /* A stream that does not unpack is an empty body to the peer's clients. */
    if (blob->code != 0)
        blob->content = (struct slice){"", 0};
    respond_unpacked(blob);
}

static void unpack_content(struct blob *blob)
{
    struct slice data = blob->needle.data;
    size_t size;
    /* Small ones here; the limit keeps one that swells from holding up the loop. */
    blob->code = data.len > UNPACK_ON_LOOP_MAX
                     ? KELP_E_TOO_LARGE
                     : gzip_decompress(data, UNPACK_ON_LOOP_MAX, &blob->unpacked, &size, NULL);
    if (blob->code == KELP_E_TOO_LARGE) {
        blob_offload(blob, unpack, finish_unpacking);
        return;
    }
    if (blob->code == 0)
        blob->content = slice_of(blob->unpacked, size);
    finish_unpacking(blob);
}

void blob_content_respond(struct blob *blob)
{
    char text[BLOB_ETAG_SIZE];
    struct slice etag = blob_call_etag(blob->needle.checksum, text);
    if (is_not_modified(blob, etag)) {
        blob_reply_empty(blob, 304);
        return;
    }
    http_response_header(blob->call->request, "Etag", etag);
    bool is_expanded = (blob->needle.flags & NEEDLE_IS_CHUNK_MANIFEST) &&
                       !blob_call_query_is(blob->call, "cm", "false");
    if (!(blob->needle.flags & NEEDLE_IS_GZIP) || !gzip_is_compressed(blob->needle.data)) {
        respond_unpacked(blob);
    } else if (!is_expanded && client_takes_gzip(blob) && !blob_image_is_wanted(blob)) {
        blob_headers_stored(blob);
        http_response_set_header(blob->call->request, "Content-Encoding", SLICE("gzip"));
        blob->has_encoding = true;
        send_content(blob);
    } else {
        unpack_content(blob);
    }
}

/* A manifest that does not parse is served as it is. */
static void expand_manifest(struct blob *blob)
{
    struct arena *arena = blob->call->request->arena;
    struct blob_manifest *manifest = arena_alloc(arena, sizeof(*manifest));
    if (blob_manifest_parse(arena, blob->content, manifest, NULL) != 0)
        return;
    blob->manifest = manifest;
    blob->content = (struct slice){NULL, manifest->total};
}

static void respond_unpacked(struct blob *blob)
{
    if ((blob->needle.flags & NEEDLE_IS_CHUNK_MANIFEST) &&
        !blob_call_query_is(blob->call, "cm", "false"))
        expand_manifest(blob);
    blob_headers_stored(blob);
    if (!blob_image_start(blob, send_content))
        send_content(blob);
}

/* ---- sending ---- */

static void sniff(struct blob *blob, struct slice body)
{
    if (!blob->has_type && !blob->has_encoding && body.len > 0)
        http_response_set_header(blob->call->request, "Content-Type", mime_sniff(body));
}

static void send_slice(struct blob *blob, int status, struct slice body)
{
    sniff(blob, body);
    blob_let_go(blob);
    bool is_owned = blob->is_record_malloced || blob->around || blob->unpacked || blob->picture;
    blob_call_reply(blob->call, status, body, is_owned ? blob_free : NULL, blob);
}

static void stream(struct blob *blob, const struct blob_stream_plan *plan)
{
    if (blob->manifest && !blob->is_assembled)
        blob_chunks_start(blob, blob->manifest, plan);
    else
        blob_stream_start(blob, plan);
}

static void send_range(struct blob *blob, const struct http_range *range, uint64_t size)
{
    struct http_request *request = blob->call->request;
    int status = 200;
    if (blob->is_ranged) {
        status = 206;
        http_response_set_header(request, "Content-Range",
                                 http_range_content_range(request->arena, *range, size));
    }
    bool is_here = !blob->is_streamed && (!blob->manifest || blob->is_assembled);
    if (is_here || range->length == 0) {
        struct slice body = {"", 0};
        if (blob->part.len > 0)
            body = blob->part;
        else if (range->length > 0)
            body = slice_until(slice_from(blob->content, range->start), range->length);
        send_slice(blob, status, body);
        return;
    }
    struct blob_stream_segment *segment = arena_calloc(request->arena, sizeof(*segment));
    segment->position = range->start;
    segment->length = range->length;
    stream(blob, &(struct blob_stream_plan){
                                .status = status,
                                .segments = segment,
                                .segment_count = 1,
                                .total_length = range->length,
                                .is_to_sniff = !blob->has_type && !blob->has_encoding,
                            });
}

static char *make_boundary(struct blob *blob)
{
    char *text = arena_alloc(blob->call->request->arena, 64);
    for (int i = 0; i < 4; i++)
        snprintf(text + i * 15, 16, "%015llx",
                 (unsigned long long)(blob_lane_random(blob->call->lane) >> 4));
    return text;
}

static void send_ranges(struct blob *blob, const struct http_range_set *set, uint64_t size)
{
    struct http_request *request = blob->call->request;
    struct arena *arena = request->arena;
    const char *boundary = make_boundary(blob);
    http_response_set_header(
        request, "Content-Type",
        slice_cstr(arena_printf(arena, "multipart/byteranges; boundary=%s", boundary)));
    struct blob_stream_segment *segments = arena_calloc(arena, set->count * sizeof(*segments));
    for (size_t i = 0; i < set->count; i++) {
        segments[i].head = http_range_part_head(arena, set, i, size, blob->type, boundary);
        segments[i].position = set->ranges[i].start;
        segments[i].length = set->ranges[i].length;
    }
    stream(blob, &(struct blob_stream_plan){
                                .status = 206,
                                .segments = segments,
                                .segment_count = set->count,
                                .tail = http_range_multipart_end(arena, boundary),
                                .total_length =
                                    http_range_multipart_length(set, size, blob->type, boundary),
                            });
}

static void refuse_range(struct blob *blob, const struct http_range_set *set, uint64_t size)
{
    struct http_request *request = blob->call->request;
    bool is_outside = set->outcome == HTTP_RANGE_NO_OVERLAP;
    if (is_outside)
        http_response_set_header(request, "Content-Range",
                                 http_range_unsatisfied(request->arena, size));
    blob_let_go(blob);
    blob_free(blob);
    blob_call_reply_text(blob->call, 416,
                         is_outside ? "invalid range: failed to overlap" : "invalid range");
}

static void send_content(struct blob *blob)
{
    struct http_request *request = blob->call->request;
    uint64_t size = blob->content.len;
    http_response_set_header(request, "Accept-Ranges", SLICE("bytes"));
    blob_headers_asked(blob);
    if (blob->call->kind == BLOB_CALL_HEAD) {
        blob_let_go(blob);
        blob_free(blob);
        blob_call_reply_head(blob->call, 200, size);
        return;
    }
    struct http_range_set set = {.outcome = HTTP_RANGE_NONE};
    struct slice header = http_request_header(request, "Range");
    if (header.len > 0)
        http_range_parse(request->arena, header, size, &set);
    blob->is_ranged = set.outcome != HTTP_RANGE_NONE;
    switch (set.outcome) {
    case HTTP_RANGE_NONE:
        send_range(blob, &(struct http_range){0, size}, size);
        break;
    case HTTP_RANGE_EMPTY:
        send_slice(blob, 200, (struct slice){"", 0});
        break;
    case HTTP_RANGE_SINGLE:
        send_range(blob, &set.ranges[0], size);
        break;
    case HTTP_RANGE_MULTIPLE:
        send_ranges(blob, &set, size);
        break;
    case HTTP_RANGE_INVALID:
    case HTTP_RANGE_NO_OVERLAP:
        refuse_range(blob, &set, size);
        break;
    }
}
