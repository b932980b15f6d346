/* BatchDelete: one result per file id, in the order of the request; replicas are the caller's
 * business. Source: spec/volume-rpc.md 4. The statuses are HTTP's; peers match on some of the
 * texts. */
#include "volume/rpc_handlers.h"

#include "common/arena.h"
#include "common/check.h"
#include "common/file_id.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* So large that only a mistake reaches it. */
#define FILE_IDS_MAX 1000000u

static void fail(VolumeServerPb__DeleteResult *result, struct arena *arena, int status,
                 const char *text)
{
    result->status = status;
    result->error = arena_strndup(arena, text, strlen(text));
}

/* The peer's own split: a volume id that is no number counts as 0. */
static bool parse(const char *text, bool skips_cookie, struct file_id *ret, struct error *err)
{
    struct slice whole = slice_cstr(text);
    ptrdiff_t comma = slice_find_last(whole, ',');
    if (comma <= 0) {
        error_set(err, KELP_E_INVALID, "Wrong fid format.");
        return false;
    }
    ret->volume_id = 0;
    volume_id_parse(slice_until(whole, (size_t)comma), &ret->volume_id, NULL);
    struct slice needle = slice_from(whole, (size_t)comma + 1);
    if (skips_cookie && needle.len <= 8) {
        error_set(err, KELP_E_INVALID, "KeyHash is too short.");
        return false;
    }
    return needle_id_parse(needle, &ret->key, &ret->cookie, err) == 0;
}

/* Reads what is around the data and compares. 0, or the status of the result. */
static int check_cookie(struct volume *volume, const struct file_id *id, char *buffer,
                        uint32_t *ret_checksum, struct error *err)
{
    struct volume_read read;
    int code = volume_read_begin(volume, id->key, false, &read, err);
    if (!code && read.record_size == 0) {
        /* Nothing is stored that could differ; the delete will find nothing to do. */
        volume_read_end(&read);
        return 0;
    }
    struct needle needle;
    if (!code) {
        code = volume_read_around(&read, buffer, false, &needle, err);
        volume_read_end(&read);
    }
    if (code == KELP_E_DELETED)
        error_set(err, code, "already deleted");
    else if (code == KELP_E_NOT_FOUND)
        error_set(err, code, "not found");
    if (code)
        return 404;
    if (needle.cookie != id->cookie) {
        error_set(err, KELP_E_COOKIE, "File Random Cookie does not match.");
        return 400;
    }
    if (needle.flags & NEEDLE_IS_CHUNK_MANIFEST) {
        error_set(err, KELP_E_INVALID, "ChunkManifest: not allowed in batch delete mode.");
        return 406;
    }
    *ret_checksum = needle.checksum;
    return 0;
}

static void delete_needle(struct volume_rpc *rpc, struct volume *volume, const struct file_id *id,
                          uint32_t checksum, struct arena *arena, VolumeServerPb__DeleteResult *result)
{
    struct append_request request = {
        .volume = volume,
        .kind = APPEND_DELETE,
        .needle = {.key = id->key, .cookie = id->cookie, .checksum = checksum},
    };
    int code = append_queue_wait(store_append_queue(rpc->config.store, volume), &request);
    if (code == KELP_E_READ_ONLY) {
        char text[64];
        snprintf(text, sizeof(text), "volume %u is read only", id->volume_id);
        fail(result, arena, 500, text);
    } else if (code) {
        fail(result, arena, 500, request.err.message);
    } else if (request.body_size <= 0) {
        result->status = 304;
    } else {
        result->status = 202;
        result->size = (uint32_t)request.body_size;
    }
}

static void delete_one(struct volume_rpc *rpc, const char *text, bool skips_cookie, char *buffer,
                       struct arena *arena, VolumeServerPb__DeleteResult *result)
{
    struct file_id id;
    struct error err = {0};
    if (!parse(text, skips_cookie, &id, &err)) {
        fail(result, arena, 400, err.message);
        return;
    }
    struct volume *volume = NULL;
    if (store_find(rpc->config.store, id.volume_id, &volume, &err) == KELP_E_UNAVAILABLE) {
        fail(result, arena, 500, err.message); /* "try again": the caller keeps the file id */
        return;
    }
    if (!volume) {
        const struct heartbeat_identity *identity = rpc->config.identity;
        if (skips_cookie)
            error_set(&err, KELP_E_NOT_FOUND, "volume %u not found on %s:%u", id.volume_id,
                      identity->ip, identity->port);
        else
            error_set(&err, KELP_E_NOT_FOUND, "volume %u not found", id.volume_id);
        fail(result, arena, skips_cookie ? 500 : 404, err.message);
        return;
    }
    uint32_t checksum = 0; /* the peer's tombstones have it, when it has read the needle */
    int status = skips_cookie ? 0 : check_cookie(volume, &id, buffer, &checksum, &err);
    if (status)
        fail(result, arena, status, err.message);
    else
        delete_needle(rpc, volume, &id, checksum, arena, result);
    store_release(rpc->config.store, volume);
}

void rpc_batch_delete(struct volume_rpc *rpc, struct rpc_call *call,
                      const ProtobufCMessage *message)
{
    const VolumeServerPb__BatchDeleteRequest *request =
        (const VolumeServerPb__BatchDeleteRequest *)message;
    if (request->n_file_ids > FILE_IDS_MAX) {
        rpc_call_fail(call, RPC_INVALID_ARGUMENT,
                      "%zu file ids in one request: send at most %u at a time",
                      request->n_file_ids, FILE_IDS_MAX);
        return;
    }
    struct arena arena;
    arena_init(&arena);
    VolumeServerPb__BatchDeleteResponse response = VOLUME_SERVER_PB__BATCH_DELETE_RESPONSE__INIT;
    response.results = arena_alloc(&arena, (request->n_file_ids + 1) * sizeof(*response.results));
    char *buffer = must(malloc(VOLUME_READ_AROUND_MAX));
    for (size_t i = 0; i < request->n_file_ids && !rpc_call_is_cancelled(call); i++) {
        VolumeServerPb__DeleteResult *result = arena_alloc(&arena, sizeof(*result));
        volume_server_pb__delete_result__init(result);
        result->file_id = request->file_ids[i];
        delete_one(rpc, request->file_ids[i], request->skip_cookie_check, buffer, &arena, result);
        response.results[response.n_results++] = result;
    }
    free(buffer);
    rpc_call_reply(call, &response.base);
    arena_fini(&arena);
}
