/* The lock ring of each group of filers: the set of them, announced to all clients one second after
 * it last changed. Source: spec/master-rpc.md 6.
 *
 * Pure: the owner brings the clock, the lock and the wire. Zeroed memory is a valid beginning. */
#pragma once

#include "proto/master.pb-c.h"

#include <stdbool.h>
#include <stdint.h>

struct lock_rings {
    struct lock_ring *by_group;
};

/* A filer of the group has come or gone. */
void lock_rings_change(struct lock_rings *rings, const char *group, const char *address,
                       bool is_add, int64_t now_ns);
/* Announces what is due. The message is valid during the call. */
void lock_rings_tick(struct lock_rings *rings, int64_t now_ns,
                     void (*announce)(void *ctx, const MasterPb__KeepConnectedResponse *message),
                     void *ctx);
/* The last announcement of a group, borrowed until the next call of the others; false when there
 * was none. */
bool lock_rings_message(const struct lock_rings *rings, const char *group,
                        MasterPb__KeepConnectedResponse *ret_message,
                        MasterPb__LockRingUpdate *ret_update);
void lock_rings_fini(struct lock_rings *rings);
