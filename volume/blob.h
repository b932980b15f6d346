/* A blob on its way out: the needle that was found, what it holds on to, and the pieces that
 * turn it into an answer. Private to the read path; lives in the arena of its request. Loop
 * thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_path.h"

struct blob_manifest;
struct image_entry;
struct picture;

struct blob {
    struct blob_call *call;
    struct blob_path path;
    uint32_t volume_id, cookie;
    uint64_t key;

    struct volume *volume; /* acquired, or NULL */
    struct volume_read read;
    bool is_reading;  /* read is held */
    bool is_streamed; /* needle.data has a length only: read it piece by piece */
    struct needle needle;
    struct slice content; /* what goes out: needle.data, or what it unpacks to */
    struct slice part; /* the one range that goes out, where content has only a length; or none */
    struct blob_manifest *manifest; /* expanded: content.len is the file's length, ptr nothing */
    bool is_assembled; /* from a manifest: the content is all there after all */

    char *record; /* in the arena, or malloc'd */
    bool is_record_malloced;
    char *around;   /* malloc'd, or NULL: everything but the data of a big record */
    char *unpacked; /* malloc'd, or NULL */
    const struct image_entry *picture; /* made of the content; NULL: not (yet) */
    struct picture *making;            /* blob_image.c's */
    uint64_t entered_bytes;            /* of the image service's room, while it is assembled */

    /* What has been decided about the headers. */
    struct slice type; /* of the parts of a multipart answer; empty: unknown */
    bool has_type, has_encoding, has_disposition;
    bool is_ranged; /* the client asked for a range */

    struct blob_offload offload;
    void (*work)(struct blob *blob); /* on the pool */
    void (*next)(struct blob *blob); /* on the loop afterwards */
    int code;
};

/* Lets go of the volume; needle and memory stay. */
void blob_let_go(struct blob *blob);
/* Frees the memory: as the release of a reply. */
void blob_free(void *blob);
/* A copy that cannot be read, and nothing of the answer has gone out: another server is asked, if there
 * may be one, and the call is its business then. `reason` is for when there is none ("": no text). False:
 * nothing has happened. */
bool blob_replace(struct blob *blob, int code, const char *reason);
/* Both, and an answer without a body. */
void blob_reply_empty(struct blob *blob, int status);

/* Runs `work` on the pool, then blob->next on the loop; 503 when too much waits already. */
void blob_offload(struct blob *blob, void (*work)(struct blob *blob),
                       void (*next)(struct blob *blob));

/* A header value as it may go out: line breaks become blanks. In the arena when it was changed. */
struct slice blob_header_value(struct blob *blob, struct slice value);
