/* ReadNeedleBlob, ReadNeedleMeta, WriteNeedleBlob, VolumeNeedleStatus, ReadAllNeedles: single records, for
 * repairs between replicas and for checks. Source: spec/volume-rpc.md 4.
 *
 * Checksums are told in the older form of the CRC, as the peer does. */
#include "volume/rpc_handlers.h"

#include "common/crc32c.h"
#include "common/log.h"
#include "volume/storage/volume_inspect.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

static struct volume *acquire(struct volume_rpc *rpc, struct rpc_call *call, uint32_t id,
                              const char *addition)
{
    return rpc_acquire_volume(rpc, call, id, RPC_UNKNOWN, "not found volume id %u%s", id, addition);
}

static void dat_path(struct volume_rpc *rpc, struct volume *volume, char *ret, size_t size)
{
    const char *collection = volume_collection(volume);
    snprintf(ret, size, "%s/%s%s%u.dat",
             disk_location_directory(store_location_of(rpc->config.store, volume)), collection,
             *collection ? "_" : "", volume_id(volume));
}

/* ---- reading by place ---- */

void rpc_read_needle_blob(struct volume_rpc *rpc, struct rpc_call *call,
                          const ProtobufCMessage *message)
{
    const VolumeServerPb__ReadNeedleBlobRequest *request =
        (const VolumeServerPb__ReadNeedleBlobRequest *)message;
    struct volume *volume = acquire(rpc, call, request->volume_id, "");
    if (!volume)
        return;
    struct error err = {0};
    uint8_t *record = NULL;
    size_t size = 0;
    int code = 0;
    if (request->size < 0) {
        code = error_set(&err, KELP_E_INVALID, "invalid needle size %d", request->size);
    } else if (request->offset < 0) {
        char path[PATH_MAX];
        dat_path(rpc, volume, path, sizeof(path));
        code = error_set(&err, KELP_E_INVALID, "readat %.400s: negative offset", path);
    } else {
        code = volume_inspect_record(volume, (uint64_t)request->offset, request->size, &record,
                                     &size, &err);
    }
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_call_fail(call, RPC_UNKNOWN, "read needle blob offset %" PRId64 " size %d: %s",
                      request->offset, request->size, err.message);
        return;
    }
    VolumeServerPb__ReadNeedleBlobResponse response =
        VOLUME_SERVER_PB__READ_NEEDLE_BLOB_RESPONSE__INIT;
    response.needle_blob = (ProtobufCBinaryData){size, record};
    rpc_call_reply(call, &response.base);
    free(record);
}

void rpc_read_needle_meta(struct volume_rpc *rpc, struct rpc_call *call,
                          const ProtobufCMessage *message)
{
    const VolumeServerPb__ReadNeedleMetaRequest *request =
        (const VolumeServerPb__ReadNeedleMetaRequest *)message;
    struct volume *volume = acquire(rpc, call, request->volume_id,
                                    " and read needle metadata at ec shards is not supported");
    if (!volume)
        return;
    struct error err = {0};
    struct needle needle;
    int32_t size = request->size < 0 ? 0 : request->size;
    int code;
    if (request->offset < 0) {
        char path[PATH_MAX];
        dat_path(rpc, volume, path, sizeof(path));
        code = error_set(&err, KELP_E_INVALID, "readat %.400s: negative offset", path);
    } else {
        code = volume_inspect_meta(volume, (uint64_t)request->offset, size, &needle, &err);
    }
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_fail_unknown(call, &err);
        return;
    }
    char ttl[8] = "";
    if (needle.flags & NEEDLE_HAS_TTL)
        ttl_format(needle.ttl, ttl);
    VolumeServerPb__ReadNeedleMetaResponse response =
        VOLUME_SERVER_PB__READ_NEEDLE_META_RESPONSE__INIT;
    response.cookie = needle.cookie;
    response.last_modified = needle.last_modified;
    response.crc = crc32c_legacy(needle.checksum);
    response.ttl = ttl;
    response.append_at_ns = needle.append_at_ns;
    rpc_call_reply(call, &response.base);
}

