/* A hash of groups, each with a hash of its filers and a copy of what was announced last. */
#include "master/lock_ring.h"

#include "common/check.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define DELAY_NS INT64_C(1000000000)

struct ring_server {
    char *address; /* the key */
    UT_hash_handle hh;
};

struct lock_ring {
    char *group; /* the key */
    struct ring_server *servers;
    int64_t due_ns; /* 0: nothing to announce */
    int64_t version; /* of the last announcement; 0: none yet */
    size_t announced_count;
    char **announced;
    UT_hash_handle hh;
};

static void forget_announcement(struct lock_ring *ring)
{
    for (size_t i = 0; i < ring->announced_count; i++)
        free(ring->announced[i]);
    free(ring->announced);
    ring->announced = NULL;
    ring->announced_count = 0;
}

static void forget_server(struct lock_ring *ring, struct ring_server *server)
{
    HASH_DEL(ring->servers, server);
    free(server->address);
    free(server);
}

static void forget_ring(struct lock_rings *rings, struct lock_ring *ring)
{
    struct ring_server *server, *next;
    HASH_ITER(hh, ring->servers, server, next)
        forget_server(ring, server);
    forget_announcement(ring);
    HASH_DEL(rings->by_group, ring);
    free(ring->group);
    free(ring);
}

static struct lock_ring *ring_of(struct lock_rings *rings, const char *group)
{
    struct lock_ring *ring;
    HASH_FIND_STR(rings->by_group, group, ring);
    if (ring)
        return ring;
    ring = must(calloc(1, sizeof(*ring)));
    ring->group = must(strdup(group));
    HASH_ADD_KEYPTR(hh, rings->by_group, ring->group, strlen(ring->group), ring);
    return ring;
}

void lock_rings_change(struct lock_rings *rings, const char *group, const char *address,
                       bool is_add, int64_t now_ns)
{
    struct lock_ring *ring = ring_of(rings, group);
    struct ring_server *server;
    HASH_FIND_STR(ring->servers, address, server);
    if (is_add && !server) {
        server = must(calloc(1, sizeof(*server)));
        server->address = must(strdup(address));
        HASH_ADD_KEYPTR(hh, ring->servers, server->address, strlen(server->address), server);
    } else if (!is_add && server) {
        forget_server(ring, server);
    }
    ring->due_ns = now_ns + DELAY_NS;
}

static void fill_message(const struct lock_ring *ring, MasterPb__KeepConnectedResponse *response,
                         MasterPb__LockRingUpdate *update)
{
    master_pb__keep_connected_response__init(response);
    master_pb__lock_ring_update__init(update);
    update->filer_group = ring->group;
    update->servers = ring->announced;
    update->n_servers = ring->announced_count;
    update->version = ring->version;
    response->lock_ring_update = update;
}

static void renew_announcement(struct lock_ring *ring, int64_t now_ns)
{
    forget_announcement(ring);
    ring->announced = must(calloc(HASH_COUNT(ring->servers) + 1, sizeof(char *)));
    struct ring_server *server, *next;
    HASH_ITER(hh, ring->servers, server, next)
        ring->announced[ring->announced_count++] = must(strdup(server->address));
    /* Filers ignore versions that are not newer; a clock that was set back must not silence us. */
    ring->version = now_ns > ring->version ? now_ns : ring->version + 1;
    ring->due_ns = 0;
}

void lock_rings_tick(struct lock_rings *rings, int64_t now_ns,
                     void (*announce)(void *ctx, const MasterPb__KeepConnectedResponse *message),
                     void *ctx)
{
    struct lock_ring *ring, *next;
    HASH_ITER(hh, rings->by_group, ring, next) {
        if (!ring->due_ns || now_ns < ring->due_ns)
            continue;
        MasterPb__KeepConnectedResponse response;
        MasterPb__LockRingUpdate update;
        renew_announcement(ring, now_ns);
        fill_message(ring, &response, &update);
        announce(ctx, &response);
        if (!ring->servers)
            forget_ring(rings, ring); /* versions are times: the group's next ring is newer */
    }
}

bool lock_rings_message(const struct lock_rings *rings, const char *group,
                        MasterPb__KeepConnectedResponse *ret_message,
                        MasterPb__LockRingUpdate *ret_update)
{
    struct lock_ring *ring;
    HASH_FIND_STR(rings->by_group, group, ring);
    if (!ring || !ring->version)
        return false;
    fill_message(ring, ret_message, ret_update);
    return true;
}

void lock_rings_fini(struct lock_rings *rings)
{
    struct lock_ring *ring, *next;
    HASH_ITER(hh, rings->by_group, ring, next)
        forget_ring(rings, ring);
}
