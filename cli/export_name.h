/* The names under which `kelp export` writes needles: a format with fields, as the peer has it,
 * and what makes a name safe to be created under a folder. Pure; any thread. */
#pragma once

#include "common/buffer.h"
#include "common/error.h"

struct export_fields {
    struct slice name, id, mime, key, ext; /* "a.txt", "1f", "text/plain", "3,1f637037d6", ".txt" */
};

/* Appends the text of the format "{{.Id}}_{{.Name}}{{.Ext}}". KELP_E_INVALID, and what fields
 * there are, for anything else between braces. */
int export_name_expand(const char *format, const struct export_fields *fields, struct buffer *out,
                       struct error *err);
/* From the last dot of the last part of a path on; empty when there is none. */
struct slice export_name_ext(struct slice name);
/* Appends the name in a form that stays within its folder, whatever is in it: no slash at either
 * end, no empty part, no "." and ".." (each dot becomes "_"), no zero bytes, no part of more than
 * 255 bytes. Never empty: "_" at least. */
void export_name_sanitize(struct slice name, struct buffer *out);
