/* Writing JSON. A comma is due before a value when something stands before it at the same depth,
 * which is one bit per depth; in the pretty form each member starts a line, and empty containers
 * stay `{}`. */
#include "common/json_writer.h"

#include "common/check.h"

#include <math.h>
#include <stdio.h>

void json_writer_init(struct json_writer *w, struct buffer *out, bool is_pretty)
{
    *w = (struct json_writer){.out = out, .is_pretty = is_pretty};
}

static void newline(struct json_writer *w)
{
    buffer_append_char(w->out, '\n');
    for (unsigned i = 0; i < w->depth; i++)
        buffer_append(w->out, "  ", 2);
}

/* What comes before a key or a value. */
static void separate(struct json_writer *w)
{
    if (w->is_after_key) {
        w->is_after_key = false;
        return;
    }
    uint64_t bit = (uint64_t)1 << w->depth;
    if (w->has_members & bit)
        buffer_append_char(w->out, ',');
    w->has_members |= bit;
    if (w->is_pretty && w->depth > 0)
        newline(w);
}

static void begin(struct json_writer *w, char bracket)
{
    separate(w);
    buffer_append_char(w->out, bracket);
    w->depth++;
    CHECK(w->depth < JSON_WRITER_DEPTH_MAX);
    w->has_members &= ~((uint64_t)1 << w->depth);
}

static void end(struct json_writer *w, char bracket)
{
    CHECK(w->depth > 0 && !w->is_after_key);
    bool is_empty = !(w->has_members & (uint64_t)1 << w->depth);
    w->depth--;
    if (w->is_pretty && !is_empty)
        newline(w);
    buffer_append_char(w->out, bracket);
}

void json_writer_begin_object(struct json_writer *w) { begin(w, '{'); }
void json_writer_end_object(struct json_writer *w) { end(w, '}'); }
void json_writer_begin_array(struct json_writer *w) { begin(w, '['); }
void json_writer_end_array(struct json_writer *w) { end(w, ']'); }

