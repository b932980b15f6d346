/* What a blob holds on to is given back in two steps: the volume as soon as the record is in
 * memory (or the last piece has been read), the memory once the bytes are sent. */
#include "volume/blob.h"

#include "volume/blob_remote.h"
#include "volume/image_service.h"

#include <stddef.h>
#include <stdlib.h>

void blob_let_go(struct blob *blob)
{
    if (blob->is_reading)
        volume_read_end(&blob->read);
    blob->is_reading = false;
    if (blob->volume)
        store_release(blob->call->http->config.store, blob->volume);
    blob->volume = NULL;
}

void blob_free(void *ctx)
{
    struct blob *blob = ctx;
    if (blob->is_record_malloced)
        free(blob->record);
    free(blob->around);
    free(blob->unpacked);
    image_entry_release(blob->picture);
    if (blob->entered_bytes > 0)
        image_service_leave(blob->call->http->images, blob->entered_bytes);
    blob->entered_bytes = 0;
    blob->picture = NULL;
    blob->record = blob->around = blob->unpacked = NULL;
}

bool blob_replace(struct blob *blob, int code, const char *reason)
{
    struct blob_metrics *metrics = blob->call->http->metrics;
    bool is_ours = code == KELP_E_CORRUPT || code == KELP_E_IO;
    if (!is_ours || !blob->volume)
        return false;
    unsigned copies = replica_placement_copies(volume_replica_placement(blob->volume));
    if (!blob_remote_may_replace(blob->call, copies))
        return false;
    if (code == KELP_E_CORRUPT)
        blob_metrics_event(metrics, BLOB_EVENT_GET_DAMAGED);
    blob_metrics_outcome(metrics, code);
    blob_let_go(blob);
    blob_free(blob);
    blob_remote_replace(blob->call, blob->volume_id, &blob->path, reason);
    return true;
}

void blob_reply_empty(struct blob *blob, int status)
{
    blob_let_go(blob);
    blob_free(blob);
    blob_call_reply_empty(blob->call, status);
}

static struct blob *blob_of(struct blob_offload *offload)
{
    return (struct blob *)((char *)offload - offsetof(struct blob, offload));
}

static void work(struct blob_offload *offload)
{
    struct blob *blob = blob_of(offload);
    blob->work(blob);
}

static void done(struct blob_offload *offload)
{
    struct blob *blob = blob_of(offload);
    blob->next(blob);
}

void blob_offload(struct blob *blob, void (*do_work)(struct blob *blob),
                       void (*next)(struct blob *blob))
{
    blob->work = do_work;
    blob->next = next;
    blob->offload.work = work;
    blob->offload.done = done;
    struct blob_call *call = blob->call;
    int code = blob->volume ? blob_lane_offload_to_disk(
                                  call->lane, store_location_of(call->http->config.store, blob->volume),
                                  &blob->offload)
                            : blob_lane_offload(call->lane, &blob->offload);
    if (code != 0) {
        http_response_header(blob->call->request, "Retry-After", SLICE("1"));
        blob_reply_empty(blob, 503);
    }
}

struct slice blob_header_value(struct blob *blob, struct slice value)
{
    bool is_clean = true;
    for (size_t i = 0; i < value.len; i++)
        is_clean = is_clean && ((unsigned char)value.ptr[i] >= 0x20 || value.ptr[i] == '\t');
    if (is_clean)
        return value;
    char *copy = arena_strndup(blob->call->request->arena, value.ptr, value.len);
    for (size_t i = 0; i < value.len; i++)
        if ((unsigned char)copy[i] < 0x20 && copy[i] != '\t')
            copy[i] = ' ';
    return slice_of(copy, value.len);
}
