/* Assign, StreamAssign and VolumeGrow: requests are parsed here, waited for by the assigner and the
 * grower, and answered from wherever those finish. No thread is held. Source: spec/master-rpc.md 7,
 * 10. */
#include "master/rpc_handlers.h"

#include "common/check.h"
#include "master/volume_growth.h"
#include "proto/master.pb-c.h"

#define STREAM_WAITING_MAX 10000u

static int parse_query(struct services *s, const MasterPb__AssignRequest *request,
                       struct assign_query *query, struct error *err)
{
    *query = (struct assign_query){
        .count = request->count ? request->count : 1,
        .bytes_per_file = request->expected_data_size,
        .writable_volume_count = request->writable_volume_count,
        .option = {.collection = request->collection,
                   .disk_type = request->disk_type,
                   .data_center = request->data_center,
                   .rack = request->rack,
                   .data_node = request->data_node,
                   .preallocate_bytes = services_preallocate_bytes(s),
                   .memory_map_max_size_mb = request->memory_map_max_size_mb},
    };
    return services_parse_option(s, slice_cstr(request->replication), slice_cstr(request->ttl),
                                 &query->option, err);
}

static enum rpc_status status_of(enum assign_status status)
{
    switch (status) {
    case ASSIGN_OK:
        return RPC_OK;
    case ASSIGN_WARMING_UP:
    case ASSIGN_STOPPING:
        return RPC_UNAVAILABLE;
    case ASSIGN_NO_CAPACITY:
    case ASSIGN_GROWING:
        return RPC_RESOURCE_EXHAUSTED;
    case ASSIGN_NO_DATA_CENTER:
    case ASSIGN_NO_VOLUME:
        break;
    }
    return RPC_UNKNOWN;
}

/* `locations` and `pointers` have room for all of the result's. */
static void fill_response(const struct assign_result *result, MasterPb__Location *locations,
                          MasterPb__Location **pointers, MasterPb__AssignResponse *response)
{
    master_pb__assign_response__init(response);
    response->fid = (char *)result->fid;
    response->count = result->count;
    for (size_t i = 0; i < result->location_count; i++) {
        master_pb__location__init(&locations[i]);
        locations[i].url = (char *)result->locations[i].url;
        locations[i].public_url = (char *)result->locations[i].public_url;
        locations[i].data_center = (char *)result->locations[i].data_center;
        locations[i].grpc_port = result->locations[i].grpc_port;
        pointers[i] = &locations[i];
    }
    if (result->location_count > 0) {
        response->location = pointers[0];
        response->replicas = pointers + 1;
        response->n_replicas = result->location_count - 1;
    }
}

/* ---- Assign ---------------------------------------------------------------------------------- */

static bool is_call_abandoned(void *ctx) { return rpc_call_is_cancelled(ctx); }

static void send_result(struct services *s, struct rpc_call *call, const struct assign_result *result,
                        void (*send)(struct rpc_call *, const ProtobufCMessage *))
{
    char token[FILE_TOKEN_MAX];
    MasterPb__Location *locations = must(calloc(result->location_count + 1, sizeof(*locations)));
    MasterPb__Location **pointers = must(calloc(result->location_count + 1, sizeof(*pointers)));
    MasterPb__AssignResponse response;
    fill_response(result, locations, pointers, &response);
    response.auth = (char *)(uintptr_t)security_make_token(s->security, SECURITY_WRITE,
                                                           slice_cstr(result->fid), token);
    send(call, &response.base);
    free(pointers);
    free(locations);
}

static void on_assigned(void *ctx, const struct assign_result *result)
{
    struct rpc_call *call = ctx;
    if (result->status == ASSIGN_OK)
        send_result(rpc_call_user(call), call, result, rpc_call_reply);
    else
        rpc_call_fail(call, status_of(result->status), "%s", result->message);
    rpc_call_unref(call);
}

void master_rpc_assign(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    struct assign_query query;
    struct error err;
    if (parse_query(s, (const MasterPb__AssignRequest *)message, &query, &err)) {
        rpc_call_fail(call, RPC_UNKNOWN, "%s", err.message);
        return;
    }
    rpc_call_ref(call);
    rpc_call_set_user(call, s);
    assigner_assign(s->assigner, &query, on_assigned, is_call_abandoned, call);
}

/* ---- StreamAssign ---------------------------------------------------------------------------- */

