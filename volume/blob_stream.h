/* Sending a big blob piece by piece, in bounded memory. Source: spec/volume-http.md 8.5. Loop
 * thread. */
#pragma once

#include "volume/blob.h"

#define BLOB_STREAM_PIECE (64u << 10)

/* A stretch of the data, and the text that goes before it. */
struct blob_stream_segment {
    struct slice head; /* in the arena */
    uint64_t position, length;
};

struct blob_stream_plan {
    int status;
    const struct blob_stream_segment *segments; /* in the arena */
    size_t segment_count;
    struct slice tail;     /* after the last; in the arena */
    uint64_t total_length; /* of heads, stretches and tail */
    bool is_to_sniff;      /* sets Content-Type by the first bytes of the first stretch */
};

/* From blob->content, or from the volume when the blob is_streamed (and still holds its read).
 * Answers the call and lets go. */
void blob_stream_start(struct blob *blob, const struct blob_stream_plan *plan);
