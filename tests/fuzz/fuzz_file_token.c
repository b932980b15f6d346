/* Tokens: any text is refused without harm, and what was signed is taken, for its file id only. */
#include "tests/fuzz/fuzz.h"

#include "common/file_token.h"

static const struct slice key = {"secret", 6};

/* A signed token in which bytes were changed is good only when all of them are what they were. */
static void check_changed(struct slice input)
{
    char token[FILE_TOKEN_MAX];
    struct slice fid = SLICE("3,01637037d6");
    CHECK(file_token_sign(key, fid, 2000000000, token, NULL) == 0);
    size_t size = strlen(token);
    bool is_changed = false;
    while (input.len > 0) {
        size_t at = fuzz_take_byte(&input) % (size - 1); /* the last character has spare bits */
        char byte = (char)fuzz_take_byte(&input);
        is_changed |= token[at] != byte;
        token[at] = byte;
    }
    int code = file_token_verify(key, slice_of(token, size), fid, 0, NULL);
    struct slice whole = slice_of(token, size);
    char again[FILE_TOKEN_MAX];
    CHECK(file_token_sign(key, fid, 2000000000, again, NULL) == 0);
    CHECK((code == 0) == slice_equals(whole, slice_cstr(again)));
    CHECK(is_changed || code == 0);
}

static void check_signed(struct slice fid, int64_t expires_s)
{
    char token[FILE_TOKEN_MAX];
    if (memchr(fid.ptr, 0, fid.len) || file_token_sign(key, fid, expires_s, token, NULL) != 0)
        return;
    bool has_end = expires_s > 0 && expires_s <= INT64_MAX / 1000000000; /* one that a clock can tell */
    int64_t end_ns = has_end ? expires_s * 1000000000 : INT64_MAX;
    int code = file_token_verify(key, slice_cstr(token), fid, end_ns - 1, NULL);
    bool is_text = true; /* JSON carries no other bytes */
    for (size_t i = 0; i < fid.len; i++)
        is_text &= fid.ptr[i] > 0;
    CHECK(!is_text || code == 0);
    CHECK(file_token_verify(key, slice_cstr(token), SLICE("other"), end_ns - 1, NULL) != 0 ||
          slice_equals(fid, SLICE("other")));
    if (has_end)
        CHECK(file_token_verify(key, slice_cstr(token), fid, end_ns, NULL) != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes ? (const char *)bytes : "", input_size);
    struct error err;
    CHECK(file_token_verify(key, input, SLICE("3,01637037d6"), 0, &err) != 0 || input.len > 100);
    check_changed(slice_until(input, 16));
    int64_t expires_s = (int64_t)(fuzz_take_u64(&input) >> 30);
    check_signed(input, expires_s);
    return 0;
}
