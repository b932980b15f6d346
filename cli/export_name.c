/* Names of exported needles. See the header. */
#include "cli/export_name.h"

#include <string.h>

#define PART_MAX 255u

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool append_field(struct slice field, const struct export_fields *fields, struct buffer *out)
{
    const struct {
        const char *name;
        struct slice value;
    } all[] = {
        {".Name", fields->name}, {".Id", fields->id},   {".Mime", fields->mime},
        {".Key", fields->key},   {".Ext", fields->ext},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (slice_equals(field, slice_cstr(all[i].name))) {
            buffer_append_slice(out, all[i].value);
            return true;
        }
    return false;
}

int export_name_expand(const char *format, const struct export_fields *fields, struct buffer *out,
                       struct error *err)
{
    for (const char *p = format; *p;) {
        const char *open = strstr(p, "{{");
        if (!open) {
            buffer_append_text(out, p);
            return 0;
        }
        const char *close = strstr(open, "}}");
        buffer_append(out, p, (size_t)(open - p));
        struct slice field =
            close ? slice_of(open + 2, (size_t)(close - open - 2)) : slice_of(open, 0);
        while (field.len > 0 && is_blank(field.ptr[0]))
            field = slice_from(field, 1);
        while (field.len > 0 && is_blank(field.ptr[field.len - 1]))
            field.len--;
        if (!close || !append_field(field, fields, out))
            return error_set(
                err, KELP_E_INVALID,
                "-fileNameFormat: \"%.40s\" is no field; there are {{.Name}}, {{.Id}}, "
                "{{.Mime}}, {{.Key}} and {{.Ext}}",
                open);
        p = close + 2;
    }
    return 0;
}

struct slice export_name_ext(struct slice name)
{
    for (size_t i = name.len; i > 0 && name.ptr[i - 1] != '/'; i--)
        if (name.ptr[i - 1] == '.')
            return slice_from(name, i - 1);
    return slice_of(name.ptr, 0);
}

static void append_part(struct slice part, struct buffer *out)
{
    bool is_dots = slice_equals(part, SLICE(".")) || slice_equals(part, SLICE(".."));
    size_t length = part.len < PART_MAX ? part.len : PART_MAX;
    for (size_t i = 0; i < length; i++)
        buffer_append_char(out, part.ptr[i] == '\0' || is_dots ? '_' : part.ptr[i]);
}

void export_name_sanitize(struct slice name, struct buffer *out)
{
    bool has_part = false;
    for (size_t at = 0; at < name.len;) {
        size_t end = at;
        while (end < name.len && name.ptr[end] != '/')
            end++;
        if (end > at) {
            if (has_part)
                buffer_append_char(out, '/');
            append_part(slice_of(name.ptr + at, end - at), out);
            has_part = true;
        }
        at = end + 1;
    }
    if (!has_part)
        buffer_append_char(out, '_');
}
