/* Two locks. `queue_lock` guards the updates that wait to be sent; it is the innermost lock of the
 * master, taken under the topology's. `lock` guards clients, members and rings; it is never held
 * together with the topology's, because describing the topology happens outside of it. */
#include "master/client_registry.h"

#include "common/address.h"
#include "common/check.h"
#include "master/location_message.h"
#include "master/lock_ring.h"

#include <pthread.h>
#include <utlist.h>
#include <uthash.h>

struct client {
    void *stream;
    struct cluster_node *node; /* NULL: a type that is not tracked */
    char *type, *address, *group;
    struct client *prev, *next;
};

/* A member: one per (group, type, address), however many streams it has. */
struct cluster_node {
    char *key; /* "group\ntype\naddress" */
    char *address, *version, *data_center, *rack;
    int64_t created_at_ns;
    unsigned streams;
    UT_hash_handle hh;
};

struct queued_update {
    struct location_message message;
    struct queued_update *next;
};

struct client_registry {
    const struct client_registry_ops *ops;
    const char *leader;
    pthread_mutex_t queue_lock;
    struct queued_update *first, **last;
    pthread_mutex_t lock;
    struct client *clients;
    struct cluster_node *nodes;
    struct lock_rings rings;
    struct client_registry_stats stats;
};

