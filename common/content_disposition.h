/* The Content-Disposition header: what a read sends and what a raw upload names itself with.
 * Source: spec/volume-http.md 8.15 and 14.4. Pure; any thread. */
#pragma once

#include "common/arena.h"
#include "common/buffer.h"

/* `inline; filename=a.txt`, `attachment; filename="3,01"`, `inline; filename*=utf-8''%C3%A4`. */
void content_disposition_format(struct buffer *out, bool is_attachment, struct slice filename);

/* The name in the header of a raw upload; empty (len 0) when there is none that counts, and the
 * last segment of the URL path is to be used instead. */
struct slice content_disposition_raw_name(struct arena *arena, struct slice header);

/* The part after the last '/' or '\' that something follows, as the peer takes names of files. */
struct slice content_disposition_base_name(struct slice name);
