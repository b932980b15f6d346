/* One write or delete on its way through the append queue, and lists of them. What a caller
 * fills in, and what comes back. */
#pragma once

#include "volume/storage/volume.h"

struct append_request;

/* Where completions go: one call per batch with the list of all requests of this sink, on the
 * writer thread or a helper, maybe on several at once; must not block (a loop posts a task, a
 * waiting thread is woken). */
struct append_sink {
    void (*deliver)(struct append_sink *sink, struct append_request *list);
};

enum append_kind {
    APPEND_PUT,
    APPEND_DELETE,   /* of needle.key; writes nothing when the key is not there */
    APPEND_RAW,      /* a whole record as it came from a replica, listed as needle.key */
};

/* Caller's memory, untouched by the caller from submit until delivery; likewise what needle
 * points to. */
struct append_request {
    struct append_request *next;
    struct append_sink *sink;
    struct volume *volume;
    enum append_kind kind;
    struct needle needle; /* checksum is computed by the caller (crc32c of data) */
    bool check_cookie;    /* false: adopt the stored cookie when ours is 0 */
    bool is_durable;      /* fdatasync before the completion */
    /* Raw only: the padded record. Its key and its append-at-ns are overwritten. What else is in it is not
     * looked at but for the header's size, which the row says. Spec 12, "raw blob write". */
    uint8_t *record;
    size_t record_size;
    int64_t submitted_at_ns; /* monotonic; set by the queue */
    /* results */
    int code; /* 0 or an error; then err says why */
    struct error err;
    bool is_unchanged;  /* put: same cookie, checksum and data were there already: not written */
    bool is_new;        /* put: nothing live had the key */
    int32_t body_size;  /* put: as stored; delete: of the deleted entry, 0 when there was none */
};

/* Linked by `next`; of whoever holds it. */
struct request_list {
    struct append_request *first, *last;
};

static inline void request_list_append(struct request_list *list, struct append_request *request)
{
    request->next = NULL;
    if (list->last)
        list->last->next = request;
    else
        list->first = request;
    list->last = request;
}

static inline void request_list_join(struct request_list *list, struct request_list *more)
{
    if (!more->first)
        return;
    if (list->last)
        list->last->next = more->first;
    else
        list->first = more->first;
    list->last = more->last;
    *more = (struct request_list){0};
}
