/* Content types: by file name extension, by looking at the bytes, and which of them are worth
 * compressing. Source: spec/volume-http.md 3.5, 14.7, appendices A and B. Pure; any thread. */
#pragma once

#include "common/bytes.h"

/* `extension` with its dot, any case; ptr is NULL when unknown. */
struct slice mime_by_extension(struct slice extension);
/* By the extension of a file name (from its last dot); ptr is NULL when there is none or it is
 * unknown. */
struct slice mime_by_name(struct slice name);
/* Never NULL: "application/octet-stream" when nothing fits. Looks at the first 512 bytes. */
struct slice mime_sniff(struct slice data);
/* Whether an upload is to be tried with gzip: `type` as given, sniffed when empty; `name` is the
 * base file name. */
bool mime_is_compressible(struct slice type, struct slice name, struct slice data);
