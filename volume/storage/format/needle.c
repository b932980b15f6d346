/* Encoding and parsing of needle records. Pure; any thread.
 *
 * The data is never copied: a record is written as head | data | tail, and a parsed needle points into
 * the record. Everything that comes from a disk is checked against the body's length. */
#include "volume/storage/format/needle.h"

#include "common/check.h"
#include "common/crc32c.h"

#define NAME_MAX_SIZE  255u
#define MIME_MAX_SIZE  255u
#define PAIRS_MAX_SIZE 65535u

static size_t padding_size(uint8_t version, int32_t body_size)
{
    uint64_t base = NEEDLE_HEADER_SIZE + (uint64_t)body_size + needle_trailer_size(version);
    return (size_t)(NEEDLE_ALIGNMENT - base % NEEDLE_ALIGNMENT);
}

static size_t name_size(const struct needle *needle)
{
    return needle->name.len < NAME_MAX_SIZE ? needle->name.len : NAME_MAX_SIZE;
}

/* The optional parts between data and checksum: flags, name, mime, times, pairs. */
static size_t parts_size(const struct needle *needle)
{
    size_t size = 1;
    if (needle->flags & NEEDLE_HAS_NAME)
        size += 1 + name_size(needle);
    if (needle->flags & NEEDLE_HAS_MIME)
        size += 1 + needle->mime.len;
    if (needle->flags & NEEDLE_HAS_LAST_MODIFIED)
        size += 5;
    if (needle->flags & NEEDLE_HAS_TTL)
        size += 2;
    if (needle->flags & NEEDLE_HAS_PAIRS)
        size += 2 + needle->pairs.len;
    return size;
}

int needle_body_size(const struct needle *needle, uint8_t version, int32_t *ret_size,
                     struct error *err)
{
    if ((needle->flags & NEEDLE_HAS_MIME) && needle->mime.len > MIME_MAX_SIZE)
        return error_set(err, KELP_E_INVALID, "mime type of %zu bytes, at most %u", needle->mime.len,
                         MIME_MAX_SIZE);
    if ((needle->flags & NEEDLE_HAS_PAIRS) && needle->pairs.len > PAIRS_MAX_SIZE)
        return error_set(err, KELP_E_INVALID, "pairs of %zu bytes, at most %u", needle->pairs.len,
                         PAIRS_MAX_SIZE);
    uint64_t size = needle->data.len;
    if (version != 1 && size > 0)
        size += 4 + parts_size(needle);
    if (size > INT32_MAX)
        return error_set(err, KELP_E_TOO_LARGE, "needle of %llu bytes, at most %d",
                         (unsigned long long)size, INT32_MAX);
    *ret_size = (int32_t)size;
    return 0;
}

size_t needle_tail_size(const struct needle *needle, uint8_t version)
{
    size_t parts = version == 1 || needle->data.len == 0 ? 0 : parts_size(needle);
    return parts + needle_trailer_size(version) + NEEDLE_ALIGNMENT;
}

void needle_header_load(const uint8_t bytes[NEEDLE_HEADER_SIZE], struct needle_header *ret)
{
    ret->cookie = load_be32(bytes);
    ret->key = load_be64(bytes + 4);
    ret->size = (int32_t)load_be32(bytes + 12);
}

void needle_header_store(uint8_t bytes[NEEDLE_HEADER_SIZE], const struct needle_header *header)
{
    store_be32(bytes, header->cookie);
    store_be64(bytes + 4, header->key);
    store_be32(bytes + 12, (uint32_t)header->size);
}

static uint8_t *put_short_part(uint8_t *p, const char *text, size_t size)
{
    *p++ = (uint8_t)size;
    if (size > 0)
        memcpy(p, text, size);
    return p + size;
}

static uint8_t *put_parts(uint8_t *p, const struct needle *needle)
{
    *p++ = needle->flags;
    if (needle->flags & NEEDLE_HAS_NAME)
        p = put_short_part(p, needle->name.ptr, name_size(needle));
    if (needle->flags & NEEDLE_HAS_MIME)
        p = put_short_part(p, needle->mime.ptr, needle->mime.len);
    if (needle->flags & NEEDLE_HAS_LAST_MODIFIED) {
        *p++ = (uint8_t)(needle->last_modified >> 32);
        store_be32(p, (uint32_t)needle->last_modified);
        p += 4;
    }
    if (needle->flags & NEEDLE_HAS_TTL) {
        *p++ = needle->ttl.count;
        *p++ = needle->ttl.unit;
    }
    if (needle->flags & NEEDLE_HAS_PAIRS) {
        store_be16(p, (uint16_t)needle->pairs.len);
        p += 2;
        if (needle->pairs.len > 0)
            memcpy(p, needle->pairs.ptr, needle->pairs.len);
        p += needle->pairs.len;
    }
    return p;
}