struct stream_request {
    ProtobufCMessage *message;
    struct stream_request *next;
};

/* Requests are answered in order, so one is worked on at a time and the others wait here. */
struct assign_stream {
    struct services *services;
    struct rpc_call *call; /* a reference */
    pthread_mutex_t lock;
    struct stream_request *first, **last;
    size_t waiting;
    bool is_busy, is_pumping, is_half_closed, is_closed;
    unsigned refs; /* the stream's own, and one while busy */
};

static void stream_unref(struct assign_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool is_last = --stream->refs == 0;
    pthread_mutex_unlock(&stream->lock);
    if (!is_last)
        return;
    while (stream->first) {
        struct stream_request *request = stream->first;
        stream->first = request->next;
        protobuf_c_message_free_unpacked(request->message, NULL);
        free(request);
    }
    rpc_call_unref(stream->call);
    pthread_mutex_destroy(&stream->lock);
    free(stream);
}

static void pump(struct assign_stream *stream);

static bool is_stream_abandoned(void *ctx)
{
    struct assign_stream *stream = ctx;
    return rpc_call_is_cancelled(stream->call);
}

static void send_on_stream(struct rpc_call *call, const ProtobufCMessage *message)
{
    if (rpc_call_send(call, message) == KELP_E_LIMIT)
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "the client does not read its answers");
}

static void on_stream_assigned(void *ctx, const struct assign_result *result)
{
    struct assign_stream *stream = ctx;
    enum rpc_status status = status_of(result->status);
    if (status == RPC_OK) {
        send_result(stream->services, stream->call, result, send_on_stream);
    } else if (status == RPC_UNAVAILABLE || status == RPC_RESOURCE_EXHAUSTED) {
        MasterPb__AssignResponse response = MASTER_PB__ASSIGN_RESPONSE__INIT;
        response.error = (char *)result->message;
        send_on_stream(stream->call, &response.base);
    } else {
        rpc_call_fail(stream->call, status, "%s", result->message);
    }
    pthread_mutex_lock(&stream->lock);
    stream->is_busy = false;
    pthread_mutex_unlock(&stream->lock);
    pump(stream);
    stream_unref(stream);
}

static void work_on(struct assign_stream *stream, const ProtobufCMessage *message)
{
    struct assign_query query;
    struct error err;
    if (parse_query(stream->services, (const MasterPb__AssignRequest *)message, &query, &err)) {
        struct assign_result failure = {.status = ASSIGN_NO_VOLUME, .message = err.message};
        on_stream_assigned(stream, &failure);
        return;
    }
    assigner_assign(stream->services->assigner, &query, on_stream_assigned, is_stream_abandoned,
                    stream);
}

/* Works off what waits. Answers that come at once find the pump running and leave the rest to it,
 * so a long queue does not become a deep stack. The caller holds a reference throughout: what each
 * answer gives back is only the one taken here, which GCC's analyzer cannot count. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wanalyzer-use-after-free"
#endif
static void pump(struct assign_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    if (stream->is_pumping) {
        pthread_mutex_unlock(&stream->lock);
        return;
    }
    stream->is_pumping = true;
    while (!stream->is_busy && stream->first && !stream->is_closed) {
        struct stream_request *request = stream->first;
        stream->first = request->next;
        if (!stream->first)
            stream->last = &stream->first;
        stream->waiting--;
        stream->is_busy = true;
        stream->refs++;
        pthread_mutex_unlock(&stream->lock);
        work_on(stream, request->message);
        protobuf_c_message_free_unpacked(request->message, NULL);
        free(request);
        pthread_mutex_lock(&stream->lock);
    }
    stream->is_pumping = false;
    bool is_over = stream->is_half_closed && !stream->is_busy && !stream->first;
    pthread_mutex_unlock(&stream->lock);
    if (is_over)
        rpc_call_fail(stream->call, RPC_UNKNOWN, "EOF");
}
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static struct assign_stream *stream_of(struct services *s, struct rpc_call *call)
{
    struct assign_stream *stream = rpc_call_user(call);
    if (stream)
        return stream;
    if (!stream_list_add(s->streams, call))
        rpc_call_fail(call, RPC_UNAVAILABLE, "the master is stopping");
    stream = must(calloc(1, sizeof(*stream)));
    stream->services = s;
    stream->call = call;
    stream->last = &stream->first;
    stream->refs = 1;
    pthread_mutex_init(&stream->lock, NULL);
    rpc_call_ref(call);
    rpc_call_set_user(call, stream);
    return stream;
}

/* The message dies with the callback, so a waiting one is copied by way of its wire form. */
static ProtobufCMessage *copy_message(const ProtobufCMessage *message)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = must(malloc(size + 1));
    protobuf_c_message_pack(message, bytes);
    ProtobufCMessage *copy =
        must(protobuf_c_message_unpack(message->descriptor, NULL, size, bytes));
    free(bytes);
    return copy;
}

