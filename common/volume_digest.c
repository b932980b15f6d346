/* See the header for the byte table. */
#include "common/volume_digest.h"

#include "common/bytes.h"

#include <xxhash.h>

#define BUFFER_SIZE 57

static uint64_t fold(uint64_t h, uint64_t x)
{
    h = (h ^ x) * 0x9E3779B97F4A7C15u;
    return h ^ (h >> 29);
}

static uint64_t hash_text(const char *text)
{
    return text ? XXH64(text, strlen(text), 0) : XXH64("", 0, 0);
}

static uint64_t clamp32(uint64_t count) { return count > UINT32_MAX ? UINT32_MAX : count; }

uint64_t volume_digest_of(const struct volume_record *record)
{
    unsigned char b[BUFFER_SIZE];
    uint32_t ttl = record->ttl & 0xffff;
    store_le32(b, record->id);
    store_le64(b + 4, record->size);
    store_le64(b + 12, clamp32(record->file_count));
    store_le64(b + 20, clamp32(record->delete_count));
    store_le64(b + 28, record->deleted_byte_count);
    store_le32(b + 36, record->replica_placement & 0xff);
    store_le32(b + 40, record->version & 0xff);
    store_le32(b + 44, ttl >> 8 ? ttl : 0);
    store_le32(b + 48, record->compact_revision);
    store_le32(b + 52, record->disk_id);
    b[56] = (unsigned char)((record->read_only ? 1 : 0) + (record->read_only_can_delete ? 2 : 0));

    unsigned char modified[8];
    store_le64(modified, (uint64_t)record->modified_at_second);
    uint64_t h = XXH64(b, sizeof(b), 0);
    h = fold(h, XXH64(modified, sizeof(modified), 0));
    h = fold(h, hash_text(record->collection));
    h = fold(h, hash_text(record->disk_type));
    return fold(h, hash_text(record->remote_storage_name));
}
