/* Carrying out the appends of one volume: what a thread of the append queue does.
 *
 * A worker has its own record writer and its own completions; any number of them may work for one
 * queue, but no two on one volume at a time. Its owner is told what was delivered, and when the worker
 * lets go of a volume. */
#pragma once

#include "volume/storage/append_request.h"

struct append_worker;

struct append_worker_owner {
    /* So many bytes of requests are about to be delivered. */
    void (*delivered)(void *ctx, uint64_t bytes);
    /* The worker is done with the volume but for letting go of its append lock, which is why this must
     * not wait. From now on another worker may have it. */
    void (*let_go)(void *ctx, struct volume *volume);
    void *ctx;
};

/* What a request counts for against APPEND_QUEUE_BYTES: it does not change while it is queued. */
uint64_t append_request_bytes(const struct append_request *request);

int append_worker_create(struct append_worker **ret, const struct append_worker_owner *owner,
                         struct error *err);
void append_worker_destroy(struct append_worker *worker);

/* Carries out the list, all of one volume. Completions of durable requests are delivered at once,
 * others at the latest by append_worker_deliver. The volume may be gone afterwards. */
void append_worker_run(struct append_worker *worker, struct volume *volume,
                       struct request_list list);
void append_worker_deliver(struct append_worker *worker);
