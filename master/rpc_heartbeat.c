/* SendHeartbeat: one stream per volume server, event driven. A message is turned into the
 * topology's plain form, applied under its lock, and what changed is published to the clients from
 * there. Source: spec/master-rpc.md 4. Runs on queue threads; callbacks of one stream never
 * overlap. */
#include "master/heartbeat_message.h"
#include "master/rpc_handlers.h"

#include "common/check.h"
#include "common/log.h"
#include "proto/master.pb-c.h"

#define DUPLICATES_MAX 64u

/* A stream's user pointer once a node is bound. */
struct heartbeat_stream {
    struct data_node *node;
};

static void settings(const struct services *s, MasterPb__HeartbeatResponse *response)
{
    master_pb__heartbeat_response__init(response);
    response->volume_size_limit = (uint64_t)s->volume_size_limit_mb << 20;
    response->preallocate = s->is_preallocating;
}

static void refuse_duplicates(struct rpc_call *call, const char **uuids, size_t count)
{
    MasterPb__HeartbeatResponse response = MASTER_PB__HEARTBEAT_RESPONSE__INIT;
    response.duplicated_uuids = (char **)uuids;
    response.n_duplicated_uuids = count;
    rpc_call_send(call, &response.base);
    rpc_call_fail(call, RPC_UNKNOWN, "volume: Duplicated volume directories were loaded");
}

/* The first message with an address: false when the stream was ended. */
static bool bind_node(struct services *s, struct rpc_call *call, const struct heartbeat *h)
{
    struct cluster *cluster = s->cluster;
    const char *duplicates[DUPLICATES_MAX];
    size_t duplicate_count = 0;
    struct data_node *node;
    struct location_update update;
    struct error err;
    location_update_init(&update);
    cluster_lock(cluster);
    int code = topology_register_node(cluster->topology, h, &node, duplicates, DUPLICATES_MAX,
                                      &duplicate_count, &update, &err);
    client_registry_publish(cluster->clients, &update);
    cluster_unlock(cluster);
    location_update_fini(&update);
    if (code == KELP_E_EXISTS) {
        log_warning("volume server refused", "server=%s:%u reason=\"%s\"", h->ip, h->port,
                    err.message);
        if (duplicate_count > DUPLICATES_MAX)
            duplicate_count = DUPLICATES_MAX;
        refuse_duplicates(call, duplicates, duplicate_count);
        return false;
    }
    if (code) {
        rpc_call_fail_error(call, &err);
        return false;
    }
    struct heartbeat_stream *stream = must(calloc(1, sizeof(*stream)));
    stream->node = node;
    rpc_call_set_user(call, stream);
    if (!stream_list_add(s->streams, call)) {
        rpc_call_fail(call, RPC_UNAVAILABLE, "the master is stopping");
        return false;
    }
    metric_add(cluster->metrics->heartbeat_data_node, 1);
    log_info("volume server connected", "server=%s:%u id=\"%s\" data_center=\"%s\" rack=\"%s\"",
             h->ip, h->port, h->id, h->data_center, h->rack);
    return true;
}

/* Sent after the message was applied, so that a server that has this answer can be assigned to. */
static void welcome(struct services *s, struct rpc_call *call)
{
    MasterPb__HeartbeatResponse response;
    settings(s, &response);
    response.volume_digest_supported = true;
    rpc_call_send(call, &response.base);
}

static void count(struct master_metrics *m, const struct heartbeat *h,
                  const struct heartbeat_result *result)
{
    if (h->has_state)
        metric_add(m->heartbeat_state, 1);
    if (h->new_volume_count)
        metric_add(m->heartbeat_new, 1);
    if (h->deleted_volume_count)
        metric_add(m->heartbeat_deleted, 1);
    if (h->changed_volume_count)
        metric_add(m->heartbeat_changed, 1);
    if (h->volume_count || h->has_no_volumes)
        metric_add(m->heartbeat_full, 1);
    if (h->new_ec_shard_count || h->deleted_ec_shard_count)
        metric_add(m->heartbeat_new_ec, 1);
    if (h->ec_shard_count || h->has_no_ec_shards)
        metric_add(m->heartbeat_ec, 1);
    if (!h->has_volume_digest)
        metric_add(m->digest_absent, 1);
    else if (result->needs_full_list || result->digest_mismatch_in_full_list)
        metric_add(m->digest_mismatch, 1);
    else
        metric_add(m->digest_match, 1);
}

static void apply(struct services *s, struct rpc_call *call, const struct heartbeat *h)
{
    struct cluster *cluster = s->cluster;
    struct heartbeat_stream *stream = rpc_call_user(call);
    struct heartbeat_result result = {.needs_full_list = false};
    struct location_update update;
    struct error err;
    location_update_init(&update);
    cluster_lock(cluster);
    int code =
        topology_apply_heartbeat(cluster->topology, stream->node, h, &result, &update, &err);
    cluster_keep_volume_ids(cluster);
    client_registry_publish(cluster->clients, &update);
    cluster_unlock(cluster);
    location_update_fini(&update);
    if (code) {
        metric_add(cluster->metrics->heartbeat_error, 1);
        rpc_call_fail_error(call, &err);
        return;
    }
    if (result.is_superseded) {
        rpc_call_fail(call, RPC_UNKNOWN, "another stream of this volume server took over");
        return;
    }
    count(cluster->metrics, h, &result);
    if (result.digest_mismatch_in_full_list)
        log_warning("full list does not match its digest", "server=%s:%u", h->ip, h->port);
    if (result.needs_full_list) {
        MasterPb__HeartbeatResponse response;
        settings(s, &response);
        response.resend_full_volume_list = true;
        rpc_call_send(call, &response.base);
    }
}

void master_rpc_heartbeat_message(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__Heartbeat *beat = (const MasterPb__Heartbeat *)message;
    metric_add(s->cluster->metrics->heartbeat_total, 1);
    struct arena arena;
    arena_init(&arena);
    struct heartbeat h;
    heartbeat_message_read(beat, &arena, &h);
    cluster_lock(s->cluster);
    sequencer_raise(&s->cluster->sequencer, beat->max_file_key);
    cluster_unlock(s->cluster);
    bool was_bound = rpc_call_user(call) != NULL;
    bool is_bound = was_bound || (*h.ip && bind_node(s, call, &h));
    if (is_bound)
        apply(s, call, &h);
    if (is_bound && !was_bound)
        welcome(s, call);
    arena_fini(&arena);
}

void master_rpc_heartbeat_half_closed(struct rpc_call *call, void *ctx)
{
    (void)ctx;
    rpc_call_fail(call, RPC_UNKNOWN, "EOF");
}

void master_rpc_heartbeat_closed(struct rpc_call *call, void *ctx)
{
    struct services *s = ctx;
    struct cluster *cluster = s->cluster;
    struct heartbeat_stream *stream = rpc_call_user(call);
    if (!stream)
        return;
    stream_list_remove(s->streams, call);
    struct location_update update;
    location_update_init(&update);
    char server[300];
    struct data_node_info info;
    cluster_lock(cluster);
    data_node_info(stream->node, &info);
    snprintf(server, sizeof(server), "%s", info.url);
    topology_unregister_node(cluster->topology, stream->node, &update);
    client_registry_publish(cluster->clients, &update);
    cluster_unlock(cluster);
    location_update_fini(&update);
    free(stream);
    log_info("volume server disconnected", "server=%s", server);
}
