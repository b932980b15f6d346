/* Range headers: 8 bytes of size, then the header. */
#include "tests/fuzz/fuzz.h"

#include "common/http_range.h"

#define BOUNDARY "0123456789abcdef"

static void check_multipart(struct arena *arena, const struct http_range_set *set, uint64_t size)
{
    struct slice mime = SLICE("image/png");
    uint64_t total = http_range_multipart_end(arena, BOUNDARY).len;
    for (size_t i = 0; i < set->count; i++)
        total += http_range_part_head(arena, set, i, size, mime, BOUNDARY).len + set->ranges[i].length;
    CHECK(total == http_range_multipart_length(set, size, mime, BOUNDARY));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    uint64_t size = fuzz_take_u64(&input) >> 1; /* a size fits an int64 */
    struct arena arena;
    arena_init(&arena);
    struct http_range_set set;
    http_range_parse(&arena, input, size, &set);
    uint64_t sum = 0;
    for (size_t i = 0; i < set.count; i++) {
        CHECK(set.ranges[i].start <= size && set.ranges[i].length <= size - set.ranges[i].start);
        sum += sum > size ? 0 : set.ranges[i].length;
        http_range_content_range(&arena, set.ranges[i], size);
    }
    if (set.outcome == HTTP_RANGE_SINGLE)
        CHECK(set.count == 1);
    if (set.outcome == HTTP_RANGE_MULTIPLE) {
        CHECK(set.count > 1 && sum <= size);
        check_multipart(&arena, &set, size);
    }
    http_range_unsatisfied(&arena, size);
    arena_fini(&arena);
    return 0;
}
