/* Statistics, CollectionStatistics, CollectionList, CollectionDelete. They walk everything or call
 * volume servers: worker threads. Source: spec/master-rpc.md 12, 13. */
#include "master/rpc_handlers.h"

#include "common/arena.h"
#include "common/check.h"
#include "proto/master.pb-c.h"

/* Of the asked replication, else of the default one, else 1: what cannot be read is passed over. */
static unsigned copies_of(const struct services *s, const char *replication)
{
    struct replica_placement placement;
    if (*replication && replica_placement_parse(slice_cstr(replication), &placement, NULL) == 0)
        return replica_placement_copies(placement);
    if (*s->default_replication &&
        replica_placement_parse(slice_cstr(s->default_replication), &placement, NULL) == 0)
        return replica_placement_copies(placement);
    return 1;
}

void master_rpc_statistics(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__StatisticsRequest *request = (const MasterPb__StatisticsRequest *)message;
    struct topology_statistics statistics;
    cluster_lock(s->cluster);
    topology_statistics(s->cluster->topology, request->collection,
                        copies_of(s, request->replication), &statistics);
    cluster_unlock(s->cluster);
    MasterPb__StatisticsResponse response = MASTER_PB__STATISTICS_RESPONSE__INIT;
    response.total_size = statistics.total_size;
    response.used_size = statistics.used_size;
    response.file_count = statistics.file_count;
    response.logical_total_size = statistics.logical_total_size;
    response.logical_used_size = statistics.logical_used_size;
    rpc_call_reply(call, &response.base);
}

struct statistics_list {
    struct arena arena;
    MasterPb__CollectionStatistics **items;
    size_t count, capacity;
};

static void add_statistics(void *ctx, const struct collection_statistics *c)
{
    struct statistics_list *list = ctx;
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->items = must(realloc(list->items, list->capacity * sizeof(void *)));
    }
    MasterPb__CollectionStatistics *item = arena_alloc(&list->arena, sizeof(*item));
    master_pb__collection_statistics__init(item);
    item->collection = arena_strndup(&list->arena, c->collection, strlen(c->collection));
    item->file_count = c->file_count;
    item->delete_count = c->delete_count;
    item->deleted_byte_count = c->deleted_byte_count;
    item->size = c->size;
    item->physical_size = c->physical_size;
    item->volume_count = c->volume_count;
    list->items[list->count++] = item;
}

void master_rpc_collection_statistics(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *ctx)
{
    (void)message;
    struct services *s = ctx;
    struct statistics_list list = {.items = NULL};
    arena_init(&list.arena);
    cluster_lock(s->cluster);
    topology_collection_statistics(s->cluster->topology, add_statistics, &list);
    cluster_unlock(s->cluster);
    MasterPb__CollectionStatisticsResponse response =
        MASTER_PB__COLLECTION_STATISTICS_RESPONSE__INIT;
    response.collections = list.items;
    response.n_collections = list.count;
    rpc_call_reply(call, &response.base);
    free(list.items);
    arena_fini(&list.arena);
}

void master_rpc_collection_list(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__CollectionListRequest *request =
        (const MasterPb__CollectionListRequest *)message;
    size_t count;
    cluster_lock(s->cluster);
    const char **names = topology_collections(
        s->cluster->topology, request->include_normal_volumes, request->include_ec_volumes, &count);
    cluster_unlock(s->cluster); /* the names outlive every event */
    MasterPb__Collection *items = must(calloc(count + 1, sizeof(*items)));
    MasterPb__Collection **pointers = must(calloc(count + 1, sizeof(*pointers)));
    for (size_t i = 0; i < count; i++) {
        master_pb__collection__init(&items[i]);
        items[i].name = (char *)names[i];
        pointers[i] = &items[i];
    }
    MasterPb__CollectionListResponse response = MASTER_PB__COLLECTION_LIST_RESPONSE__INIT;
    response.collections = pointers;
    response.n_collections = count;
    rpc_call_reply(call, &response.base);
    free(pointers);
    free(items);
    free(names);
}

void master_rpc_collection_delete(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct services *s = ctx;
    const MasterPb__CollectionDeleteRequest *request =
        (const MasterPb__CollectionDeleteRequest *)message;
    enum rpc_status status = RPC_OK;
    struct error err;
    if (services_delete_collection(s, request->name, true, &status, &err)) {
        /* The volume server's own status and text. */
        rpc_call_fail(call, status, "%s", err.message);
        return;
    }
    MasterPb__CollectionDeleteResponse response = MASTER_PB__COLLECTION_DELETE_RESPONSE__INIT;
    rpc_call_reply(call, &response.base);
}
