/* Percent-encoding, query strings and path cleaning as Go's net/url and net/http do them.
 * Source: RFC 3986, spec/volume-http.md 3.1 and 14.1. Pure; any thread. */
#pragma once

#include "common/arena.h"
#include "common/buffer.h"
#include "common/error.h"

/* A path: "%2C" becomes ",", "+" stays. KELP_E_INVALID `invalid URL escape "%zz"` for a bad escape.
 * The result is in the arena and terminated, or is `raw` itself when nothing had to be decoded. */
int url_decode_path(struct arena *arena, struct slice raw, struct slice *ret, struct error *err);
/* A query name or value: as above, and "+" becomes a blank. */
int url_decode_query(struct arena *arena, struct slice raw, struct slice *ret, struct error *err);

/* Everything but letters, digits and "-_.~" is encoded; a blank becomes "+" (Go's QueryEscape). */
void url_encode_query(struct buffer *out, struct slice text);
/* A whole path: "/" and "$&+,:;=@" stay as they are (Go's EscapedPath). */
void url_encode_path(struct buffer *out, struct slice text);

/* Walks "a=1&b&c=3": takes the next pair off `*rest`, still encoded; false at the end. Pairs that
 * hold a ';' are skipped, as the peer does. */
bool url_query_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value);
/* First value of that (decoded) name, decoded into the arena; ptr is NULL when absent. Pairs that
 * do not decode are skipped. */
struct slice url_query_get(struct arena *arena, struct slice query, const char *name);
/* What the peer's form parse complains about: a bad escape, or
 * `invalid semicolon separator in query`. */
int url_query_check(struct slice query, struct error *err);

/* Go's ServeMux cleaning: "//", "/./" and "/../" are resolved, a slash at the end is kept, the
 * result starts with "/". True (and *ret in the arena) when the path was not clean and the client
 * has to be redirected with 307; false when it is clean. `path` is decoded. */
bool url_clean_path(struct arena *arena, struct slice path, struct slice *ret);

/* "scheme://host:port/path?query" in its parts; scheme and authority are empty for "/path". */
struct url_parts {
    struct slice scheme, authority, path, query;
};
void url_split(struct slice url, struct url_parts *ret);
