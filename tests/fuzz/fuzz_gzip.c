/* gzip streams from clients: what is measured is what comes out, and what was packed comes back. */
#include "tests/fuzz/fuzz.h"

#include "common/gzip.h"

#define LIMIT (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice text = slice_of(bytes, input_size);
    char *plain, *packed;
    size_t plain_size, packed_size;
    uint64_t measured;
    struct error err;
    int code = gzip_decompress(text, LIMIT, &plain, &plain_size, &err);
    CHECK(code == gzip_measure(text, LIMIT, &measured, &err));
    if (code == 0) {
        CHECK(measured == plain_size && plain_size <= LIMIT);
        free(plain);
    }
    CHECK(gzip_compress(text, &packed, &packed_size, &err) == 0);
    CHECK(gzip_decompress(slice_of(packed, packed_size), LIMIT, &plain, &plain_size, &err) == 0);
    CHECK(slice_equals(slice_of(plain, plain_size), text));
    free(plain);
    free(packed);
    return 0;
}