/* ---- writing a record as it is ---- */

static int check_blob(struct volume *volume, const VolumeServerPb__WriteNeedleBlobRequest *request,
                      struct error *err)
{
    size_t length = request->needle_blob.len;
    struct needle_header header;
    struct volume_stat stat;
    int code = volume_check_writable(volume, err);
    if (code == KELP_E_READ_ONLY)
        return error_set(err, code, "volume %u is read only", request->volume_id);
    if (code)
        return code;
    if (length < NEEDLE_HEADER_SIZE)
        return error_set(err, KELP_E_INVALID,
                         "needle %" PRIu64 " blob of %zu bytes is shorter than a needle header",
                         request->needle_id, length);
    if (request->size < 0)
        return error_set(err, KELP_E_INVALID, "needle %" PRIu64 " has invalid size %d",
                         request->needle_id, request->size);
    needle_header_load(request->needle_blob.data, &header);
    if (header.size != request->size)
        return error_set(err, KELP_E_INVALID,
                         "needle %" PRIu64 " size %d does not match its blob header size %d",
                         request->needle_id, request->size, header.size);
    volume_stat(volume, &stat);
    uint64_t wanted = needle_record_size(stat.version, request->size);
    if (length != wanted)
        return error_set(err, KELP_E_INVALID,
                         "needle %" PRIu64 " blob of %zu bytes does not match the %" PRIu64
                         " bytes size %d takes in a version %u volume",
                         request->needle_id, length, wanted, request->size, stat.version);
    return 0;
}

void rpc_write_needle_blob(struct volume_rpc *rpc, struct rpc_call *call,
                           const ProtobufCMessage *message)
{
    const VolumeServerPb__WriteNeedleBlobRequest *request =
        (const VolumeServerPb__WriteNeedleBlobRequest *)message;
    struct volume *volume = acquire(rpc, call, request->volume_id, "");
    if (!volume)
        return;
    struct error err = {0};
    int code = check_blob(volume, request, &err);
    if (!code) {
        struct append_request append = {
            .volume = volume,
            .kind = APPEND_RAW,
            .needle = {.key = request->needle_id},
            .record = request->needle_blob.data, /* the message is this call's own: it is stamped */
            .record_size = request->needle_blob.len,
        };
        code = append_queue_wait(store_append_queue(rpc->config.store, volume), &append);
        if (code == KELP_E_READ_ONLY)
            error_set(&err, code, "volume %u is read only", request->volume_id);
        else if (code)
            err = append.err;
    }
    store_release(rpc->config.store, volume);
    if (code) {
        rpc_call_fail(call, RPC_UNKNOWN, "write blob needle %" PRIu64 " size %d: %s",
                      request->needle_id, request->size, err.message);
        return;
    }
    VolumeServerPb__WriteNeedleBlobResponse response =
        VOLUME_SERVER_PB__WRITE_NEEDLE_BLOB_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}

/* ---- one needle ---- */

static int read_status(struct volume *volume, uint64_t key,
                       VolumeServerPb__VolumeNeedleStatusResponse *ret, char ttl[8],
                       struct error *err)
{
    struct volume_read read;
    struct needle needle;
    int code = volume_read_begin(volume, key, false, &read, err);
    if (code)
        return code;
    char *around = malloc(VOLUME_READ_AROUND_MAX);
    code = around ? volume_read_around(&read, around, false, &needle, err)
                  : error_set(err, KELP_E_NO_MEMORY, "out of memory: try again later");
    if (!code)
        code = volume_read_check(&read, &needle, err);
    volume_read_end(&read);
    free(around);
    if (code)
        return code;
    ttl[0] = '\0';
    if (needle.flags & NEEDLE_HAS_TTL)
        ttl_format(needle.ttl, ttl);
    ret->needle_id = key;
    ret->cookie = needle.cookie;
    ret->size = (uint32_t)read.body_size;
    ret->last_modified = needle.last_modified;
    ret->crc = crc32c_legacy(needle.checksum);
    ret->ttl = ttl;
    return 0;
}

