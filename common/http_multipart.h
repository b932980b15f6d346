/* multipart/form-data: reading the one file of an upload, and writing one for a replica.
 * Source: RFC 2046, spec/volume-http.md 14.3 and 14.8. Pure; any thread. */
#pragma once

#include "common/arena.h"
#include "common/buffer.h"
#include "common/error.h"

struct http_multipart_part {
    struct slice data;             /* points into the body, or into the arena when it was decoded */
    struct slice filename;         /* base name; empty: none */
    struct slice content_type;     /* as sent; empty: none */
    struct slice content_md5;      /* as sent; empty: none */
    struct slice content_encoding; /* as sent; empty: none */
    bool is_gzip;                  /* content_encoding is exactly "gzip" */
};

/* Picks the part of a complete body that the peer would store: the first one, or, when that has no
 * file name, the first later one that has. KELP_E_INVALID with the peer's text: `request
 * Content-Type isn't multipart/form-data`, `no multipart boundary param in Content-Type`,
 * `multipart: NextPart: EOF`, `unexpected EOF`, ... */
int http_multipart_parse(struct arena *arena, struct slice content_type, struct slice body,
                         struct http_multipart_part *ret, struct error *err);

/* Everything before the data of a body with one part named `file`; then append the data, then the
 * end. The request's Content-Type is "multipart/form-data; boundary=<boundary>". `boundary` is at
 * most 70 token characters that the data does not hold; draw it at random. Empty members are left
 * out; data and is_gzip are not looked at. */
void http_multipart_begin(struct buffer *out, const char *boundary,
                          const struct http_multipart_part *part);
void http_multipart_end(struct buffer *out, const char *boundary);
