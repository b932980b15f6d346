/* Encoding, decoding and searching of packed blocks. See the header for the byte table. */
#include "volume/storage/index/packed_block.h"

#include "common/check.h"

static uint64_t mask_of(unsigned width) { return width >= 64 ? UINT64_MAX : (1ull << width) - 1; }

static unsigned width_of(uint64_t value)
{
    return value == 0 ? 0 : 64u - (unsigned)__builtin_clzll(value);
}

/* Bits [at, at + width) of the list. Reads up to 9 bytes from the first of them. */
static inline uint64_t bits_at(const uint8_t *list, size_t at, unsigned width)
{
    const uint8_t *p = list + (at >> 3);
    unsigned shift = at & 7;
    uint64_t value = load_le64(p) >> shift;
    if (width + shift > 64)
        value |= (uint64_t)p[8] << (64 - shift);
    return value & mask_of(width);
}

/* Writes bits one after another; up to 16 bytes behind the last may be overwritten. */
struct bit_writer {
    uint8_t *at;
    unsigned __int128 bits;
    unsigned count;
};

/* The value has no bits above the width, which is at most 64. */
static inline void write_bits(struct bit_writer *writer, unsigned width, uint64_t value)
{
    writer->bits |= (unsigned __int128)value << writer->count;
    writer->count += width;
    if (writer->count >= 64) {
        store_le64(writer->at, (uint64_t)writer->bits);
        writer->at += 8;
        writer->bits >>= 64;
        writer->count -= 64;
    }
}

/* Up to the next byte. */
static uint8_t *finish_bits(struct bit_writer *writer)
{
    store_le64(writer->at, (uint64_t)writer->bits);
    return writer->at + (writer->count + 7) / 8;
}

static size_t list_bytes(size_t count, unsigned width) { return (count * width + 7) / 8; }

/* needle_record_size in units of 8. */
static inline uint64_t record_units(uint8_t version, uint32_t size)
{
    return (NEEDLE_HEADER_SIZE + (version == 3 ? 12u : 4u) + (uint64_t)size) / NEEDLE_ALIGNMENT + 1;
}

static inline uint32_t magnitude(int32_t size) { return size < 0 ? 0u - (uint32_t)size : (uint32_t)size; }

/* ---- the parts of a block ---- */

struct parts {
    unsigned key_width, size_width, offset_width;
    unsigned row_width;
    uint8_t flags;
    uint32_t size_base;
    uint64_t offset_base;
    uint64_t deleted, breaks;
    uint64_t steep, begin;
    size_t stored; /* offsets in the list behind the rows */
    const uint8_t *rows, *offsets, *end;
};

static inline void find_parts(const uint8_t *block, uint64_t first_key, size_t count, struct parts *ret)
{
    ret->key_width = block[0];
    ret->size_width = block[1];
    ret->offset_width = block[2];
    ret->flags = block[3];
    ret->size_base = load_le32(block + 4);
    ret->offset_base = load_le32(block + 8) | (uint64_t)block[12] << 32;
    const uint8_t *at = block + PACKED_BLOCK_HEAD;
    ret->deleted = 0;
    if (ret->flags & PACKED_HAS_DELETED) {
        ret->deleted = load_le64(at);
        at += 8;
    }
    ret->breaks = 1;
    ret->stored = 0;
    if (ret->flags & PACKED_HAS_BREAKS) {
        ret->breaks = load_le64(at) | 1;
        ret->stored = (size_t)__builtin_popcountll(ret->breaks);
        at += 8;
    }
    ret->steep = 1;
    ret->begin = first_key;
    if (ret->flags & PACKED_HAS_LINE) {
        ret->steep = load_le64(at);
        ret->begin = load_le64(at + 8);
        at += 16;
    }
    ret->row_width = ret->key_width + ret->size_width +
                     (ret->flags & PACKED_IS_CHAINED ? 0 : ret->offset_width);
    ret->rows = at;
    ret->offsets = at + list_bytes(count, ret->row_width);
    ret->end = ret->offsets + list_bytes(ret->stored, ret->offset_width);
}

size_t packed_block_length(const uint8_t *block, size_t size, size_t count)
{
    struct parts parts;
    if (size < PACKED_BLOCK_HEAD || count == 0 || count > PACKED_BLOCK_ENTRIES || block[0] > 64 ||
        block[1] > 32 || block[2] > 40 || block[3] > 15 ||
        (block[3] & (PACKED_IS_CHAINED | PACKED_HAS_BREAKS)) == PACKED_HAS_BREAKS)
        return 0;
    size_t optional = (block[3] & PACKED_HAS_DELETED ? 8u : 0u) +
                      (block[3] & PACKED_HAS_BREAKS ? 8u : 0u) +
                      (block[3] & PACKED_HAS_LINE ? 16u : 0u);
    if (size < PACKED_BLOCK_HEAD + optional)
        return 0;
    find_parts(block, 0, count, &parts);
    size_t length = (size_t)(parts.end - block);
    return length <= size ? length : 0;
}

