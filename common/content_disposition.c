/* Content-Disposition, both ways. */
#include "common/content_disposition.h"

#include "common/media_type.h"

void content_disposition_format(struct buffer *out, bool is_attachment, struct slice filename)
{
    buffer_append_text(out, is_attachment ? "attachment" : "inline");
    media_type_append_param(out, "filename", filename);
}

static bool is_separator(char c) { return c == '/' || c == '\\'; }

struct slice content_disposition_base_name(struct slice name)
{
    while (name.len > 0 && is_separator(name.ptr[name.len - 1]))
        name.len--;
    for (size_t i = name.len; i > 0; i--)
        if (is_separator(name.ptr[i - 1]))
            return slice_from(name, i);
    return name;
}

static bool has_param(const struct media_type *type, const char *name)
{
    return media_type_param(type, name).ptr != NULL;
}

struct slice content_disposition_raw_name(struct arena *arena, struct slice header)
{
    struct slice none = {NULL, 0};
    if (header.len == 0 || !memmem(header.ptr, header.len, "name=", 5))
        return none;
    if (!slice_starts(header, SLICE("inline")) && !slice_starts(header, SLICE("attachment")))
        header = slice_cstr(arena_printf(arena, "attachment; %.*s", (int)header.len, header.ptr));
    struct media_type type;
    if (media_type_parse(arena, header, &type, NULL) < 0)
        return none;
    /* An empty filename does not fall back to name. */
    struct slice name = media_type_param(&type, has_param(&type, "filename") ? "filename" : "name");
    return name.len ? content_disposition_base_name(name) : none;
}
