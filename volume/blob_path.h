/* The URL grammar of blobs: /vid,fid[.ext], /vid/fid[.ext], /vid/fid/filename.
 * Source: spec/volume-http.md 4. Pure; any thread. */
#pragma once

#include "common/bytes.h"

/* Slices of the path that was parsed; len 0 when absent. */
struct blob_path {
    struct slice vid, fid;
    struct slice filename; /* the third segment */
    struct slice ext;      /* with its dot */
};

/* Never fails: what does not fit ends up as a vid or fid that does not parse. `path` is decoded. */
void blob_path_parse(struct slice path, struct blob_path *ret);

/* What writes take as the needle id: the text after the last comma (the whole path if there is
 * none), up to the last dot behind it. */
struct slice blob_path_write_id(struct slice path);

/* The last segment: what an upload without a name is called. */
struct slice blob_path_last_segment(struct slice path);

/* From the last dot of the last segment, with it; len 0 when there is none. */
struct slice blob_path_extension(struct slice name);