/* ---- encoding ---- */

/* The line through the keys, and what they differ from it by. At most the distance of the last from the
 * first, since keys rise: that fits in 64 bits. */
static void measure_keys(const struct needle_entry *entries, size_t count, struct parts *parts)
{
    uint64_t first = entries[0].key, span = entries[count - 1].key - first;
    parts->steep = 1;
    parts->begin = first;
    parts->key_width = 0;
    if (span == count - 1)
        return;
    parts->steep = span / (count - 1);
    if (span <= INT64_MAX) {
        int64_t low = 0, high = 0;
        for (size_t i = 0; i < count; i++) {
            int64_t above = (int64_t)(entries[i].key - first - parts->steep * i);
            low = above < low ? above : low;
            high = above > high ? above : high;
        }
        parts->begin = first + (uint64_t)low;
        parts->key_width = width_of((uint64_t)high - (uint64_t)low);
    } else {
        __int128 low = 0, high = 0;
        for (size_t i = 0; i < count; i++) {
            __int128 above = (__int128)(entries[i].key - first) - (__int128)(parts->steep * i);
            low = above < low ? above : low;
            high = above > high ? above : high;
        }
        parts->begin = first + (uint64_t)low;
        parts->key_width = width_of((uint64_t)(high - low));
    }
    parts->flags |= PACKED_HAS_LINE;
}

/* Sizes, deletions, and the offsets: chained or not, whichever is shorter. */
static void measure_records(const struct needle_entry *entries, size_t count, uint8_t version,
                            struct parts *parts)
{
    uint32_t low_size = UINT32_MAX, high_size = 0;
    uint64_t low = UINT64_MAX, high = 0, low_break = UINT64_MAX, high_break = 0, expected = UINT64_MAX;
    uint64_t deleted = 0, breaks = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t size = magnitude(entries[i].size);
        uint64_t units = entries[i].offset / NEEDLE_ALIGNMENT;
        low_size = size < low_size ? size : low_size;
        high_size = size > high_size ? size : high_size;
        low = units < low ? units : low;
        high = units > high ? units : high;
        deleted |= (uint64_t)(entries[i].size < 0) << i;
        if (units != expected) {
            breaks |= 1ull << i;
            low_break = units < low_break ? units : low_break;
            high_break = units > high_break ? units : high_break;
        }
        expected = units + record_units(version, size);
    }
    size_t break_count = (size_t)__builtin_popcountll(breaks);
    unsigned width = width_of(high - low), break_width = width_of(high_break - low_break);
    bool has_breaks = break_count > 1;
    bool is_chained =
        !has_breaks || 8 + list_bytes(break_count, break_width) < list_bytes(count, width);
    parts->size_base = low_size;
    parts->size_width = width_of(high_size - low_size);
    parts->deleted = deleted;
    parts->breaks = breaks;
    parts->offset_base = is_chained ? low_break : low;
    parts->offset_width = !is_chained ? width : has_breaks ? break_width : 0;
    parts->flags |= (uint8_t)((deleted ? PACKED_HAS_DELETED : 0) | (is_chained ? PACKED_IS_CHAINED : 0) |
                              (is_chained && has_breaks ? PACKED_HAS_BREAKS : 0));
}

static uint8_t *write_head(uint8_t *ret, const struct parts *parts)
{
    ret[0] = (uint8_t)parts->key_width;
    ret[1] = (uint8_t)parts->size_width;
    ret[2] = (uint8_t)parts->offset_width;
    ret[3] = parts->flags;
    store_le32(ret + 4, parts->size_base);
    store_le32(ret + 8, (uint32_t)parts->offset_base);
    ret[12] = (uint8_t)(parts->offset_base >> 32);
    uint8_t *at = ret + PACKED_BLOCK_HEAD;
    if (parts->flags & PACKED_HAS_DELETED) {
        store_le64(at, parts->deleted);
        at += 8;
    }
    if (parts->flags & PACKED_HAS_BREAKS) {
        store_le64(at, parts->breaks);
        at += 8;
    }
    if (parts->flags & PACKED_HAS_LINE) {
        store_le64(at, parts->steep);
        store_le64(at + 8, parts->begin);
        at += 16;
    }
    return at;
}

