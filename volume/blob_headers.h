/* The headers of a read that come from the needle and from the URL. Source: spec/volume-http.md
 * 8.10 to 8.15. Loop thread. */
#pragma once

#include "volume/blob.h"

/* The stored pairs and the content type; sets blob->type, has_type, has_encoding,
 * has_disposition. */
void blob_headers_stored(struct blob *blob);
/* Under what name it goes out; may be empty. */
struct slice blob_headers_file_name(const struct blob *blob);
/* The response-* parameters and Content-Disposition. */
void blob_headers_asked(struct blob *blob);
