/* volume_stat tells what is stored, not what it costs to find it; the index of the current
 * generation knows. */
#include "volume/index_memory.h"

#include "volume/storage/volume_internal.h"

uint64_t index_memory_bytes(struct volume *volume)
{
    struct needle_index_stat stat;
    struct volume_generation *generation = volume_get_generation(volume);
    needle_index_stat(generation->index, &stat);
    volume_generation_unref(generation);
    return stat.memory_bytes;
}
