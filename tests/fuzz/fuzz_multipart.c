/* multipart/form-data: the Content-Type up to the first line feed, then the body. */
#include "tests/fuzz/fuzz.h"

#include "common/http_multipart.h"

#define BOUNDARY "kelp-fuzz-2718281828459045"

/* What was taken as a file goes to a replica and must be read there as the same. */
static void check_round_trip(struct arena *arena, const struct http_multipart_part *part)
{
    if (memmem(part->data.ptr, part->data.len, BOUNDARY, sizeof(BOUNDARY) - 1))
        return;
    struct buffer body = BUFFER_INIT;
    http_multipart_begin(&body, BOUNDARY, part);
    buffer_append_slice(&body, part->data);
    http_multipart_end(&body, BOUNDARY);
    struct http_multipart_part again;
    CHECK(http_multipart_parse(arena, SLICE("multipart/form-data; boundary=" BOUNDARY),
                               buffer_slice(&body), &again, NULL) == 0);
    CHECK(slice_equals(again.data, part->data));
    CHECK(slice_equals(again.content_type, part->content_type));
    CHECK(slice_equals(again.content_md5, part->content_md5));
    buffer_fini(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice body = slice_of(bytes, input_size);
    struct slice type = fuzz_take_until(&body, '\n');
    struct arena arena;
    arena_init(&arena);
    struct http_multipart_part part;
    struct error err;
    if (http_multipart_parse(&arena, type, body, &part, &err) == 0) {
        CHECK(part.data.len <= body.len && part.filename.len <= body.len);
        check_round_trip(&arena, &part);
    }
    arena_fini(&arena);
    return 0;
}
