/* The copy here first, then the replicas' at once. Whatever fails only makes the text longer: the
 * client knows already that its write has failed. */
#include "volume/blob_undo.h"

#include "common/file_id.h"
#include "volume/blob_access.h"

#include <stddef.h>
#include <string.h>

/* They have just answered: whoever does not now is not worth the client's time. */
#define PATIENCE_MS 5000u

static void add_reason(struct blob_undo *undo, const char *where, const char *reason)
{
    size_t length = strlen(undo->err.message);
    snprintf(undo->err.message + length, sizeof(undo->err.message) - length, "; not undone%s: %s",
             where, reason);
}

static void on_peers_undone(void *ctx, int code, const struct error *err)
{
    struct blob_undo *undo = ctx;
    if (code != 0)
        add_reason(undo, "", err->message);
    volume_locations_unref(undo->taken);
    undo->taken = NULL;
    undo->done(undo);
}

/* As a replica's delete, which goes no further and leaves a manifest's chunks alone. Not by the
 * path of the write: a write takes its key from another place of it than a delete does. */
static void undo_at_peers(struct blob_undo *undo)
{
    struct blob_call *call = undo->call;
    struct error err;
    struct replicator *replicator = NULL;
    if (undo->taken && undo->taken->count > 0)
        replicator = blob_lane_replicator(call->lane, &err);
    if (!replicator) {
        on_peers_undone(undo, 0, NULL);
        return;
    }
    char file_id[FILE_ID_TEXT_SIZE];
    file_id_format(&(struct file_id){undo->volume_id, undo->key, undo->cookie}, file_id);
    unsigned timeout_ms = call->http->config.peer_timeout_ms;
    struct replicator_target target = {
        .locations = undo->taken,
        .own_url = call->http->config.own_url,
        .is_chunk = true,
        .path = slice_cstr(arena_printf(call->request->arena, "/%s", file_id)),
        .authorization = blob_access_own_token(call, SECURITY_WRITE, slice_cstr(file_id)),
        .request_id = slice_cstr(call->request_id),
        .tls = security_client_tls(call->http->config.security),
        .timeout_ms = timeout_ms && timeout_ms < PATIENCE_MS ? timeout_ms : PATIENCE_MS,
    };
    replicator_delete(replicator, &target, on_peers_undone, undo);
}

static void on_appended(struct blob_append *append)
{
    struct blob_undo *undo =
        (struct blob_undo *)((char *)append - offsetof(struct blob_undo, append));
    store_release(undo->call->http->config.store, undo->volume);
    if (append->request.code != 0)
        add_reason(undo, " here", append->request.err.message);
    undo_at_peers(undo);
}

void blob_undo_start(struct blob_undo *undo)
{
    struct store *store = undo->call->http->config.store;
    undo->volume = store_acquire(store, undo->volume_id);
    if (!undo->volume) {
        add_reason(undo, " here", "the volume has left");
        undo_at_peers(undo);
        return;
    }
    undo->append.request = (struct append_request){
        .volume = undo->volume,
        .kind = APPEND_DELETE,
        .needle = {.key = undo->key, .cookie = undo->cookie, .checksum = undo->checksum},
        .check_cookie = true,
    };
    undo->append.done = on_appended;
    blob_lane_append(undo->call->lane, store_append_queue(store, undo->volume), &undo->append);
}