/* The peer does not clear its padding; what it leaves there is reproduced, so that files are equal
 * byte for byte (spec 6.2). */
static void store_padding(uint8_t *p, size_t size, const struct needle *needle, uint8_t version,
                          int32_t body_size)
{
    uint8_t bytes[NEEDLE_ALIGNMENT] = {0};
    if (version == 1) {
        store_be64(bytes, needle->key);
    } else if (version == 2) {
        bool has_time = body_size > 0 && (needle->flags & NEEDLE_HAS_LAST_MODIFIED) != 0;
        store_be32(bytes, has_time ? (uint32_t)needle->last_modified : (uint32_t)(needle->key >> 32));
        store_be32(bytes + 4, (uint32_t)needle->key);
    } else {
        store_be32(bytes, (uint32_t)body_size);
    }
    memcpy(p, bytes, size);
}

int needle_encode(const struct needle *needle, uint8_t version, uint8_t head[NEEDLE_HEAD_MAX],
                  uint8_t *tail, struct needle_record *ret, struct error *err)
{
    int32_t body_size;
    int code = needle_body_size(needle, version, &body_size, err);
    if (code != 0)
        return code;
    needle_header_store(head, &(struct needle_header){needle->cookie, needle->key, body_size});
    size_t head_size = NEEDLE_HEADER_SIZE;
    uint8_t *p = tail;
    if (version != 1 && body_size > 0) {
        store_be32(head + NEEDLE_HEADER_SIZE, (uint32_t)needle->data.len);
        head_size = NEEDLE_HEAD_MAX;
        p = put_parts(p, needle);
    }
    store_be32(p, needle->checksum);
    p += 4;
    if (version == 3) {
        store_be64(p, needle->append_at_ns);
        p += 8;
    }
    size_t padding = padding_size(version, body_size);
    store_padding(p, padding, needle, version, body_size);
    p += padding;
    *ret = (struct needle_record){head_size, needle->data.len, (size_t)(p - tail), body_size};
    return 0;
}

/* ---- parsing ---- */

/* A reader over the parts after the data: a part begins while bytes remain, and must then be whole. */
struct part_reader {
    const uint8_t *at, *end;
};

static bool take(struct part_reader *reader, size_t size, const uint8_t **ret)
{
    if ((size_t)(reader->end - reader->at) < size)
        return false;
    *ret = reader->at;
    reader->at += size;
    return true;
}

static bool take_sized(struct part_reader *reader, size_t length_bytes, struct slice *ret)
{
    const uint8_t *p;
    if (!take(reader, length_bytes, &p))
        return false;
    size_t size = length_bytes == 1 ? p[0] : load_be16(p);
    if (!take(reader, size, &p))
        return false;
    *ret = slice_of(p, size);
    return true;
}

static int parse_parts(const uint8_t *parts, size_t size, struct needle *ret, struct error *err)
{
    struct part_reader reader = {parts, parts + size};
    const uint8_t *p;
    if (!take(&reader, 1, &p))
        return 0;
    ret->flags = *p;
    const char *what = "name";
    if (ret->flags & NEEDLE_HAS_NAME && reader.at < reader.end && !take_sized(&reader, 1, &ret->name))
        goto too_long;
    what = "mime type";
    if (ret->flags & NEEDLE_HAS_MIME && reader.at < reader.end && !take_sized(&reader, 1, &ret->mime))
        goto too_long;
    what = "time of change";
    if (ret->flags & NEEDLE_HAS_LAST_MODIFIED && reader.at < reader.end) {
        if (!take(&reader, 5, &p))
            goto too_long;
        ret->last_modified = (uint64_t)p[0] << 32 | load_be32(p + 1);
    }
    what = "TTL";
    if (ret->flags & NEEDLE_HAS_TTL && reader.at < reader.end) {
        if (!take(&reader, 2, &p))
            goto too_long;
        ret->ttl = (struct ttl){p[0], p[1]};
    }
    what = "list of pairs";
    if (ret->flags & NEEDLE_HAS_PAIRS && reader.at < reader.end &&
        !take_sized(&reader, 2, &ret->pairs))
        goto too_long;
    return 0;
too_long:
    return error_set(err, KELP_E_CORRUPT, "needle %llx: its %s is longer than its body",
                     (unsigned long long)ret->key, what);
}