void rpc_volume_needle_status(struct volume_rpc *rpc, struct rpc_call *call,
                              const ProtobufCMessage *message)
{
    const VolumeServerPb__VolumeNeedleStatusRequest *request =
        (const VolumeServerPb__VolumeNeedleStatusRequest *)message;
    struct volume *volume = rpc_acquire_volume(rpc, call, request->volume_id, RPC_UNKNOWN,
                                               "volume not found %u", request->volume_id);
    if (!volume)
        return;
    VolumeServerPb__VolumeNeedleStatusResponse response =
        VOLUME_SERVER_PB__VOLUME_NEEDLE_STATUS_RESPONSE__INIT;
    char ttl[8];
    struct error err = {0};
    int code = read_status(volume, request->needle_id, &response, ttl, &err);
    store_release(rpc->config.store, volume);
    if (code == KELP_E_NOT_FOUND)
        rpc_call_fail(call, RPC_NOT_FOUND, "needle not found %" PRIu64, request->needle_id);
    else if (code == KELP_E_DELETED)
        rpc_call_fail(call, RPC_UNKNOWN, "already deleted");
    else if (code)
        rpc_fail_unknown(call, &err);
    else
        rpc_call_reply(call, &response.base);
}

/* ---- all needles ---- */

struct needle_stream {
    struct volume_rpc *rpc;
    struct rpc_call *call;
    struct volume *volume;
    uint32_t volume_id;
};

static int send_needle(void *ctx, const struct needle *needle)
{
    struct needle_stream *stream = ctx;
    if (store_is_leaving(stream->rpc->config.store, stream->volume))
        return KELP_E_CANCELLED;
    VolumeServerPb__ReadAllNeedlesResponse response =
        VOLUME_SERVER_PB__READ_ALL_NEEDLES_RESPONSE__INIT;
    response.volume_id = stream->volume_id;
    response.needle_id = needle->key;
    response.cookie = needle->cookie;
    response.needle_blob =
        (ProtobufCBinaryData){needle->data.len, (uint8_t *)(uintptr_t)needle->data.ptr};
    response.needle_blob_compressed = (needle->flags & NEEDLE_IS_GZIP) != 0;
    response.last_modified = needle->last_modified;
    response.crc = crc32c_legacy(needle->checksum);
    response.name = (ProtobufCBinaryData){needle->name.len, (uint8_t *)(uintptr_t)needle->name.ptr};
    response.mime = (ProtobufCBinaryData){needle->mime.len, (uint8_t *)(uintptr_t)needle->mime.ptr};
    return rpc_call_send_wait(stream->call, &response.base);
}

/* Only what is live, and only what passes its check: the peer also sends what was deleted since the last
 * vacuum, and damaged records. */
void rpc_read_all_needles(struct volume_rpc *rpc, struct rpc_call *call,
                          const ProtobufCMessage *message)
{
    const VolumeServerPb__ReadAllNeedlesRequest *request =
        (const VolumeServerPb__ReadAllNeedlesRequest *)message;
    for (size_t i = 0; i < request->n_volume_ids; i++) {
        struct needle_stream stream = {
            .rpc = rpc, .call = call, .volume_id = request->volume_ids[i]};
        struct volume *volume = acquire(rpc, call, stream.volume_id, "");
        if (!volume)
            return;
        stream.volume = volume;
        struct error err = {0};
        uint64_t damaged = 0;
        int code = volume_inspect_live(volume, send_needle, &stream, &damaged, &err);
        store_release(rpc->config.store, volume);
        if (damaged > 0)
            log_warning("damaged records not sent",
                        "volume=%u count=%" PRIu64 " next=\"fetch them from a replica\"",
                        stream.volume_id, damaged);
        if (code) {
            if (!err.message[0])
                error_set(&err, code, "volume %u: the stream ended early", stream.volume_id);
            rpc_fail_unknown(call, &err);
            return;
        }
    }
    rpc_call_finish(call);
}
