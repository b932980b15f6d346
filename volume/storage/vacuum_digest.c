/* The sum of one hash per record, modulo 2^64. See vacuum_digest.h. */
#include "volume/storage/vacuum_digest.h"

#include "common/bytes.h"

#include <xxhash.h>

static uint64_t record_hash(uint64_t key, int32_t size, uint32_t checksum)
{
    uint8_t bytes[16];
    store_be64(bytes, key);
    store_be32(bytes + 8, (uint32_t)size);
    store_be32(bytes + 12, checksum);
    return XXH64(bytes, sizeof(bytes), 0);
}

void vacuum_digest_add(struct vacuum_digest *digest, uint64_t key, int32_t size, uint32_t checksum)
{
    digest->sum += record_hash(key, size, checksum);
    digest->count++;
}

void vacuum_digest_remove(struct vacuum_digest *digest, uint64_t key, int32_t size,
                          uint32_t checksum)
{
    digest->sum -= record_hash(key, size, checksum);
    digest->count--;
}