bool needle_checksum_matches(uint32_t stored, uint32_t crc)
{
    return stored == crc || stored == crc32c_legacy(crc);
}

int needle_parse_around(const uint8_t *head, const uint8_t *tail, size_t tail_size, uint8_t version,
                        int32_t expected_size, struct needle *ret, struct error *err)
{
    struct needle_header header;
    needle_header_load(head, &header);
    if (header.size != expected_size)
        return error_set(err, KELP_E_CORRUPT, "needle %llx: record says size %d, index says %d",
                         (unsigned long long)header.key, header.size, expected_size);
    struct needle needle = {.key = header.key, .cookie = header.cookie};
    uint64_t body = expected_size > 0 ? (uint64_t)expected_size : 0;
    size_t parts = 0;
    if (version == 1) {
        needle.data.len = body;
    } else if (body > 0) {
        needle.data.len = body >= 4 ? load_be32(head + NEEDLE_HEADER_SIZE) : 0;
        if (body < 4 || needle.data.len > body - 4)
            return error_set(err, KELP_E_CORRUPT,
                             "needle %llx: data of %zu bytes is longer than its body of %d",
                             (unsigned long long)header.key, needle.data.len, expected_size);
        /* Nobody writes that, but a record whose end was lost reads so, and no CRC would tell. */
        if (needle.data.len == 0)
            return error_set(err, KELP_E_CORRUPT, "needle %llx: a body of %d bytes without data",
                             (unsigned long long)header.key, expected_size);
        parts = body - 4 - needle.data.len;
    }
    if (tail_size < parts + needle_trailer_size(version))
        return error_set(err, KELP_E_CORRUPT, "needle %llx: %zu bytes after the data, %zu needed",
                         (unsigned long long)header.key, tail_size, parts + needle_trailer_size(version));
    int code = parse_parts(tail, parts, &needle, err);
    if (code != 0)
        return code;
    needle.checksum = load_be32(tail + parts);
    if (version == 3)
        needle.append_at_ns = load_be64(tail + parts + 4);
    *ret = needle;
    return 0;
}

int needle_parse(const uint8_t *record, size_t record_size, uint8_t version, int32_t expected_size,
                 struct needle *ret, struct error *err)
{
    CHECK(record_size == needle_record_size(version, expected_size));
    size_t head_size = version != 1 && expected_size > 0 ? NEEDLE_HEAD_MAX : NEEDLE_HEADER_SIZE;
    uint64_t data_size = 0;
    if (expected_size > 0)
        data_size = version == 1 ? (uint64_t)expected_size : load_be32(record + NEEDLE_HEADER_SIZE);
    if (data_size > record_size - head_size)
        data_size = record_size - head_size; /* the call below finds it too long */
    struct needle needle = {0};
    int code = needle_parse_around(record, record + head_size + data_size,
                                   record_size - head_size - data_size, version, expected_size,
                                   &needle, err);
    if (code != 0)
        return code;
    needle.data.ptr = (const char *)record + head_size;
    if (needle.data.len > 0) {
        uint32_t crc = crc32c(0, needle.data.ptr, needle.data.len);
        if (!needle_checksum_matches(needle.checksum, crc))
            return error_set(err, KELP_E_CORRUPT, "needle %llx: CRC is %08x, stored is %08x",
                             (unsigned long long)needle.key, crc, needle.checksum);
        needle.checksum = crc;
    }
    *ret = needle;
    return 0;
}

bool needle_is_expired(const struct needle *needle, int64_t now_ns)
{
    uint64_t minutes = ttl_minutes(needle->ttl);
    if (!(needle->flags & NEEDLE_HAS_TTL) || minutes == 0 ||
        !(needle->flags & NEEDLE_HAS_LAST_MODIFIED))
        return false;
    uint64_t end_ns;
    if (__builtin_add_overflow(needle->append_at_ns, minutes * 60 * 1000000000u, &end_ns))
        return false;
    return now_ns > 0 && (uint64_t)now_ns >= end_ns;
}
