/* Configuration files: any bytes parse or are refused with a place; nothing is visited on failure. */
#include "tests/fuzz/fuzz.h"

#include "common/toml.h"

struct tally {
    size_t visits;
};

static void visit(void *ctx, const char *key, const char *value)
{
    struct tally *tally = ctx;
    CHECK(key && value);
    for (const char *p = key; *p; p++)
        CHECK(*p < 'A' || *p > 'Z');
    tally->visits++;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct tally tally = {0};
    struct error err = {0};
    int code = toml_parse(bytes ? (const char *)bytes : "", input_size, visit, &tally, &err);
    CHECK(code == 0 || (tally.visits == 0 && err.code == code && err.message[0]));
    return 0;
}
