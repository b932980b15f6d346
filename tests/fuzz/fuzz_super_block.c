/* The first bytes of a .dat. */
#include "tests/fuzz/fuzz.h"

#include "volume/storage/format/super_block.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    uint8_t block[SUPER_BLOCK_SIZE] = {0}, again[SUPER_BLOCK_SIZE];
    if (input_size)
        memcpy(block, bytes, input_size < sizeof(block) ? input_size : sizeof(block));
    struct super_block parsed;
    if (super_block_load(block, &parsed, NULL) != 0)
        return 0;
    super_block_store(again, &parsed);
    CHECK(memcmp(block, again, sizeof(block)) == 0);
    CHECK(super_block_end(&parsed) >= SUPER_BLOCK_SIZE && super_block_end(&parsed) % 8 == 0);
    CHECK(replica_placement_copies(parsed.replica_placement) >= 1);
    char text[10], ttl[8];
    replica_placement_format(parsed.replica_placement, text);
    ttl_format(parsed.ttl, ttl);
    CHECK(strlen(text) == 3);
    ttl_minutes(parsed.ttl);
    return 0;
}
