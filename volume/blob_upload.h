/* The body of a POST or PUT as the needle it becomes: which part is the data, its name, type and
 * pairs, whether it is stored compressed. Source: spec/volume-http.md 14.2 to 14.7. */
#pragma once

#include "volume/blob_call.h"
#include "volume/storage/format/needle.h"

struct blob_upload {
    struct needle needle; /* all but key and cookie; slices of the request, arena or `packed` */
    struct slice type;        /* decides on compression, also where it is too long to be stored */
    struct slice content_md5; /* what the client expects, base64; empty: nothing */
    uint64_t original_size;   /* uncompressed */
    bool is_replicate;        /* type=replicate */
    bool is_durable;          /* fsync=true */
    bool is_gzip_given;       /* the client compressed it */
    struct image_service *turns_upright; /* NULL: pictures stay as they are */
    bool is_turned;           /* the data is not what the client sent and measured */
    char *packed;             /* malloc'd data instead of the request's, or NULL */
};

/* Query and Content-Type; begins *ret. Both are for the loop thread, copy nothing large, and
 * fail with KELP_E_INVALID and the text that the client is to see. */
int blob_upload_parse_form(struct blob_call *call, struct blob_upload *ret, struct error *err);
/* The body, after the form. */
int blob_upload_parse_body(struct blob_call *call, struct blob_upload *upload, struct error *err);

/* Measures, compresses, checks the MD5 and sums: any one thread, in proportion to the size. */
int blob_upload_digest(struct blob_upload *upload, struct error *err);
/* Whether blob_upload_digest takes longer than a loop's turn may. */
bool blob_upload_is_slow(const struct blob_upload *upload);
void blob_upload_fini(struct blob_upload *upload);
