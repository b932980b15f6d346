/* Encoding, decoding and searching of packed blocks. See the header for the byte table. */
#include "volume/storage/packed_block.h"

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

/* The list was zeros there. */
static inline void put_bits(uint8_t *list, size_t at, unsigned width, uint64_t value)
{
    uint8_t *p = list + (at >> 3);
    unsigned shift = at & 7;
    if (width == 0)
        return;
    store_le64(p, load_le64(p) | value << shift);
    if (width + shift > 64)
        p[8] = (uint8_t)(value >> (64 - shift));
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
    uint8_t flags;
    uint32_t size_base;
    uint64_t offset_base;
    uint64_t deleted, breaks;
    size_t stored; /* offsets in the list */
    const uint8_t *keys, *sizes, *offsets, *end;
};

static inline void find_parts(const uint8_t *block, size_t count, struct parts *ret)
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
    ret->stored = ret->flags & PACKED_IS_CHAINED ? 0 : count;
    if (ret->flags & PACKED_HAS_BREAKS) {
        ret->breaks = load_le64(at) | 1;
        ret->stored = (size_t)__builtin_popcountll(ret->breaks);
        at += 8;
    }
    ret->keys = at;
    ret->sizes = ret->keys + list_bytes(count - 1, ret->key_width);
    ret->offsets = ret->sizes + list_bytes(count, ret->size_width);
    ret->end = ret->offsets + list_bytes(ret->stored, ret->offset_width);
}

size_t packed_block_length(const uint8_t *block, size_t size, size_t count)
{
    struct parts parts;
    if (size < PACKED_BLOCK_HEAD || count == 0 || count > PACKED_BLOCK_ENTRIES || block[0] > 64 ||
        block[1] > 32 || block[2] > 40 || block[3] > 7 ||
        (block[3] & (PACKED_IS_CHAINED | PACKED_HAS_BREAKS)) == PACKED_HAS_BREAKS)
        return 0;
    size_t maps = (block[3] & PACKED_HAS_DELETED ? 8u : 0u) + (block[3] & PACKED_HAS_BREAKS ? 8u : 0u);
    if (size < PACKED_BLOCK_HEAD + maps)
        return 0;
    find_parts(block, count, &parts);
    size_t length = (size_t)(parts.end - block);
    return length <= size ? length : 0;
}

/* ---- encoding ---- */

/* What the lists need, found in one pass. */
struct measures {
    uint64_t longest_step;
    uint32_t low_size, high_size;
    uint64_t deleted, breaks;
    uint64_t low_offset, high_offset;             /* of all */
    uint64_t low_break_offset, high_break_offset; /* of those that are breaks */
};

static void measure(const struct needle_entry *entries, size_t count, uint8_t version,
                    struct measures *ret)
{
    struct measures m = {.low_size = UINT32_MAX, .low_offset = UINT64_MAX, .low_break_offset = UINT64_MAX};
    uint64_t expected = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        uint32_t size = magnitude(entries[i].size);
        uint64_t units = entries[i].offset / NEEDLE_ALIGNMENT;
        if (i > 0 && entries[i].key - entries[i - 1].key - 1 > m.longest_step)
            m.longest_step = entries[i].key - entries[i - 1].key - 1;
        m.low_size = size < m.low_size ? size : m.low_size;
        m.high_size = size > m.high_size ? size : m.high_size;
        m.low_offset = units < m.low_offset ? units : m.low_offset;
        m.high_offset = units > m.high_offset ? units : m.high_offset;
        m.deleted |= (uint64_t)(entries[i].size < 0) << i;
        if (units != expected) {
            m.breaks |= 1ull << i;
            m.low_break_offset = units < m.low_break_offset ? units : m.low_break_offset;
            m.high_break_offset = units > m.high_break_offset ? units : m.high_break_offset;
        }
        expected = units + record_units(version, size);
    }
    *ret = m;
}

/* Chained or not, whichever is shorter. */
static void choose_offsets(const struct measures *m, size_t count, struct parts *parts)
{
    size_t breaks = (size_t)__builtin_popcountll(m->breaks);
    unsigned width = width_of(m->high_offset - m->low_offset);
    unsigned break_width = width_of(m->high_break_offset - m->low_break_offset);
    parts->offset_base = m->low_offset;
    parts->offset_width = width;
    parts->stored = count;
    if (breaks == 1) {
        parts->flags |= PACKED_IS_CHAINED;
        parts->offset_base = m->low_break_offset;
        parts->offset_width = 0;
        parts->stored = 0;
    } else if (8 + list_bytes(breaks, break_width) < list_bytes(count, width)) {
        parts->flags |= PACKED_IS_CHAINED | PACKED_HAS_BREAKS;
        parts->offset_base = m->low_break_offset;
        parts->offset_width = break_width;
        parts->stored = breaks;
    }
}

