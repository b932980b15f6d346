/* Encoding of the super block. Pure; any thread. */
#include "volume/storage/format/super_block.h"

#include "volume/storage/format/needle.h"

void super_block_store(uint8_t bytes[SUPER_BLOCK_SIZE], const struct super_block *block)
{
    bytes[0] = block->version;
    bytes[1] = replica_placement_to_byte(block->replica_placement);
    bytes[2] = block->ttl.count;
    bytes[3] = block->ttl.unit;
    store_be16(bytes + 4, block->compact_revision);
    store_be16(bytes + 6, block->extra_size);
}

int super_block_load(const uint8_t bytes[SUPER_BLOCK_SIZE], struct super_block *ret,
                     struct error *err)
{
    if (bytes[0] < 1 || bytes[0] > NEEDLE_VERSION)
        return error_set(err, KELP_E_CORRUPT, "super block: version %u is not known", bytes[0]);
    ret->version = bytes[0];
    ret->replica_placement = replica_placement_from_byte(bytes[1]);
    ret->ttl = (struct ttl){bytes[2], bytes[3]};
    ret->compact_revision = load_be16(bytes + 4);
    ret->extra_size = load_be16(bytes + 6);
    return 0;
}

uint64_t super_block_end(const struct super_block *block)
{
    uint64_t end = SUPER_BLOCK_SIZE + (block->version == 1 ? 0u : block->extra_size);
    return (end + NEEDLE_ALIGNMENT - 1) & ~(uint64_t)(NEEDLE_ALIGNMENT - 1);
}
