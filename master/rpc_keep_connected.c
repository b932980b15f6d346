/* KeepConnected: event driven, ten thousand clients hold no thread. The queue threads only hand
 * streams over to the control loop, where the client registry lives; they meet in that order,
 * because all of one stream's callbacks come one after another. Source: spec/master-rpc.md 6,
 * 16. */
#include "master/rpc_handlers.h"

#include "common/arena.h"
#include "common/check.h"
#include "common/loop.h"
#include "proto/master.pb-c.h"

struct keep_stream {
    struct loop_task join, leave;
    struct services *services;
    struct rpc_call *call; /* a reference */
    struct client *client; /* control thread */
    char *type, *address, *version, *group, *data_center, *rack;
};

static struct keep_stream *of_join(struct loop_task *task)
{
    return (struct keep_stream *)((char *)task - offsetof(struct keep_stream, join));
}

static struct keep_stream *of_leave(struct loop_task *task)
{
    return (struct keep_stream *)((char *)task - offsetof(struct keep_stream, leave));
}

static void run_join(struct loop_task *task)
{
    struct keep_stream *stream = of_join(task);
    const struct client_identity identity = {
        .type = stream->type,
        .address = stream->address,
        .version = stream->version,
        .group = stream->group,
        .data_center = stream->data_center,
        .rack = stream->rack,
    };
    stream->client =
        client_registry_join(stream->services->cluster->clients, stream->call, &identity);
}

static void run_leave(struct loop_task *task)
{
    struct keep_stream *stream = of_leave(task);
    client_registry_leave(stream->services->cluster->clients, stream->client);
    rpc_call_unref(stream->call);
    free(stream->type);
    free(stream->address);
    free(stream->version);
    free(stream->group);
    free(stream->data_center);
    free(stream->rack);
    free(stream);
}

/* A client without an address gets one that nobody else has. */
static char *address_or_random(struct services *s, const char *address)
{
    char *text;
    if (*address)
        return must(strdup(address));
    CHECK(asprintf(&text, "%016llx%016llx", (unsigned long long)os_random(s->cluster->os),
                   (unsigned long long)os_random(s->cluster->os)) >= 0);
    return text;
}

void master_rpc_keep_connected_message(struct rpc_call *call, const ProtobufCMessage *message,
                                       void *ctx)
{
    struct services *s = ctx;
    const MasterPb__KeepConnectedRequest *request = (const MasterPb__KeepConnectedRequest *)message;
    if (rpc_call_user(call))
        return; /* only the first one says who it is */
    if (!stream_list_add(s->streams, call)) {
        rpc_call_fail(call, RPC_UNAVAILABLE, "the master is stopping");
        return;
    }
    struct keep_stream *stream = must(calloc(1, sizeof(*stream)));
    stream->join.run = run_join;
    stream->leave.run = run_leave;
    stream->services = s;
    stream->call = call;
    stream->type = must(strdup(request->client_type));
    stream->address = address_or_random(s, request->client_address);
    stream->version = must(strdup(request->version));
    stream->group = must(strdup(request->filer_group));
    stream->data_center = must(strdup(request->data_center));
    stream->rack = must(strdup(request->rack));
    rpc_call_ref(call);
    rpc_call_set_user(call, stream);
    loop_post(s->control, &stream->join);
}

void master_rpc_keep_connected_half_closed(struct rpc_call *call, void *ctx)
{
    (void)ctx;
    rpc_call_finish(call);
}

void master_rpc_keep_connected_closed(struct rpc_call *call, void *ctx)
{
    struct services *s = ctx;
    struct keep_stream *stream = rpc_call_user(call);
    stream_list_remove(s->streams, call);
    if (stream)
        loop_post(s->control, &stream->leave);
}

/* ---- ListClusterNodes ------------------------------------------------------------------------ */

struct node_list {
    struct arena arena;
    MasterPb__ListClusterNodesResponse__ClusterNode **nodes;
    size_t count, capacity, limit;
};

static void add_node(void *ctx, const struct cluster_member *member)
{
    struct node_list *list = ctx;
    if (list->limit > 0 && list->count >= list->limit)
        return;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->nodes = must(realloc(list->nodes, list->capacity * sizeof(void *)));
    }
    MasterPb__ListClusterNodesResponse__ClusterNode *node =
        arena_alloc(&list->arena, sizeof(*node));
    master_pb__list_cluster_nodes_response__cluster_node__init(node);
    node->address = arena_printf(&list->arena, "%s", member->address);
    node->version = arena_printf(&list->arena, "%s", member->version);
    node->data_center = arena_printf(&list->arena, "%s", member->data_center);
    node->rack = arena_printf(&list->arena, "%s", member->rack);
    node->created_at_ns = member->created_at_ns;
    list->nodes[list->count++] = node;
}

void master_rpc_list_cluster_nodes(struct rpc_call *call, const ProtobufCMessage *message,
                                   void *ctx)
{
    struct services *s = ctx;
    const MasterPb__ListClusterNodesRequest *request =
        (const MasterPb__ListClusterNodesRequest *)message;
    struct node_list list = {.limit = request->limit > 0 ? (size_t)request->limit : 0};
    arena_init(&list.arena);
    client_registry_visit(s->cluster->clients, request->client_type, request->filer_group, add_node,
                          &list);
    MasterPb__ListClusterNodesResponse response = MASTER_PB__LIST_CLUSTER_NODES_RESPONSE__INIT;
    response.cluster_nodes = list.nodes;
    response.n_cluster_nodes = list.count;
    rpc_call_reply(call, &response.base);
    free(list.nodes);
    arena_fini(&list.arena);
}
