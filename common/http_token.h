/* Tokens as HTTP has them (RFC 9110, 5.6.2): names of headers, methods, parts of media types. Any thread. */
#pragma once

#include "common/bytes.h"

/* One bit a character. */
static inline bool http_is_token_char(char c)
{
    static const uint64_t bits[2] = {
        0x03ff6cfa00000000u, /* ! # $ % & ' * + - . 0-9 */
        0x57ffffffc7fffffeu, /* A-Z ^ _ ` a-z | ~ */
    };
    unsigned char code = (unsigned char)c;
    return code < 128 && (bits[code >> 6] >> (code & 63) & 1);
}

static inline bool http_is_token(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!http_is_token_char(text.ptr[i]))
            return false;
    return text.len > 0;
}
