/* A blocked Bloom filter: each key has one line of 512 bits, and a bit in each of its eight words. Twelve bits
 * a key. */
#include "volume/storage/index/key_filter.h"

#include <stdlib.h>

#define BITS_PER_KEY 12u
#define WORDS        8u

struct line {
    uint64_t words[WORDS];
} __attribute__((aligned(64)));

struct key_filter {
    uint64_t seed, line_count;
    struct line *lines;
};

struct key_filter *key_filter_create(uint64_t expected, uint64_t seed)
{
    struct key_filter *filter = malloc(sizeof(*filter));
    uint64_t count = expected * BITS_PER_KEY / 512 + 1;
    struct line *lines = filter ? aligned_alloc(sizeof(*lines), count * sizeof(*lines)) : NULL;
    if (!lines) {
        free(filter);
        return NULL;
    }
    for (uint64_t i = 0; i < count; i++)
        lines[i] = (struct line){{0}};
    *filter = (struct key_filter){seed, count, lines};
    return filter;
}

void key_filter_destroy(struct key_filter *filter)
{
    if (filter)
        free(filter->lines);
    free(filter);
}

uint64_t key_filter_bytes(const struct key_filter *filter)
{
    return filter ? filter->line_count * sizeof(struct line) : 0;
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

bool key_filter_add(struct key_filter *filter, uint64_t key)
{
    uint64_t h = mix(key ^ filter->seed);
    struct line *line = &filter->lines[(uint64_t)((unsigned __int128)h * filter->line_count >> 64)];
    uint64_t bits = mix(h);
    bool was_there = true;
    for (unsigned i = 0; i < WORDS; i++, bits >>= 6) {
        uint64_t bit = 1ull << (bits & 63);
        was_there = was_there && (line->words[i] & bit);
        line->words[i] |= bit;
    }
    return was_there;
}

bool key_filter_has(const struct key_filter *filter, uint64_t key)
{
    uint64_t h = mix(key ^ filter->seed);
    const struct line *line =
        &filter->lines[(uint64_t)((unsigned __int128)h * filter->line_count >> 64)];
    uint64_t bits = mix(h);
    for (unsigned i = 0; i < WORDS; i++, bits >>= 6)
        if (!(line->words[i] & 1ull << (bits & 63)))
            return false;
    return true;
}
