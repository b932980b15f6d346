/* The Range header of a GET, by the rules of the released peer, and multipart/byteranges.
 * Source: spec/volume-http.md 9. Pure; any thread. */
#pragma once

#include "common/arena.h"

enum http_range_outcome {
    HTTP_RANGE_NONE,  /* no Range header: 200 with all of it */
    HTTP_RANGE_EMPTY, /* 200, no body, Content-Length: 0 (no items, or more bytes than there are) */
    HTTP_RANGE_SINGLE,     /* 206 with ranges[0] */
    HTTP_RANGE_MULTIPLE,   /* 206 multipart/byteranges */
    HTTP_RANGE_INVALID,    /* 416, "invalid range\n", text/plain; charset=utf-8, nosniff */
    HTTP_RANGE_NO_OVERLAP, /* 416, "invalid range: failed to overlap\n", http_range_unsatisfied */
};

struct http_range {
    uint64_t start, length; /* length may be 0; start + length <= size */
};

struct http_range_set {
    enum http_range_outcome outcome;
    struct http_range *ranges; /* in the arena, in the order of the request */
    size_t count;
};

/* `header` with ptr NULL or len 0: none. `size`: of the representation that would be sent. */
void http_range_parse(struct arena *arena, struct slice header, uint64_t size,
                      struct http_range_set *ret);

/* "bytes 0-1/10"; a range of no bytes prints end = start - 1. The second form,
 * with a star in place of the range, goes with HTTP_RANGE_NO_OVERLAP. */
struct slice http_range_content_range(struct arena *arena, struct http_range range, uint64_t size);
struct slice http_range_unsatisfied(struct arena *arena, uint64_t size);

/* What comes before the data of part `index` (with the line break that ends the part before), what
 * comes after the last, and the length of the whole body. `mime` may be empty. */
struct slice http_range_part_head(struct arena *arena, const struct http_range_set *set,
                                  size_t index, uint64_t size, struct slice mime,
                                  const char *boundary);
struct slice http_range_multipart_end(struct arena *arena, const char *boundary);
uint64_t http_range_multipart_length(const struct http_range_set *set, uint64_t size,
                                     struct slice mime, const char *boundary);
