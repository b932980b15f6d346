/* Content-Disposition and the header values that are built alike. */
#include "tests/fuzz/fuzz.h"

#include "common/content_disposition.h"
#include "common/media_type.h"

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < ' ' || text.ptr[i] > '~' || text.ptr[i] == '/' || text.ptr[i] == '\\')
            return false;
    return text.len > 0;
}

/* A plain name that is sent comes back as the same. */
static void check_name(struct arena *arena, struct slice name)
{
    if (!is_plain(name))
        return;
    struct buffer header = BUFFER_INIT;
    content_disposition_format(&header, name.len & 1, name);
    struct slice again = content_disposition_raw_name(arena, buffer_slice(&header));
    CHECK(slice_equals(again, name));
    buffer_fini(&header);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice text = slice_of(bytes, input_size);
    if (memchr(bytes ? (const char *)bytes : "", 0, input_size))
        return 0; /* a header never holds one: the parser refuses it */
    struct arena arena;
    arena_init(&arena);
    CHECK(fuzz_lies_within(content_disposition_base_name(text), text));
    content_disposition_raw_name(&arena, text);
    check_name(&arena, text);
    struct media_type type;
    struct error err;
    if (media_type_parse(&arena, text, &type, &err) == 0)
        for (size_t i = 0; i < type.param_count; i++)
            CHECK(type.params[i].name.len <= text.len && type.params[i].value.len <= text.len);
    struct buffer out = BUFFER_INIT;
    content_disposition_format(&out, false, text);
    CHECK(media_type_parse(&arena, buffer_slice(&out), &type, NULL) == 0);
    buffer_fini(&out);
    arena_fini(&arena);
    return 0;
}
