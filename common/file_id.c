/* Parsing keeps the texts that clients of the peer know (spec/volume-http.md 4). Pure; any thread. */
#include "common/file_id.h"

#include "common/hex.h"

#include <inttypes.h>
#include <stdio.h>

#define COOKIE_DIGITS 8u
#define KEY_DIGITS_MAX 16u
/* Enough of a client's text for a message. */
#define SHOWN(s) (int)((s).len < 64 ? (s).len : 64), (s).ptr

static bool parse_hex(struct slice text, uint64_t *ret)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        if (digit < 0)
            return false;
        value = value << 4 | (uint64_t)digit;
    }
    *ret = value;
    return true;
}

/* What ParseUint of the peer says about a decimal text: NULL when it is a number up to `max`. */
static const char *parse_decimal(struct slice text, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;
    bool is_over = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c < '0' || c > '9')
            return "invalid syntax";
        if (value > (max - (uint64_t)(c - '0')) / 10)
            is_over = true;
        value = value * 10 + (uint64_t)(c - '0');
    }
    if (text.len == 0)
        return "invalid syntax";
    if (is_over)
        return "value out of range";
    *ret = value;
    return NULL;
}

int volume_id_parse(struct slice text, uint32_t *ret_id, struct error *err)
{
    uint64_t value;
    const char *reason = parse_decimal(text, UINT32_MAX, &value);
    if (reason)
        return error_set(err, KELP_E_INVALID, "strconv.ParseUint: parsing \"%.*s\": %s", SHOWN(text),
                         reason);
    *ret_id = (uint32_t)value;
    return 0;
}

int needle_id_parse(struct slice text, uint64_t *ret_key, uint32_t *ret_cookie, struct error *err)
{
    if (text.len <= COOKIE_DIGITS)
        return error_set(err, KELP_E_INVALID, "Invalid fid: %.*s", SHOWN(text));

    struct slice hex = text;
    uint64_t delta = 0;
    ptrdiff_t underscore = slice_find_last(text, '_');
    if (underscore > 0) {
        struct slice number = slice_from(text, (size_t)underscore + 1);
        hex = slice_until(text, (size_t)underscore);
        const char *reason = number.len ? parse_decimal(number, UINT64_MAX, &delta) : NULL;
        if (reason)
            return error_set(err, KELP_E_INVALID, "strconv.ParseUint: parsing \"%.*s\": %s",
                             SHOWN(number), reason);
    }
    if (hex.len <= COOKIE_DIGITS)
        return error_set(err, KELP_E_INVALID, "KeyHash is too short.");
    if (hex.len > KEY_DIGITS_MAX + COOKIE_DIGITS)
        return error_set(err, KELP_E_INVALID, "KeyHash is too long.");

    struct slice key_text = slice_until(hex, hex.len - COOKIE_DIGITS);
    struct slice cookie_text = slice_from(hex, hex.len - COOKIE_DIGITS);
    uint64_t key, cookie;
    if (!parse_hex(key_text, &key))
        return error_set(err, KELP_E_INVALID,
                         "Parse needleId error: needle id %.*s format error: strconv.ParseUint: "
                         "parsing \"%.*s\": invalid syntax",
                         SHOWN(key_text), SHOWN(key_text));
    if (!parse_hex(cookie_text, &cookie))
        return error_set(err, KELP_E_INVALID,
                         "Parse cookie error: needle cookie %.*s format error: strconv.ParseUint: "
                         "parsing \"%.*s\": invalid syntax",
                         SHOWN(cookie_text), SHOWN(cookie_text));
    if (key > UINT64_MAX - delta)
        return error_set(err, KELP_E_INVALID, "delta %" PRIu64 " overflows needle id %" PRIx64, delta,
                         key);
    *ret_key = key + delta;
    *ret_cookie = (uint32_t)cookie;
    return 0;
}

int file_id_parse(struct slice text, struct file_id *ret, struct error *err)
{
    ptrdiff_t comma = slice_find(text, ',');
    if (comma <= 0)
        return error_set(err, KELP_E_INVALID, "wrong fid format: %.*s", SHOWN(text));
    struct file_id id;
    int code = volume_id_parse(slice_until(text, (size_t)comma), &id.volume_id, err);
    if (code == 0)
        code = needle_id_parse(slice_from(text, (size_t)comma + 1), &id.key, &id.cookie, err);
    if (code == 0)
        *ret = id;
    return code;
}

size_t file_id_format(const struct file_id *id, char text[FILE_ID_TEXT_SIZE])
{
    /* Leading zero bytes of the key go, not nibbles; a zero key leaves the cookie alone. */
    int key_digits = 0;
    for (uint64_t rest = id->key; rest; rest >>= 8)
        key_digits += 2;
    int n;
    if (key_digits == 0)
        n = snprintf(text, FILE_ID_TEXT_SIZE, "%" PRIu32 ",%08" PRIx32, id->volume_id, id->cookie);
    else
        n = snprintf(text, FILE_ID_TEXT_SIZE, "%" PRIu32 ",%0*" PRIx64 "%08" PRIx32, id->volume_id,
                     key_digits, id->key, id->cookie);
    return (size_t)n;
}
