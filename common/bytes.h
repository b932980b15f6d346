/* Big- and little-endian loads and stores, and slices. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* Bytes that somebody else owns; not necessarily terminated. */
struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE(literal) ((struct slice){"" literal "", sizeof(literal) - 1})

static inline struct slice slice_of(const void *ptr, size_t len)
{
    return (struct slice){(const char *)ptr, len};
}

static inline struct slice slice_cstr(const char *text)
{
    return (struct slice){text, text ? strlen(text) : 0};
}

static inline bool slice_equals(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_equals_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || strncasecmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_starts(struct slice a, struct slice prefix)
{
    return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.ptr, prefix.ptr, prefix.len) == 0);
}

/* The index of the first / last `c`, or -1. */
static inline ptrdiff_t slice_find(struct slice a, char c)
{
    const char *p = a.len ? memchr(a.ptr, c, a.len) : NULL;
    return p ? p - a.ptr : -1;
}

static inline ptrdiff_t slice_find_last(struct slice a, char c)
{
    const char *p = a.len ? memrchr(a.ptr, c, a.len) : NULL;
    return p ? p - a.ptr : -1;
}

static inline struct slice slice_from(struct slice a, size_t start)
{
    return start >= a.len ? (struct slice){a.ptr + a.len, 0}
                          : (struct slice){a.ptr + start, a.len - start};
}

static inline struct slice slice_until(struct slice a, size_t end)
{
    return (struct slice){a.ptr, end < a.len ? end : a.len};
}

/* Takes the next item of a comma-separated list off *rest, without the blanks around it. Empty items
 * are skipped; false at the end. */
static inline bool slice_take_item(struct slice *rest, struct slice *ret)
{
    while (rest->len > 0) {
        ptrdiff_t comma = slice_find(*rest, ',');
        struct slice item = comma < 0 ? *rest : slice_until(*rest, (size_t)comma);
        *rest = slice_from(*rest, comma < 0 ? rest->len : (size_t)comma + 1);
        while (item.len > 0 && item.ptr[0] == ' ')
            item = slice_from(item, 1);
        while (item.len > 0 && item.ptr[item.len - 1] == ' ')
            item.len--;
        if (item.len > 0) {
            *ret = item;
            return true;
        }
    }
    return false;
}

static inline uint16_t load_be16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap16(v);
}

static inline uint32_t load_be32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap32(v);
}

static inline uint64_t load_be64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return __builtin_bswap64(v);
}

static inline void store_be16(void *p, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(p, &v, sizeof(v));
}

static inline void store_be32(void *p, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(p, &v, sizeof(v));
}

static inline void store_be64(void *p, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(p, &v, sizeof(v));
}

static inline uint16_t load_le16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint32_t load_le32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline uint64_t load_le64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static inline void store_le16(void *p, uint16_t v) { memcpy(p, &v, sizeof(v)); }
static inline void store_le32(void *p, uint32_t v) { memcpy(p, &v, sizeof(v)); }
static inline void store_le64(void *p, uint64_t v) { memcpy(p, &v, sizeof(v)); }

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts need other loads");
