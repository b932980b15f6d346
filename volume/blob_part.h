/* A range of a middle-sized blob, without reading the rest of it. Loop thread. */
#pragma once

#include "volume/blob.h"

/* Records of this size and less cost little to read whole; longer ones than the other are streamed. */
#define BLOB_PART_RECORD_MIN (32u << 10)
#define BLOB_PART_RECORD_MAX (1u << 20)

/* Loads what the request's range asks for, if that can be had now and is known to be sound: needle,
 * blob->part, and blob->code, which may tell of a failure. False: nothing has happened, read the
 * record whole. */
bool blob_part_load(struct blob *blob);
/* The record was read whole and is sound: the next range of it may be had alone. */
void blob_part_remember(struct blob *blob);
