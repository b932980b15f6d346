/* Media types and their parameters.
 *
 * Follows Go's mime.ParseMediaType, whose texts clients see: the type before the first ';' has to
 * be a token, optionally with one '/'; each parameter is `; name=value` with a token or a quoted
 * string; a lonely ';' at the end is fine. `name*=`, `name*0=`, `name*0*=`, ... are put together
 * afterwards. */
#include "common/media_type.h"

#include "common/hex.h"
#include "common/http_token.h"

#include <ctype.h>
#include <stdlib.h>

#define PARAM_LIMIT 64

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static struct slice trim_left(struct slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0]))
        s = slice_from(s, 1);
    return s;
}

static struct slice trim(struct slice s)
{
    s = trim_left(s);
    while (s.len > 0 && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static struct slice lower(struct arena *arena, struct slice s)
{
    char *text = arena_strndup(arena, s.ptr, s.len);
    for (size_t i = 0; i < s.len; i++)
        text[i] = (char)tolower((unsigned char)text[i]);
    return slice_of(text, s.len);
}

/* Takes the token at the start off *rest; empty when there is none. */
static struct slice take_token(struct slice *rest)
{
    size_t n = 0;
    while (n < rest->len && http_is_token_char(rest->ptr[n]))
        n++;
    struct slice token = slice_until(*rest, n);
    *rest = slice_from(*rest, n);
    return token;
}

/* Takes a token or a quoted string; false when it is neither. A backslash is taken for an escape
 * only before what has to be escaped, because browsers send Windows paths with single ones. */
static bool take_value(struct arena *arena, struct slice *rest, struct slice *ret)
{
    if (rest->len == 0 || rest->ptr[0] != '"') {
        *ret = arena_slice(arena, take_token(rest));
        return ret->len > 0;
    }
    char *text = arena_alloc(arena, rest->len + 1);
    size_t n = 0;
    for (size_t i = 1; i < rest->len; i++) {
        char c = rest->ptr[i];
        if (c == '"') {
            text[n] = '\0';
            *ret = slice_of(text, n);
            *rest = slice_from(*rest, i + 1);
            return true;
        }
        if (c == '\r' || c == '\n')
            return false;
        if (c == '\\' && i + 1 < rest->len && (rest->ptr[i + 1] == '"' || rest->ptr[i + 1] == '\\'))
            c = rest->ptr[++i];
        text[n++] = c;
    }
    return false;
}

/* Takes `; name=value`; false when there is none, and *rest is then as before. */
static bool take_param(struct arena *arena, struct slice *rest, struct media_type_param *ret)
{
    struct slice s = trim_left(*rest);
    if (s.len == 0 || s.ptr[0] != ';')
        return false;
    s = trim_left(slice_from(s, 1));
    struct slice name = take_token(&s);
    if (name.len == 0)
        return false;
    s = trim_left(s);
    if (s.len == 0 || s.ptr[0] != '=')
        return false;
    s = trim_left(slice_from(s, 1));
    if (!take_value(arena, &s, &ret->value))
        return false;
    ret->name = lower(arena, name);
    *rest = s;
    return true;
}

static bool percent_decode(struct arena *arena, struct slice s, struct slice *ret)
{
    char *text = arena_alloc(arena, s.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '%') {
            if (i + 2 >= s.len || hex_digit(s.ptr[i + 1]) < 0 || hex_digit(s.ptr[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(s.ptr[i + 1]) << 4 | hex_digit(s.ptr[i + 2]));
            i += 2;
        }
        text[n++] = c;
    }
    text[n] = '\0';
    *ret = slice_of(text, n);
    return true;
}

/* charset'language'percent-encoded, of RFC 2231; only the two charsets that need no conversion. */
static bool decode_extended(struct arena *arena, struct slice value, struct slice *ret)
{
    ptrdiff_t first = slice_find(value, '\'');
    if (first < 0)
        return false;
    struct slice charset = slice_until(value, (size_t)first),
                 rest = slice_from(value, (size_t)first + 1);
    ptrdiff_t second = slice_find(rest, '\'');
    if (second < 0 || (!slice_equals_nocase(charset, SLICE("us-ascii")) &&
                       !slice_equals_nocase(charset, SLICE("utf-8"))))
        return false;
    return percent_decode(arena, slice_from(rest, (size_t)second + 1), ret);
}

static const struct media_type_param *find(const struct media_type_param *params, size_t count,
                                           struct slice name)
{
    for (size_t i = 0; i < count; i++)
        if (slice_equals(params[i].name, name))
            return &params[i];
    return NULL;
}

/* The value of `base` out of base*, or of base*0, base*0*, base*1, ...; false when there is none.
 */
static bool join_extended(struct arena *arena, const struct media_type_param *params, size_t count,
                          struct slice base, struct slice *ret)
{
    const struct media_type_param *p =
        find(params, count, slice_cstr(arena_printf(arena, "%.*s*", (int)base.len, base.ptr)));
    if (p)
        return decode_extended(arena, p->value, ret);
    struct buffer joined = BUFFER_INIT;
    bool is_valid = false;
    for (unsigned n = 0;; n++) {
        const char *name = arena_printf(arena, "%.*s*%u", (int)base.len, base.ptr, n);
        p = find(params, count, slice_cstr(name));
        if (p) {
            is_valid = true;
            buffer_append_slice(&joined, p->value);
            continue;
        }
        p = find(params, count, slice_cstr(arena_printf(arena, "%s*", name)));
        struct slice value;
        if (!p)
            break;
        is_valid = true;
        if (n == 0 ? decode_extended(arena, p->value, &value)
                   : percent_decode(arena, p->value, &value))
            buffer_append_slice(&joined, value);
    }
    if (is_valid)
        *ret = arena_slice(arena, buffer_slice(&joined));
    buffer_fini(&joined);
    return is_valid;
}

/* Adds what the starred parameters amount to; the plain one of the same name comes second. */
static size_t merge(struct arena *arena, const struct media_type_param *raw, size_t raw_count,
                    struct media_type_param *merged)
{
    size_t count = 0;
    for (size_t i = 0; i < raw_count; i++) {
        ptrdiff_t star = slice_find(raw[i].name, '*');
        struct slice base = star < 0 ? raw[i].name : slice_until(raw[i].name, (size_t)star), value;
        if (find(merged, count, base))
            continue;
        if (star < 0)
            merged[count++] = raw[i];
        else if (!find(raw, raw_count, base) && join_extended(arena, raw, raw_count, base, &value))
            merged[count++] = (struct media_type_param){base, value};
    }
    return count;
}

static int check_type(struct slice type, struct error *err)
{
    struct slice rest = type;
    struct slice major = take_token(&rest);
    if (major.len == 0)
        return error_set(err, KELP_E_INVALID, "mime: no media type");
    if (rest.len == 0)
        return 0;
    if (rest.ptr[0] != '/')
        return error_set(err, KELP_E_INVALID, "mime: expected slash after first token");
    rest = slice_from(rest, 1);
    if (take_token(&rest).len == 0)
        return error_set(err, KELP_E_INVALID, "mime: expected token after slash");
    if (rest.len != 0)
        return error_set(err, KELP_E_INVALID, "mime: unexpected content after media subtype");
    return 0;
}

int media_type_parse(struct arena *arena, struct slice value, struct media_type *ret,
                     struct error *err)
{
    ptrdiff_t semicolon = slice_find(value, ';');
    struct slice type = semicolon < 0 ? value : slice_until(value, (size_t)semicolon);
    struct slice rest = slice_from(value, type.len);
    type = trim(type);
    int code = check_type(type, err);
    if (code < 0)
        return code;
    struct media_type_param *raw = arena_alloc(arena, PARAM_LIMIT * sizeof(*raw));
    size_t count = 0;
    while (rest.len > 0 && trim(rest).len > 0) {
        struct media_type_param param;
        if (!take_param(arena, &rest, &param)) {
            if (slice_equals(trim(rest), SLICE(";")))
                break;
            return error_set(err, KELP_E_INVALID, "mime: invalid media parameter");
        }
        if (count == PARAM_LIMIT || find(raw, count, param.name))
            return error_set(err, KELP_E_INVALID, "mime: duplicate parameter name");
        raw[count++] = param;
    }
    struct media_type_param *merged = arena_alloc(arena, (count + 1) * sizeof(*merged));
    ret->param_count = merge(arena, raw, count, merged);
    ret->params = merged;
    ret->type = lower(arena, type);
    return 0;
}

struct slice media_type_param(const struct media_type *type, const char *name)
{
    const struct media_type_param *p = find(type->params, type->param_count, slice_cstr(name));
    return p ? p->value : (struct slice){NULL, 0};
}

static bool needs_encoding(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c < ' ' && c != '\t') || c >= 0x7f)
            return true;
    }
    return false;
}

void media_type_append_param(struct buffer *out, const char *name, struct slice value)
{
    buffer_append_text(out, "; ");
    buffer_append_text(out, name);
    if (needs_encoding(value)) {
        buffer_append_text(out, "*=utf-8''");
        for (size_t i = 0; i < value.len; i++) {
            char c = value.ptr[i];
            if (http_is_token_char(c) && !strchr("*'%", c))
                buffer_append_char(out, c);
            else
                buffer_printf(out, "%%%02X", (unsigned char)c);
        }
        return;
    }
    buffer_append_char(out, '=');
    if (http_is_token(value)) {
        buffer_append_slice(out, value);
        return;
    }
    buffer_append_char(out, '"');
    for (size_t i = 0, run = 0; i <= value.len; i++) {
        if (i < value.len && value.ptr[i] != '"' && value.ptr[i] != '\\')
            continue;
        buffer_append(out, value.ptr + run, i - run);
        if (i < value.len)
            buffer_append_char(out, '\\');
        run = i;
    }
    buffer_append_char(out, '"');
}
