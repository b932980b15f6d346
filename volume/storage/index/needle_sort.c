/* A radix sort from the lowest digit up, of 11 bits each; digits that all entries share are left out, and
 * entries that are in order already are found so. */
#include "volume/storage/index/needle_sort.h"

#define DIGIT_BITS 11u
#define DIGITS     6u
#define RADIX      (1u << DIGIT_BITS)

static inline uint64_t value_of(const struct needle_entry *entry, enum needle_index_order order)
{
    return order == NEEDLE_INDEX_BY_KEY ? entry->key : entry->offset;
}

static inline size_t digit_of(uint64_t value, unsigned digit)
{
    return value >> (digit * DIGIT_BITS) & (RADIX - 1);
}

/* Counts of each digit's values; false when there is nothing to sort. */
static bool count_digits(const struct needle_entry *entries, size_t count,
                         enum needle_index_order order, uint32_t counts[DIGITS][RADIX])
{
    uint64_t last = 0;
    bool is_sorted = true;
    memset(counts, 0, sizeof(uint32_t) * DIGITS * RADIX);
    for (size_t i = 0; i < count; i++) {
        uint64_t value = value_of(&entries[i], order);
        is_sorted = is_sorted && value >= last;
        last = value;
        for (unsigned digit = 0; digit < DIGITS; digit++)
            counts[digit][digit_of(value, digit)]++;
    }
    return !is_sorted;
}

void needle_sort(struct needle_entry *entries, size_t count, enum needle_index_order order,
                 struct needle_entry *scratch)
{
    uint32_t counts[DIGITS][RADIX];
    struct needle_entry *from = entries, *to = scratch;
    if (count < 2 || !count_digits(entries, count, order, counts))
        return;
    for (unsigned digit = 0; digit < DIGITS; digit++) {
        uint32_t *places = counts[digit], sum = 0;
        if (places[digit_of(value_of(&entries[0], order), digit)] == count)
            continue;
        for (size_t i = 0; i < RADIX; i++) {
            uint32_t n = places[i];
            places[i] = sum;
            sum += n;
        }
        for (size_t i = 0; i < count; i++)
            to[places[digit_of(value_of(&from[i], order), digit)]++] = from[i];
        struct needle_entry *swap = from;
        from = to;
        to = swap;
    }
    if (from != entries)
        memcpy(entries, from, count * sizeof(*entries));
}