struct client_registry *client_registry_create(const struct client_registry_ops *ops,
                                               const char *leader)
{
    struct client_registry *r = must(calloc(1, sizeof(*r)));
    r->ops = ops;
    r->leader = leader;
    r->last = &r->first;
    pthread_mutex_init(&r->queue_lock, NULL);
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

/* ---- Sending; `lock` is held ----------------------------------------------------------------- */

static void send_to(struct client_registry *r, struct client *client,
                    const MasterPb__KeepConnectedResponse *message)
{
    if (r->ops->send(client->stream, message) != KELP_E_LIMIT)
        return;
    r->stats.cut_off++;
    r->ops->cut_off(client->stream);
}

static void broadcast(struct client_registry *r, const MasterPb__KeepConnectedResponse *message)
{
    struct client *client;
    DL_FOREACH(r->clients, client)
        send_to(r, client, message);
}

static void node_message(MasterPb__KeepConnectedResponse *response,
                         MasterPb__ClusterNodeUpdate *update, const char *type,
                         const char *address, const char *group, bool is_add)
{
    master_pb__keep_connected_response__init(response);
    master_pb__cluster_node_update__init(update);
    update->node_type = (char *)type;
    update->address = (char *)address;
    update->filer_group = (char *)group;
    update->is_add = is_add;
    response->cluster_node_update = update;
}

static void broadcast_node(struct client_registry *r, const struct client *client, bool is_add)
{
    MasterPb__KeepConnectedResponse response;
    MasterPb__ClusterNodeUpdate update;
    node_message(&response, &update, client->type, client->address, client->group, is_add);
    broadcast(r, &response);
}

/* ---- Lock rings ------------------------------------------------------------------------------ */

static void change_ring(struct client_registry *r, const struct client *client, bool is_add)
{
    lock_rings_change(&r->rings, client->group, client->address, is_add,
                      r->ops->now_ns(r->ops->ctx));
}

static void announce(void *ctx, const MasterPb__KeepConnectedResponse *message)
{
    broadcast(ctx, message);
}

void client_registry_tick(struct client_registry *r)
{
    int64_t now_ns = r->ops->now_ns(r->ops->ctx);
    pthread_mutex_lock(&r->lock);
    lock_rings_tick(&r->rings, now_ns, announce, r);
    pthread_mutex_unlock(&r->lock);
}

/* ---- Members --------------------------------------------------------------------------------- */

static bool is_tracked(const char *type)
{
    return strcmp(type, "filer") == 0 || strcmp(type, "broker") == 0 || strcmp(type, "s3") == 0;
}

static char *node_key(const char *group, const char *type, const char *address)
{
    char *key;
    CHECK(asprintf(&key, "%s\n%s\n%s", group, type, address) >= 0);
    return key;
}

/* True when this is its first stream. */
static bool add_member(struct client_registry *r, struct client *client,
                       const struct client_identity *identity)
{
    char *key = node_key(client->group, client->type, client->address);
    struct cluster_node *node;
    HASH_FIND_STR(r->nodes, key, node);
    if (node) {
        free(key);
    } else {
        node = must(calloc(1, sizeof(*node)));
        node->key = key;
        node->address = must(strdup(identity->address));
        node->version = must(strdup(identity->version));
        node->data_center = must(strdup(identity->data_center));
        node->rack = must(strdup(identity->rack));
        node->created_at_ns = r->ops->now_ns(r->ops->ctx);
        HASH_ADD_KEYPTR(hh, r->nodes, node->key, strlen(node->key), node);
    }
    client->node = node;
    return node->streams++ == 0;
}

static void free_node(struct client_registry *r, struct cluster_node *node)
{
    HASH_DEL(r->nodes, node);
    free(node->key);
    free(node->address);
    free(node->version);
    free(node->data_center);
    free(node->rack);
    free(node);
}

/* The parts of a member's key: group and type, each up to a newline. */
static bool node_is(const struct cluster_node *node, const char *type, const char *group)
{
    const char *newline = strchr(node->key, '\n');
    size_t group_size = (size_t)(newline - node->key);
    if (group && (strlen(group) != group_size || memcmp(group, node->key, group_size) != 0))
        return false;
    size_t type_size = strlen(type);
    return strncmp(newline + 1, type, type_size) == 0 && newline[1 + type_size] == '\n';
}

/* ---- Joining and leaving --------------------------------------------------------------------- */

static void send_locations(struct client_registry *r, struct client *client,
                           const struct location_updates *nodes)
{
    MasterPb__KeepConnectedResponse response;
    master_pb__keep_connected_response__init(&response);
    if (nodes->count == 0) {
        /* A client counts as connected once it got one message. */
        MasterPb__VolumeLocation location;
        master_pb__volume_location__init(&location);
        location.leader = (char *)r->leader;
        response.volume_location = &location;
        send_to(r, client, &response);
        return;
    }
    for (size_t i = 0; i < nodes->count; i++) {
        MasterPb__VolumeLocation location;
        location_message_view(&nodes->items[i], &location);
        if (i == 0)
            location.leader = (char *)r->leader;
        response.volume_location = &location;
        send_to(r, client, &response);
    }
}

static void send_group(struct client_registry *r, struct client *client)
{
    MasterPb__KeepConnectedResponse response;
    struct cluster_node *node, *next;
    HASH_ITER(hh, r->nodes, node, next) {
        if (!node_is(node, "filer", client->group))
            continue;
        MasterPb__ClusterNodeUpdate update;
        node_message(&response, &update, "filer", node->address, client->group, true);
        send_to(r, client, &response);
    }
    bool wants_ring = strcmp(client->type, "filer") == 0 || strcmp(client->type, "s3") == 0;
    MasterPb__LockRingUpdate ring;
    if (wants_ring && lock_rings_message(&r->rings, client->group, &response, &ring))
        send_to(r, client, &response);
}

struct client *client_registry_join(struct client_registry *r, void *stream,
                                    const struct client_identity *identity)
{
    struct client *client = must(calloc(1, sizeof(*client)));
    client->stream = stream;
    client->type = must(strdup(identity->type));
    client->address = must(strdup(identity->address));
    client->group = must(strdup(identity->group));

    /* Updates published from here on wait in the queue: flush runs on this same thread. */
    struct location_updates nodes;
    location_updates_init(&nodes);
    r->ops->describe(r->ops->ctx, &nodes);

    pthread_mutex_lock(&r->lock);
    bool is_new = strcmp(client->type, "master") == 0;
    if (is_tracked(client->type))
        is_new = add_member(r, client, identity);
    if (strcmp(client->type, "filer") == 0)
        change_ring(r, client, true);
    send_locations(r, client, &nodes);
    send_group(r, client);
    DL_APPEND(r->clients, client);
    r->stats.clients++;
    if (is_new)
        broadcast_node(r, client, true);
    pthread_mutex_unlock(&r->lock);
    location_updates_fini(&nodes);
    return client;
}

static void free_client(struct client *client)
{
    free(client->type);
    free(client->address);
    free(client->group);
    free(client);
}

void client_registry_leave(struct client_registry *r, struct client *client)
{
    pthread_mutex_lock(&r->lock);
    DL_DELETE(r->clients, client);
    r->stats.clients--;
    bool is_last = strcmp(client->type, "master") == 0;
    if (client->node && --client->node->streams == 0) {
        is_last = true;
        free_node(r, client->node);
    }
    if (is_last)
        broadcast_node(r, client, false);
    if (is_last && strcmp(client->type, "filer") == 0)
        change_ring(r, client, false);
    pthread_mutex_unlock(&r->lock);
    free_client(client);
}

/* ---- Broadcasts ------------------------------------------------------------------------------ */

void client_registry_publish(struct client_registry *r, const struct location_update *update)
{
    if (!update->url || location_update_is_empty(update))
        return;
    struct queued_update *queued = must(calloc(1, sizeof(*queued)));
    location_message_copy(&queued->message, update);
    pthread_mutex_lock(&r->queue_lock);
    *r->last = queued;
    r->last = &queued->next;
    pthread_mutex_unlock(&r->queue_lock);
    r->ops->wake(r->ops->ctx);
}

void client_registry_publish_all(struct client_registry *r, const struct location_updates *updates)
{
    for (size_t i = 0; i < updates->count; i++)
        client_registry_publish(r, &updates->items[i]);
}

void client_registry_flush(struct client_registry *r)
{
    pthread_mutex_lock(&r->queue_lock);
    struct queued_update *update = r->first;
    r->first = NULL;
    r->last = &r->first;
    pthread_mutex_unlock(&r->queue_lock);
    pthread_mutex_lock(&r->lock);
    while (update) {
        struct queued_update *next = update->next;
        MasterPb__KeepConnectedResponse response;
        master_pb__keep_connected_response__init(&response);
        response.volume_location = &update->message.location;
        broadcast(r, &response);
        location_message_fini(&update->message);
        free(update);
        update = next;
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- Questions ------------------------------------------------------------------------------- */

void client_registry_visit(struct client_registry *r, const char *type, const char *group,
                           void (*visit)(void *ctx, const struct cluster_member *member), void *ctx)
{
    pthread_mutex_lock(&r->lock);
    struct cluster_node *node, *next;
    HASH_ITER(hh, r->nodes, node, next) {
        if (!node_is(node, type, group))
            continue;
        const struct cluster_member member = {.address = node->address,
                                              .version = node->version,
                                              .data_center = node->data_center,
                                              .rack = node->rack,
                                              .created_at_ns = node->created_at_ns};
        visit(ctx, &member);
    }
    pthread_mutex_unlock(&r->lock);
}

static bool same_address(const char *a, const char *b)
{
    struct address left, right;
    if (address_parse(slice_cstr(a), &left, NULL) || address_parse(slice_cstr(b), &right, NULL))
        return strcmp(a, b) == 0;
    return address_equals(&left, &right);
}

bool client_registry_knows(struct client_registry *r, const char *type, const char *address)
{
    bool is_known = false;
    pthread_mutex_lock(&r->lock);
    struct cluster_node *node, *next;
    HASH_ITER(hh, r->nodes, node, next)
        if (node_is(node, type, NULL) && same_address(node->address, address))
            is_known = true;
    pthread_mutex_unlock(&r->lock);
    return is_known;
}

void client_registry_stats(struct client_registry *r, struct client_registry_stats *ret)
{
    pthread_mutex_lock(&r->lock);
    *ret = r->stats;
    pthread_mutex_unlock(&r->lock);
}

void client_registry_destroy(struct client_registry *r)
{
    if (!r)
        return;
    CHECK(r->clients == NULL);
    struct queued_update *update = r->first;
    while (update) {
        struct queued_update *next = update->next;
        location_message_fini(&update->message);
        free(update);
        update = next;
    }
    lock_rings_fini(&r->rings);
    pthread_mutex_destroy(&r->lock);
    pthread_mutex_destroy(&r->queue_lock);
    free(r);
}
