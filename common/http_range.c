/* Range headers, as the released peer takes them: a list that starts with exactly "bytes=", items
 * that lie wholly behind the end are dropped, anything malformed makes the whole header invalid.
 * Where the peer lets a negative suffix through to a broken answer, this says invalid. */
#include "common/http_range.h"

#include <inttypes.h>
#include <stdio.h>

static struct slice trim(struct slice s)
{
    while (s.len > 0 && (s.ptr[0] == ' ' || s.ptr[0] == '\t'))
        s = slice_from(s, 1);
    while (s.len > 0 && (s.ptr[s.len - 1] == ' ' || s.ptr[s.len - 1] == '\t'))
        s.len--;
    return s;
}

/* Signed decimal within int64, as Go parses it; negative ones are refused by all who ask. */
static bool parse_number(struct slice s, uint64_t *ret)
{
    if (s.len > 0 && s.ptr[0] == '+')
        s = slice_from(s, 1);
    if (s.len == 0)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (value > (INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret = value;
    return true;
}

enum item { ITEM_RANGE, ITEM_BEHIND, ITEM_INVALID };

static enum item parse_item(struct slice item, uint64_t size, struct http_range *ret)
{
    ptrdiff_t dash = slice_find(item, '-');
    if (dash < 0)
        return ITEM_INVALID;
    struct slice first = trim(slice_until(item, (size_t)dash));
    struct slice last = trim(slice_from(item, (size_t)dash + 1));
    uint64_t start, end;
    if (first.len == 0) {
        if (!parse_number(last, &end))
            return ITEM_INVALID;
        ret->length = end < size ? end : size;
        ret->start = size - ret->length;
        return ITEM_RANGE;
    }
    if (!parse_number(first, &start))
        return ITEM_INVALID;
    if (start >= size)
        return ITEM_BEHIND;
    if (last.len == 0)
        end = size - 1;
    else if (!parse_number(last, &end) || end < start)
        return ITEM_INVALID;
    if (end >= size)
        end = size - 1;
    *ret = (struct http_range){start, end - start + 1};
    return ITEM_RANGE;
}

static size_t count_items(struct slice list)
{
    size_t count = 1;
    for (size_t i = 0; i < list.len; i++)
        count += list.ptr[i] == ',';
    return count;
}

void http_range_parse(struct arena *arena, struct slice header, uint64_t size,
                      struct http_range_set *ret)
{
    *ret = (struct http_range_set){HTTP_RANGE_NONE, NULL, 0};
    if (header.len == 0)
        return;
    if (!slice_starts(header, SLICE("bytes="))) {
        ret->outcome = HTTP_RANGE_INVALID;
        return;
    }
    struct slice rest = slice_from(header, 6);
    ret->ranges = arena_alloc(arena, count_items(rest) * sizeof(*ret->ranges));
    bool has_behind = false;
    uint64_t sum = 0;
    for (bool more = true; more;) {
        ptrdiff_t comma = slice_find(rest, ',');
        struct slice item = trim(comma < 0 ? rest : slice_until(rest, (size_t)comma));
        more = comma >= 0;
        rest = more ? slice_from(rest, (size_t)comma + 1) : rest;
        if (item.len == 0)
            continue;
        struct http_range *range = &ret->ranges[ret->count];
        switch (parse_item(item, size, range)) {
        case ITEM_INVALID:
            ret->outcome = HTTP_RANGE_INVALID;
            ret->count = 0;
            return;
        case ITEM_BEHIND:
            has_behind = true;
            break;
        case ITEM_RANGE:
            ret->count++;
            /* Each is at most `size`, so stopping the sum there keeps it from wrapping. */
            sum = sum > size ? sum : sum + range->length;
        }
    }
    if (ret->count == 0)
        ret->outcome = has_behind ? HTTP_RANGE_NO_OVERLAP : HTTP_RANGE_EMPTY;
    else if (sum > size)
        ret->outcome = HTTP_RANGE_EMPTY;
    else
        ret->outcome = ret->count == 1 ? HTTP_RANGE_SINGLE : HTTP_RANGE_MULTIPLE;
}

struct slice http_range_content_range(struct arena *arena, struct http_range range, uint64_t size)
{
    return slice_cstr(arena_printf(arena, "bytes %" PRIu64 "-%" PRId64 "/%" PRIu64, range.start,
                                   (int64_t)(range.start + range.length) - 1, size));
}

struct slice http_range_unsatisfied(struct arena *arena, uint64_t size)
{
    return slice_cstr(arena_printf(arena, "bytes */%" PRIu64, size));
}

#define PART_HEAD                                                                                  \
    "%s--%s\r\nContent-Range: bytes %" PRIu64 "-%" PRId64 "/%" PRIu64                              \
    "\r\nContent-Type: %.*s\r\n\r\n"
#define PART_HEAD_ARGUMENTS(index, boundary, range, size, mime)                                    \
    (index) > 0 ? "\r\n" : "", boundary, (range).start,                                            \
        (int64_t)((range).start + (range).length) - 1, size, (int)(mime).len, (mime).ptr

struct slice http_range_part_head(struct arena *arena, const struct http_range_set *set,
                                  size_t index, uint64_t size, struct slice mime,
                                  const char *boundary)
{
    struct http_range range = set->ranges[index];
    if (mime.len == 0)
        mime = SLICE("");
    return slice_cstr(
        arena_printf(arena, PART_HEAD, PART_HEAD_ARGUMENTS(index, boundary, range, size, mime)));
}

struct slice http_range_multipart_end(struct arena *arena, const char *boundary)
{
    return slice_cstr(arena_printf(arena, "\r\n--%s--\r\n", boundary));
}

uint64_t http_range_multipart_length(const struct http_range_set *set, uint64_t size,
                                     struct slice mime, const char *boundary)
{
    if (mime.len == 0)
        mime = SLICE("");
    uint64_t total = strlen(boundary) + 8;
    for (size_t i = 0; i < set->count; i++) {
        struct http_range range = set->ranges[i];
        int head =
            snprintf(NULL, 0, PART_HEAD, PART_HEAD_ARGUMENTS(i, boundary, range, size, mime));
        total += (uint64_t)head + range.length;
    }
    return total;
}
