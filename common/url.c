/* Percent-encoding and query strings. Decoding is strict: a '%' without two hex digits is an error
 * that quotes the three characters, as Go does. */
#include "common/url.h"

#include "common/hex.h"

static bool is_escape(struct slice s, size_t at)
{
    return at + 2 < s.len && hex_digit(s.ptr[at + 1]) >= 0 && hex_digit(s.ptr[at + 2]) >= 0;
}

static int check_escapes(struct slice s, struct error *err)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] != '%' || is_escape(s, i))
            continue;
        size_t left = s.len - i;
        return error_set(err, KELP_E_INVALID, "invalid URL escape \"%.*s\"",
                         (int)(left < 3 ? left : 3), s.ptr + i);
    }
    return 0;
}

static int decode(struct arena *arena, struct slice raw, bool plus_is_blank, struct slice *ret,
                  struct error *err)
{
    bool has_plus = plus_is_blank && slice_find(raw, '+') >= 0;
    bool has_escape = slice_find(raw, '%') >= 0;
    if (!has_plus && !has_escape) {
        *ret = raw;
        return 0;
    }
    int code = check_escapes(raw, err);
    if (code < 0)
        return code;
    char *text = arena_alloc(arena, raw.len + 1);
    size_t n = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c == '%') {
            c = (char)(hex_digit(raw.ptr[i + 1]) << 4 | hex_digit(raw.ptr[i + 2]));
            i += 2;
        } else if (c == '+' && plus_is_blank) {
            c = ' ';
        }
        text[n++] = c;
    }
    text[n] = '\0';
    *ret = slice_of(text, n);
    return 0;
}

int url_decode_path(struct arena *arena, struct slice raw, struct slice *ret, struct error *err)
{
    return decode(arena, raw, false, ret, err);
}

int url_decode_query(struct arena *arena, struct slice raw, struct slice *ret, struct error *err)
{
    return decode(arena, raw, true, ret, err);
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

static void append_escape(struct buffer *out, char c)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[3] = {'%', digits[(unsigned char)c >> 4], digits[(unsigned char)c & 15]};
    buffer_append(out, text, sizeof(text));
}

void url_encode_query(struct buffer *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (is_unreserved(c))
            buffer_append_char(out, c);
        else if (c == ' ')
            buffer_append_char(out, '+');
        else
            append_escape(out, c);
    }
}

void url_encode_path(struct buffer *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (is_unreserved(c) || (c != '\0' && strchr("/$&+,:;=@", c)))
            buffer_append_char(out, c);
        else
            append_escape(out, c);
    }
}

/* Takes what stands before the next `separator` off *rest. */
static struct slice cut(struct slice *rest, char separator)
{
    ptrdiff_t at = slice_find(*rest, separator);
    struct slice head = at < 0 ? *rest : slice_until(*rest, (size_t)at);
    *rest = at < 0 ? slice_from(*rest, rest->len) : slice_from(*rest, (size_t)at + 1);
    return head;
}

bool url_query_next(struct slice *rest, struct slice *ret_name, struct slice *ret_value)
{
    while (rest->len > 0) {
        struct slice pair = cut(rest, '&');
        if (pair.len == 0 || slice_find(pair, ';') >= 0)
            continue;
        *ret_name = cut(&pair, '=');
        *ret_value = pair;
        return true;
    }
    return false;
}

struct slice url_query_get(struct arena *arena, struct slice query, const char *name)
{
    struct slice wanted = slice_cstr(name), raw_name, raw_value, decoded, value;
    while (url_query_next(&query, &raw_name, &raw_value)) {
        if (!slice_equals(raw_name, wanted)) {
            /* Names are hardly ever encoded: look closer only when this one is. */
            if (slice_find(raw_name, '%') < 0 && slice_find(raw_name, '+') < 0)
                continue;
            if (url_decode_query(arena, raw_name, &decoded, NULL) < 0 ||
                !slice_equals(decoded, wanted))
                continue;
        }
        if (url_decode_query(arena, raw_value, &value, NULL) < 0)
            continue;
        return arena_slice(arena, value);
    }
    return (struct slice){NULL, 0};
}

int url_query_check(struct slice query, struct error *err)
{
    /* The peer reports the first bad pair. */
    while (query.len > 0) {
        struct slice pair = cut(&query, '&');
        if (slice_find(pair, ';') >= 0)
            return error_set(err, KELP_E_INVALID, "invalid semicolon separator in query");
        int code = check_escapes(pair, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static bool is_clean(struct slice path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] != '/')
            continue;
        struct slice rest = slice_from(path, i + 1);
        if (rest.len == 0)
            break;
        if (rest.ptr[0] == '/')
            return false;
        if (rest.ptr[0] != '.')
            continue;
        if (rest.len == 1 || rest.ptr[1] == '/')
            return false;
        if (rest.ptr[1] == '.' && (rest.len == 2 || rest.ptr[2] == '/'))
            return false;
    }
    return true;
}

bool url_clean_path(struct arena *arena, struct slice path, struct slice *ret)
{
    if (is_clean(path))
        return false;
    char *out = arena_alloc(arena, path.len + 3);
    size_t n = 0;
    struct slice rest = path;
    bool ends_with_slash = path.len > 0 && path.ptr[path.len - 1] == '/';
    while (rest.len > 0) {
        struct slice segment = cut(&rest, '/');
        if (segment.len == 0 || slice_equals(segment, SLICE(".")))
            continue;
        if (slice_equals(segment, SLICE(".."))) {
            while (n > 0 && out[--n] != '/')
                continue;
            continue;
        }
        out[n++] = '/';
        memcpy(out + n, segment.ptr, segment.len);
        n += segment.len;
    }
    if (n == 0 || ends_with_slash)
        out[n++] = '/';
    out[n] = '\0';
    *ret = slice_of(out, n);
    return true;
}

void url_split(struct slice url, struct url_parts *ret)
{
    struct url_parts parts = {0};
    bool may_be_absolute = url.len >= 3 && url.ptr[0] != '/';
    const char *mark = may_be_absolute ? memmem(url.ptr, url.len, "://", 3) : NULL;
    if (mark && !memchr(url.ptr, '?', (size_t)(mark - url.ptr))) {
        parts.scheme = slice_until(url, (size_t)(mark - url.ptr));
        url = slice_from(url, parts.scheme.len + 3);
        size_t end = 0;
        while (end < url.len && url.ptr[end] != '/' && url.ptr[end] != '?')
            end++;
        parts.authority = slice_until(url, end);
        url = slice_from(url, end);
    }
    parts.path = cut(&url, '?');
    parts.query = url;
    *ret = parts;
}
