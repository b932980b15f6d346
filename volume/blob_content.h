/* From a loaded blob to the answer: conditions, headers, decompression, ranges.
 * Source: spec/volume-http.md 8.6 to 8.17, 9, 10. Loop thread. */
#pragma once

#include "volume/blob.h"

/* Answers the blob's call. */
void blob_content_respond(struct blob *blob);
