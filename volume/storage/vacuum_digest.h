/* A digest of a set of live records that does not depend on their order, so that it can follow a
 * set that changes: adding and removing one costs the same. Over (key, size, CRC) of each. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct vacuum_digest {
    uint64_t sum;
    uint64_t count;
};

void vacuum_digest_add(struct vacuum_digest *digest, uint64_t key, int32_t size, uint32_t checksum);
void vacuum_digest_remove(struct vacuum_digest *digest, uint64_t key, int32_t size,
                          uint32_t checksum);
static inline bool vacuum_digest_equals(const struct vacuum_digest *a,
                                        const struct vacuum_digest *b)
{
    return a->sum == b->sum && a->count == b->count;
}