/* The length of the UTF-8 sequence at the start, or 0 when it is none (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF). */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    static const unsigned char low[] = {0xC2, 0xE0, 0xF0};
    size_t n = s[0] >= 0xF0 ? 4 : s[0] >= 0xE0 ? 3 : 2;
    if (s[0] < low[0] || s[0] > 0xF4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

/* The escape of one ASCII byte, or NULL when it stands for itself. */
static const char *escape_of(unsigned char c, char scratch[7])
{
    switch (c) {
    case '"':
        return "\\\"";
    case '\\':
        return "\\\\";
    case '\b':
        return "\\b";
    case '\f':
        return "\\f";
    case '\n':
        return "\\n";
    case '\r':
        return "\\r";
    case '\t':
        return "\\t";
    default:
        if (c >= 0x20 && c != '<' && c != '>' && c != '&')
            return NULL;
        snprintf(scratch, 7, "\\u%04x", c);
        return scratch;
    }
}

/* How many bytes from here stand for themselves: ASCII without controls, quotes, backslashes and &<>. */
static size_t plain_length(const unsigned char *s, size_t size)
{
    static const uint64_t bits[2] = {0xafffffbb00000000u, 0xffffffffefffffffu};
    size_t n = 0;
    while (n < size && s[n] < 0x80 && (bits[s[n] >> 6] >> (s[n] & 63) & 1))
        n++;
    return n;
}

void json_append_string(struct buffer *out, struct slice text)
{
    const unsigned char *s = (const unsigned char *)text.ptr;
    size_t start = 0, i = 0;
    char scratch[7];
    buffer_append_char(out, '"');
    while ((i += plain_length(s + i, text.len - i)) < text.len) {
        const char *escape;
        size_t n = 1;
        if (s[i] < 0x80) {
            escape = escape_of(s[i], scratch);
        } else {
            n = utf8_length(s + i, text.len - i);
            escape = n == 0 ? "\\ufffd" : NULL;
            if (n == 3 && memcmp(s + i, "\xE2\x80\xA8", 3) == 0)
                escape = "\\u2028"; /* line breaks in JavaScript */
            else if (n == 3 && memcmp(s + i, "\xE2\x80\xA9", 3) == 0)
                escape = "\\u2029";
            if (n == 0)
                n = 1;
        }
        if (escape) {
            buffer_append(out, s + start, i - start);
            buffer_append_text(out, escape);
            start = i + n;
        }
        i += n;
    }
    if (text.len > start)
        buffer_append(out, s + start, text.len - start);
    buffer_append_char(out, '"');
}

void json_writer_key_slice(struct json_writer *w, struct slice key)
{
    CHECK(w->depth > 0 && !w->is_after_key);
    separate(w);
    json_append_string(w->out, key);
    buffer_append_text(w->out, w->is_pretty ? ": " : ":");
    w->is_after_key = true;
}

void json_writer_key(struct json_writer *w, const char *key)
{
    json_writer_key_slice(w, slice_cstr(key));
}

void json_writer_string(struct json_writer *w, struct slice text)
{
    separate(w);
    json_append_string(w->out, text);
}

void json_writer_text(struct json_writer *w, const char *text)
{
    json_writer_string(w, slice_cstr(text));
}

void json_writer_int(struct json_writer *w, int64_t value)
{
    separate(w);
    buffer_printf(w->out, "%lld", (long long)value);
}

void json_writer_uint(struct json_writer *w, uint64_t value)
{
    separate(w);
    char digits[20];
    size_t n = sizeof(digits);
    do
        digits[--n] = (char)('0' + value % 10);
    while ((value /= 10) != 0);
    buffer_append(w->out, digits + n, sizeof(digits) - n);
}

/* From `text`, the shortest "d.ddde+XX" that reads back. Plain as long as the exponent is moderate,
 * as Go does it, and else with an exponent that has no leading zero. */
static void append_shortest(struct buffer *out, const char *text)
{
    if (*text == '-')
        buffer_append_char(out, *text++);
    char digits[24];
    int count = 0;
    const char *at = text;
    for (; *at != 'e'; at++)
        if (*at != '.')
            digits[count++] = *at;
    int exponent = atoi(at + 1);
    bool is_zero = count == 1 && digits[0] == '0';
    if (!is_zero && (exponent < -6 || exponent >= 21)) {
        buffer_append(out, text, (size_t)(at - text));
        buffer_printf(out, "e%c%d", exponent < 0 ? '-' : '+', abs(exponent));
        return;
    }
    if (exponent < 0)
        buffer_append_text(out, "0.");
    for (int i = exponent; i < -1; i++)
        buffer_append_char(out, '0');
    for (int i = 0; i < count || i <= exponent; i++) {
        if (i > 0 && i == exponent + 1)
            buffer_append_char(out, '.');
        buffer_append_char(out, i < count ? digits[i] : '0');
    }
}

void json_writer_double(struct json_writer *w, double value)
{
    if (!isfinite(value)) {
        json_writer_null(w);
        return;
    }
    separate(w);
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            break;
    }
    append_shortest(w->out, text);
}

void json_writer_float(struct json_writer *w, float value)
{
    if (!isfinite(value)) {
        json_writer_null(w);
        return;
    }
    separate(w);
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value)
            break;
    }
    append_shortest(w->out, text);
}

void json_writer_bool(struct json_writer *w, bool value)
{
    separate(w);
    buffer_append_text(w->out, value ? "true" : "false");
}

void json_writer_null(struct json_writer *w)
{
    separate(w);
    buffer_append_text(w->out, "null");
}

void json_writer_raw(struct json_writer *w, struct slice json)
{
    separate(w);
    buffer_append_slice(w->out, json);
}

void json_writer_member_string(struct json_writer *w, const char *key, struct slice text)
{
    json_writer_key(w, key);
    json_writer_string(w, text);
}

void json_writer_member_text(struct json_writer *w, const char *key, const char *text)
{
    json_writer_key(w, key);
    json_writer_text(w, text);
}

void json_writer_member_int(struct json_writer *w, const char *key, int64_t value)
{
    json_writer_key(w, key);
    json_writer_int(w, value);
}

void json_writer_member_uint(struct json_writer *w, const char *key, uint64_t value)
{
    json_writer_key(w, key);
    json_writer_uint(w, value);
}

void json_writer_member_double(struct json_writer *w, const char *key, double value)
{
    json_writer_key(w, key);
    json_writer_double(w, value);
}

void json_writer_member_float(struct json_writer *w, const char *key, float value)
{
    json_writer_key(w, key);
    json_writer_float(w, value);
}

void json_writer_member_bool(struct json_writer *w, const char *key, bool value)
{
    json_writer_key(w, key);
    json_writer_bool(w, value);
}
