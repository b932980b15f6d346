/* Header values of the form `type/sub; name=value; name*=utf-8''v%20w`, as Go's mime.ParseMediaType
 * reads them: Content-Type and Content-Disposition. Source: RFC 2045, 2231. Pure; any thread. */
#pragma once

#include "common/arena.h"
#include "common/buffer.h"
#include "common/error.h"

struct media_type_param {
    struct slice name;  /* lower case */
    struct slice value; /* unquoted, RFC 2231 decoded and continuations joined */
};

struct media_type {
    struct slice type; /* lower case, without parameters */
    const struct media_type_param *params;
    size_t param_count;
};

/* KELP_E_INVALID with the peer's text: `mime: no media type`, `mime: invalid media parameter`,
 * `mime: duplicate parameter name`, ... Everything in *ret is in the arena. */
int media_type_parse(struct arena *arena, struct slice value, struct media_type *ret,
                     struct error *err);
/* ptr is NULL when absent. `name` in lower case. */
struct slice media_type_param(const struct media_type *type, const char *name);

/* Appends `; name=value`: bare when the value is a token, quoted when it is printable ASCII, else
 * `name*=utf-8''...` (spec/volume-http.md 8.15). */
void media_type_append_param(struct buffer *out, const char *name, struct slice value);
