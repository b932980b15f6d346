/* base64 on OpenSSL's block functions, with the strictness that they lack: they skip blanks and
 * count the padding as bytes. */
#include "common/base64.h"

#include "common/check.h"

#include <openssl/evp.h>

void base64_encode(struct buffer *out, struct slice data)
{
    CHECK(data.len < INT32_MAX / 2);
    size_t room = (data.len + 2) / 3 * 4 + 1;
    CHECK(buffer_reserve(out, room) == 0);
    int n = EVP_EncodeBlock((unsigned char *)out->data + out->length,
                            (const unsigned char *)data.ptr, (int)data.len);
    out->length += (size_t)n;
}

static bool is_digit(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

bool base64_decode(struct arena *arena, struct slice text, struct slice *ret)
{
    if (text.len % 4 != 0 || text.len > INT32_MAX)
        return false;
    if (text.len == 0) {
        *ret = SLICE("");
        return true;
    }
    size_t padding = text.ptr[text.len - 1] != '=' ? 0 : text.ptr[text.len - 2] != '=' ? 1 : 2;
    for (size_t i = 0; i < text.len - padding; i++)
        if (!is_digit(text.ptr[i]))
            return false;
    unsigned char *bytes = arena_alloc(arena, text.len / 4 * 3 + 1);
    int n = EVP_DecodeBlock(bytes, (const unsigned char *)text.ptr, (int)text.len);
    if (n < 0)
        return false;
    *ret = slice_of(bytes, (size_t)n - padding);
    bytes[ret->len] = '\0';
    return true;
}
