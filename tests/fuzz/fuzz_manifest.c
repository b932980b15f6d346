/* Chunk manifests: JSON from a client. */
#include "tests/fuzz/fuzz.h"

#include "volume/blob_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct arena arena;
    arena_init(&arena);
    struct blob_manifest manifest;
    struct error err;
    if (blob_manifest_parse(&arena, slice_of(bytes, input_size), &manifest, &err) == 0) {
        uint64_t total = 0;
        for (size_t i = 0; i < manifest.count; i++) {
            CHECK(i == 0 || manifest.chunks[i - 1].offset <= manifest.chunks[i].offset);
            CHECK(manifest.chunks[i].fid.len > 0);
            total += manifest.chunks[i].size;
        }
        CHECK(total == manifest.total);
    }
    arena_fini(&arena);
    return 0;
}
