/* Methods and the shape of the request line.
 *
 * A method is any token (RFC 9110 9.1), and the handler decides what it answers to those that it
 * does not know; words are parted by single blanks, of which llhttp lets more through.
 *
 * A "#" begins a fragment, which no request has. Where one comes all the same it is part of a
 * name, as with the peer; and it is encoded at once, or whatever stands behind it would be lost on
 * the way to another server. */
#include "common/http_request_line.h"

#include "common/http_token.h"

#include <string.h>

static const struct known_method {
    enum http_method method;
    struct slice name;
} known_methods[] = {
    {HTTP_METHOD_GET, {"GET", 3}},     {HTTP_METHOD_PUT, {"PUT", 3}},
    {HTTP_METHOD_POST, {"POST", 4}},   {HTTP_METHOD_HEAD, {"HEAD", 4}},
    {HTTP_METHOD_DELETE, {"DELETE", 6}}, {HTTP_METHOD_OPTIONS, {"OPTIONS", 7}},
};

static void settle(struct http_exchange *x, struct slice text)
{
    x->has_method = true;
    x->blank_count = 0;
    x->request.method = HTTP_METHOD_OTHER;
    x->request.method_name = text;
    for (size_t i = 0; i < sizeof(known_methods) / sizeof(known_methods[0]); i++) {
        if (slice_equals(known_methods[i].name, text)) {
            x->request.method = known_methods[i].method;
            x->request.method_name = known_methods[i].name; /* outlives the bytes */
        }
    }
}

enum http_method_step http_request_line_method(struct http_exchange *x, const char *data,
                                               size_t size, size_t *ret_used)
{
    size_t n = 0;
    while (n < size && http_is_token_char(data[n]) && x->method_length < HTTP_METHOD_LIMIT)
        x->method_text[x->method_length++] = data[n++];
    *ret_used = n;
    if (n == size)
        return HTTP_METHOD_MORE;
    if (http_is_token_char(data[n]))
        return HTTP_METHOD_TOO_LONG;
    if (data[n] != ' ' || x->method_length == 0)
        return HTTP_METHOD_INVALID;
    settle(x, slice_of(x->method_text, x->method_length));
    return HTTP_METHOD_DONE;
}

static bool is_raw(char c) { return (unsigned char)c >= 0x80 || c == '#'; }

size_t http_request_line_scan(struct http_exchange *x, const char *data, size_t size)
{
    const char *end = memchr(data, '\n', size);
    x->has_request_line = end != NULL;
    size_t count = 0;
    for (const char *at = data, *stop = end ? end : data + size; at < stop; at++) {
        if (*at == ' ' && x->blank_count < UINT8_MAX)
            x->blank_count++;
        else
            count += is_raw(*at);
    }
    return count;
}

char *http_request_line_encode(struct arena *arena, const char *data, size_t size,
                               size_t raw_count)
{
    char *copy = arena_alloc(arena, size + 2 * raw_count), *out = copy;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)data[i];
        if (raw_count == 0 || !is_raw(data[i])) {
            *out++ = data[i];
            continue;
        }
        raw_count--;
        *out++ = '%';
        *out++ = "0123456789ABCDEF"[c >> 4];
        *out++ = "0123456789ABCDEF"[c & 15];
    }
    return copy;
}
