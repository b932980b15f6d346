/* The beats themselves: messages made of the server's identity and what its store holds now. May
 * look at disks, so it may block; one thread at a time. Source: spec/heartbeat.md 4, 5. */
#pragma once

#include "volume/heartbeat_report.h"
#include "volume/store.h"

struct server_state;

/* Who we are, as the master keeps it. Borrowed strings, never NULL. */
struct heartbeat_identity {
    const char *ip;
    uint16_t port, grpc_port;
    const char *public_url, *id, *data_center, *rack;
};

/* A volume whose TTL is over for good. */
struct heartbeat_expired {
    uint32_t *ids; /* in the arena */
    size_t count;
};

/* The volume beat: identity, counts, disks, state, and the volumes as `memory` decides. */
void heartbeat_beat_volumes(const struct heartbeat_identity *identity, struct store *store,
                            struct server_state *state, struct heartbeat_memory *memory,
                            struct arena *arena, MasterPb__Heartbeat *ret,
                            struct heartbeat_expired *ret_expired);
/* Identity only, as deltas and the state beat carry it. */
void heartbeat_beat_brief(const struct heartbeat_identity *identity, MasterPb__Heartbeat *ret);
void heartbeat_beat_farewell(const struct heartbeat_identity *identity, MasterPb__Heartbeat *ret);
/* Adds the state to a beat. */
void heartbeat_beat_add_state(struct server_state *state, struct arena *arena,
                              MasterPb__Heartbeat *beat);
