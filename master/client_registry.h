/* The clients that stay connected (KeepConnected): who they are, and what they are told.
 *
 * Three things live here: the open streams, each of which gets every broadcast; the members
 * (filers, brokers, S3 gateways), counted by address within their group; and the lock ring of each
 * group, the set of its filers, announced one second after it last changed. Source:
 * spec/master-rpc.md 6.
 *
 * Threads: topology changes are handed in by client_registry_publish from wherever they happen,
 * under the topology's lock, so that they queue up in the order in which they happened; join,
 * leave, flush and tick run on one thread (the control loop). Questions may come from any thread.
 * Bounds: a stream that does not read is cut off when its send queue is full, so that it comes back
 * and learns everything anew; losing single messages would leave it wrong for ever. */
#pragma once

#include "common/error.h"
#include "master/location_update.h"
#include "proto/master.pb-c.h"

struct client_registry;
struct client; /* one stream */

struct client_registry_ops {
    /* Queues a message to a stream: 0, KELP_E_LIMIT, KELP_E_CANCELLED. */
    int (*send)(void *stream, const MasterPb__KeepConnectedResponse *message);
    /* Ends a stream whose queue is full; client_registry_leave follows later, as for any end. */
    void (*cut_off)(void *stream);
    /* Appends one update per known data node, also for those without volumes. */
    void (*describe)(void *ctx, struct location_updates *ret);
    /* Something was published: call client_registry_flush soon. Any thread, must not block. */
    void (*wake)(void *ctx);
    int64_t (*now_ns)(void *ctx); /* unix time */
    void *ctx;
};

/* `leader` is this master's full address; borrowed, as is `ops`. */
struct client_registry *client_registry_create(const struct client_registry_ops *ops,
                                               const char *leader);
void client_registry_destroy(struct client_registry *registry); /* all clients have left */

struct client_identity {
    const char *type; /* "filer", "adminShell", ... */
    const char *address;
    const char *version;
    const char *group;
    const char *data_center;
    const char *rack;
};

/* Control thread. Registers the stream and sends it what it has to know first. The client is owned
 * by the registry until client_registry_leave, which comes exactly once. */
struct client *client_registry_join(struct client_registry *registry, void *stream,
                                    const struct client_identity *identity);
void client_registry_leave(struct client_registry *registry, struct client *client);

/* Any thread: queues a copy for every client; one without ids is dropped. */
void client_registry_publish(struct client_registry *registry,
                             const struct location_update *update);
void client_registry_publish_all(struct client_registry *registry,
                                 const struct location_updates *updates);
/* Control thread: sends what was published. */
void client_registry_flush(struct client_registry *registry);
/* Control thread, every few hundred ms: lock rings that are due. */
void client_registry_tick(struct client_registry *registry);

struct cluster_member {
    const char *address;
    const char *version;
    const char *data_center;
    const char *rack;
    int64_t created_at_ns; /* stable while the member stays */
};
/* Any thread. Members of that type in exactly that group; the strings live during the call only. */
void client_registry_visit(struct client_registry *registry, const char *type, const char *group,
                           void (*visit)(void *ctx, const struct cluster_member *member),
                           void *ctx);
/* Any thread: a member of this type in any group has this address, compared by host:httpPort. */
bool client_registry_knows(struct client_registry *registry, const char *type,
                           const char *address);

struct client_registry_stats {
    uint64_t clients;
    uint64_t cut_off; /* streams ended because they did not read */
};
void client_registry_stats(struct client_registry *registry, struct client_registry_stats *ret);