void master_rpc_stream_assign_message(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx)
{
    struct assign_stream *stream = stream_of(ctx, call);
    pthread_mutex_lock(&stream->lock);
    bool is_full = stream->waiting >= STREAM_WAITING_MAX;
    if (!is_full) {
        struct stream_request *request = must(calloc(1, sizeof(*request)));
        request->message = copy_message(message);
        *stream->last = request;
        stream->last = &request->next;
        stream->waiting++;
    }
    pthread_mutex_unlock(&stream->lock);
    if (is_full)
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%u assigns wait on this stream already",
                      STREAM_WAITING_MAX);
    else
        pump(stream);
}

void master_rpc_stream_assign_half_closed(struct rpc_call *call, void *ctx)
{
    struct assign_stream *stream = stream_of(ctx, call);
    pthread_mutex_lock(&stream->lock);
    stream->is_half_closed = true;
    pthread_mutex_unlock(&stream->lock);
    pump(stream);
}

void master_rpc_stream_assign_closed(struct rpc_call *call, void *ctx)
{
    struct services *s = ctx;
    struct assign_stream *stream = rpc_call_user(call);
    stream_list_remove(s->streams, call);
    if (!stream)
        return;
    pthread_mutex_lock(&stream->lock);
    stream->is_closed = true;
    pthread_mutex_unlock(&stream->lock);
    stream_unref(stream);
}

/* ---- VolumeGrow ------------------------------------------------------------------------------ */

/* As the peer: success is answered even when growth failed; the caller looks for itself. */
static void on_grown(void *ctx, const struct grow_result *result)
{
    (void)result;
    struct rpc_call *call = ctx;
    MasterPb__VolumeGrowResponse response = MASTER_PB__VOLUME_GROW_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
    rpc_call_unref(call);
}

static int check_growth(struct services *s, const struct volume_option *option, uint32_t wanted,
                        uint32_t *ret_count, struct error *err)
{
    struct topology *t = s->cluster->topology;
    int code = 0;
    cluster_lock(s->cluster);
    if (*option->data_center && !topology_has_data_center(t, option->data_center) &&
        !topology_has_any_data_center(t))
        code = error_set(err, KELP_E_UNKNOWN, "data center not exists");
    else
        code = volume_growth_check_slots(t, option, wanted, err);
    *ret_count = volume_growth_count(topology_options(t), option->placement, wanted);
    if (topology_options(t)->growth_disabled)
        *ret_count = 0;
    cluster_unlock(s->cluster);
    return code;
}

void master_rpc_volume_grow(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__VolumeGrowRequest *request = (const MasterPb__VolumeGrowRequest *)message;
    struct grow_request grow = {
        .option = {.collection = request->collection,
                   .disk_type = request->disk_type,
                   .data_center = request->data_center,
                   .rack = request->rack,
                   .data_node = request->data_node,
                   .preallocate_bytes = services_preallocate_bytes(s),
                   .memory_map_max_size_mb = request->memory_map_max_size_mb},
        .reason = "grpc volume grow",
        .done = on_grown,
        .ctx = call,
    };
    struct error err;
    int code = services_parse_option(s, slice_cstr(request->replication), slice_cstr(request->ttl),
                                     &grow.option, &err);
    if (!code)
        code = check_growth(s, &grow.option, request->writable_volume_count, &grow.count, &err);
    if (code) {
        rpc_call_fail(call, RPC_UNKNOWN, "%s", err.message);
        return;
    }
    rpc_call_ref(call);
    if (grow.count == 0) {
        struct grow_result nothing = {.code = 0};
        on_grown(call, &nothing);
    } else if (grower_submit(s->grower, &grow, &err)) {
        rpc_call_fail(call, RPC_RESOURCE_EXHAUSTED, "%s", err.message);
        rpc_call_unref(call);
    }
}