size_t packed_block_encode(uint8_t *ret, const struct needle_entry *entries, size_t count,
                           uint8_t version)
{
    struct measures m;
    struct parts parts = {0};
    CHECK(count > 0 && count <= PACKED_BLOCK_ENTRIES);
    measure(entries, count, version, &m);
    parts.key_width = width_of(m.longest_step);
    parts.size_width = width_of(m.high_size - m.low_size);
    parts.flags = m.deleted ? PACKED_HAS_DELETED : 0;
    choose_offsets(&m, count, &parts);

    ret[0] = (uint8_t)parts.key_width;
    ret[1] = (uint8_t)parts.size_width;
    ret[2] = (uint8_t)parts.offset_width;
    ret[3] = parts.flags;
    store_le32(ret + 4, m.low_size);
    store_le32(ret + 8, (uint32_t)parts.offset_base);
    ret[12] = (uint8_t)(parts.offset_base >> 32);
    uint8_t *at = ret + PACKED_BLOCK_HEAD;
    if (parts.flags & PACKED_HAS_DELETED) {
        store_le64(at, m.deleted);
        at += 8;
    }
    if (parts.flags & PACKED_HAS_BREAKS) {
        store_le64(at, m.breaks);
        at += 8;
    }
    for (size_t i = 1; parts.key_width > 0 && i < count; i++)
        put_bits(at, (i - 1) * parts.key_width, parts.key_width,
                 entries[i].key - entries[i - 1].key - 1);
    at += list_bytes(count - 1, parts.key_width);
    for (size_t i = 0; parts.size_width > 0 && i < count; i++)
        put_bits(at, i * parts.size_width, parts.size_width, magnitude(entries[i].size) - m.low_size);
    at += list_bytes(count, parts.size_width);
    bool is_chained = (parts.flags & PACKED_IS_CHAINED) != 0;
    for (size_t i = 0, stored = 0; stored < parts.stored; i++)
        if (!is_chained || m.breaks >> i & 1)
            put_bits(at, stored++ * parts.offset_width, parts.offset_width,
                     entries[i].offset / NEEDLE_ALIGNMENT - parts.offset_base);
    at += list_bytes(parts.stored, parts.offset_width);
    return (size_t)(at - ret);
}

/* ---- decoding ---- */

static inline uint32_t size_at(const struct parts *parts, size_t i)
{
    return parts->size_base + (uint32_t)bits_at(parts->sizes, i * parts->size_width, parts->size_width);
}

static inline uint64_t stored_offset_at(const struct parts *parts, size_t i)
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
    find_parts(block, count, &parts);
    bool is_chained = (parts.flags & PACKED_IS_CHAINED) != 0;
    bool has_breaks = (parts.flags & PACKED_HAS_BREAKS) != 0;
    uint64_t key = first_key, units = parts.offset_base;
    size_t stored = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            key += bits_at(parts.keys, (i - 1) * parts.key_width, parts.key_width) + 1;
        uint32_t size = size_at(&parts, i);
        if (!is_chained || (has_breaks && parts.breaks >> i & 1))
            units = stored_offset_at(&parts, stored++);
        ret[i] = (struct needle_entry){key, units * NEEDLE_ALIGNMENT, signed_size(&parts, i, size)};
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
        units = stored_offset_at(parts, (size_t)__builtin_popcountll(before) - 1);
    if (parts->size_width == 0)
        return units + (i - from) * record_units(version, parts->size_base);
    for (; from < i; from++)
        units += record_units(version, size_at(parts, from));
    return units;
}

/* The place of the key among the entries, or `count`. */
static size_t find_key(const struct parts *parts, uint64_t first_key, size_t count, uint64_t key)
{
    uint64_t at = first_key;
    if (key < first_key)
        return count;
    if (parts->key_width == 0)
        return key - first_key < count ? (size_t)(key - first_key) : count;
    size_t i = 0;
    while (at < key && ++i < count)
        at += bits_at(parts->keys, (i - 1) * parts->key_width, parts->key_width) + 1;
    return at == key ? i : count;
}

bool packed_block_find(const uint8_t *block, uint64_t first_key, size_t count, uint8_t version,
                       uint64_t key, struct needle_entry *ret)
{
    struct parts parts;
    find_parts(block, count, &parts);
    size_t i = find_key(&parts, first_key, count, key);
    if (i >= count)
        return false;
    uint64_t units = parts.flags & PACKED_IS_CHAINED ? follow_chain(&parts, i, version)
                                                     : stored_offset_at(&parts, i);
    *ret = (struct needle_entry){key, units * NEEDLE_ALIGNMENT,
                                 signed_size(&parts, i, size_at(&parts, i))};
    return true;
}
