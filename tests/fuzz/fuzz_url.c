/* Targets, queries and paths of URLs. */
#include "tests/fuzz/fuzz.h"

#include "common/url.h"

static void check_coding(struct arena *arena, struct slice text)
{
    struct buffer encoded = BUFFER_INIT;
    struct slice again;
    url_encode_query(&encoded, text);
    CHECK(url_decode_query(arena, buffer_slice(&encoded), &again, NULL) == 0);
    CHECK(slice_equals(again, text));
    buffer_clear(&encoded);
    url_encode_path(&encoded, text);
    CHECK(url_decode_path(arena, buffer_slice(&encoded), &again, NULL) == 0);
    CHECK(slice_equals(again, text));
    buffer_fini(&encoded);
}

static void check_query(struct arena *arena, struct slice query)
{
    struct slice rest = query, name, value;
    size_t pairs = 0;
    while (url_query_next(&rest, &name, &value)) {
        CHECK(fuzz_lies_within(name, query) && fuzz_lies_within(value, query));
        CHECK(++pairs <= query.len + 1);
    }
    struct error err;
    url_query_check(query, &err);
    url_query_get(arena, query, "a");
}

static void check_path(struct arena *arena, struct slice raw)
{
    struct slice path, clean, twice;
    struct error err;
    if (url_decode_path(arena, raw, &path, &err) != 0)
        return;
    CHECK(path.len <= raw.len);
    if (!url_clean_path(arena, path, &clean))
        return;
    CHECK(clean.len > 0 && clean.ptr[0] == '/');
    CHECK(!memmem(clean.ptr, clean.len, "//", 2) && !memmem(clean.ptr, clean.len, "/../", 4));
    CHECK(!url_clean_path(arena, clean, &twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice text = slice_of(bytes, input_size);
    struct arena arena;
    arena_init(&arena);
    struct url_parts parts;
    url_split(text, &parts);
    CHECK(fuzz_lies_within(parts.scheme, text) && fuzz_lies_within(parts.authority, text));
    CHECK(fuzz_lies_within(parts.path, text) && fuzz_lies_within(parts.query, text));
    check_path(&arena, parts.path);
    check_query(&arena, parts.query);
    check_coding(&arena, text);
    arena_fini(&arena);
    return 0;
}