size_t packed_block_encode(uint8_t *ret, const struct needle_entry *entries, size_t count,
                           uint8_t version)
{
    struct parts parts = {0};
    CHECK(count > 0 && count <= PACKED_BLOCK_ENTRIES);
    measure_keys(entries, count, &parts);
    measure_records(entries, count, version, &parts);

    struct bit_writer writer = {.at = write_head(ret, &parts)};
    bool is_chained = (parts.flags & PACKED_IS_CHAINED) != 0;
    if (parts.key_width + parts.size_width + (is_chained ? 0 : parts.offset_width) > 0)
        for (size_t i = 0; i < count; i++) {
            if (parts.key_width > 0)
                write_bits(&writer, parts.key_width, entries[i].key - parts.begin - parts.steep * i);
            write_bits(&writer, parts.size_width, magnitude(entries[i].size) - parts.size_base);
            if (!is_chained)
                write_bits(&writer, parts.offset_width,
                           entries[i].offset / NEEDLE_ALIGNMENT - parts.offset_base);
        }
    uint8_t *at = finish_bits(&writer);
    if (parts.flags & PACKED_HAS_BREAKS) {
        writer = (struct bit_writer){.at = at};
        for (uint64_t left = parts.breaks; left != 0; left &= left - 1)
            write_bits(&writer, parts.offset_width,
                       entries[__builtin_ctzll(left)].offset / NEEDLE_ALIGNMENT - parts.offset_base);
        at = finish_bits(&writer);
    }
    return (size_t)(at - ret);
}

/* ---- decoding ---- */

static inline uint64_t key_at(const struct parts *parts, size_t i)
{
    return parts->begin + parts->steep * i +
           bits_at(parts->rows, i * parts->row_width, parts->key_width);
}

static inline uint32_t size_at(const struct parts *parts, size_t i)
{
    return parts->size_base + (uint32_t)bits_at(parts->rows, i * parts->row_width + parts->key_width,
                                                parts->size_width);
}

/* Of an entry whose row has it. */
static inline uint64_t row_offset_at(const struct parts *parts, size_t i)
{
    return parts->offset_base +
           bits_at(parts->rows, i * parts->row_width + parts->key_width + parts->size_width,
                   parts->offset_width);
}

/* The i-th that is stored behind the rows. */
static inline uint64_t break_offset_at(const struct parts *parts, size_t i)
{
    return parts->offset_base + bits_at(parts->offsets, i * parts->offset_width, parts->offset_width);
}

static inline int32_t signed_size(const struct parts *parts, size_t i, uint32_t size)
{
    return parts->deleted >> i & 1 ? (int32_t)(0u - size) : (int32_t)size;
}

void packed_block_decode(const uint8_t *block, uint64_t first_key, size_t count, uint8_t version,
                         struct needle_entry *ret)
{
    struct parts parts;
    find_parts(block, first_key, count, &parts);
    bool is_chained = (parts.flags & PACKED_IS_CHAINED) != 0;
    bool has_breaks = (parts.flags & PACKED_HAS_BREAKS) != 0;
    uint64_t units = parts.offset_base;
    size_t stored = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t size = size_at(&parts, i);
        if (!is_chained)
            units = row_offset_at(&parts, i);
        else if (has_breaks && parts.breaks >> i & 1)
            units = break_offset_at(&parts, stored++);
        ret[i] = (struct needle_entry){key_at(&parts, i), units * NEEDLE_ALIGNMENT,
                                       signed_size(&parts, i, size)};
        units += record_units(version, size);
    }
}

/* Where the record of entry i lies, if offsets are chained: from the last break on. */
static uint64_t follow_chain(const struct parts *parts, size_t i, uint8_t version)
{
    uint64_t before = parts->breaks & mask_of((unsigned)i + 1);
    size_t from = 63u - (size_t)__builtin_clzll(before);
    uint64_t units = parts->offset_base;
    if (parts->flags & PACKED_HAS_BREAKS)
        units = break_offset_at(parts, (size_t)__builtin_popcountll(before) - 1);
    if (parts->size_width == 0)
        return units + (i - from) * record_units(version, parts->size_base);
    for (; from < i; from++)
        units += record_units(version, size_at(parts, from));
    return units;
}

/* The place of the key among the entries, or `count`. */
static size_t find_key(const struct parts *parts, uint64_t first_key, size_t count, uint64_t key)
{
    if (key < first_key || parts->steep == 0)
        return count;
    uint64_t guess = (key - first_key) / parts->steep;
    size_t i = guess < count ? (size_t)guess : count - 1;
    uint64_t at = key_at(parts, i);
    while (at > key && i > 0)
        at = key_at(parts, --i);
    while (at < key && ++i < count)
        at = key_at(parts, i);
    return at == key ? i : count;
}

bool packed_block_find(const uint8_t *block, uint64_t first_key, size_t count, uint8_t version,
                       uint64_t key, struct needle_entry *ret)
{
    struct parts parts;
    find_parts(block, first_key, count, &parts);
    size_t i = find_key(&parts, first_key, count, key);
    if (i >= count)
        return false;
    uint64_t units = parts.flags & PACKED_IS_CHAINED ? follow_chain(&parts, i, version)
                                                     : row_offset_at(&parts, i);
    *ret = (struct needle_entry){key, units * NEEDLE_ALIGNMENT,
                                 signed_size(&parts, i, size_at(&parts, i))};
    return true;
}
