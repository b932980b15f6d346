/* The heartbeat: one stream to the leading master that says what this server holds, at once when a
 * volume comes or goes, in full or as changes every pulse. Source: spec/heartbeat.md.
 *
 *   searching -> streaming -> (redirected | refused | lost) -> searching ... -> left
 *
 * A thread of its own runs it all: events (deltas, responses, the end of the stream) come in
 * through one ordered queue, so a delete and a re-add of one volume never change places. */
#pragma once

#include "common/address.h"
#include "volume/heartbeat_beat.h"

struct heartbeat;
struct rpc_client;
struct metrics;

struct heartbeat_config {
    const struct heartbeat_identity *identity; /* borrowed; read from heartbeat_begin on */
    struct store *store;
    struct server_state *state;
    struct rpc_client *client;
    const struct address *masters; /* the seeds, copied */
    size_t master_count;
    uint32_t pulse_ms; /* 0: 5000; the waits between attempts scale with it */
    /* The masters insist that another server has our directories: on the heartbeat's thread. */
    void (*on_refused)(void *ctx, const struct error *err);
    /* A stream to this master ended, or did not come about; likewise. May be NULL. */
    void (*on_lost)(void *ctx, const char *master);
    void *ctx;
};

/* Does not connect yet: the ports, which are part of the identity, may not be open. */
int heartbeat_create(struct heartbeat **ret, const struct heartbeat_config *config,
                     struct error *err);
/* Once. Does nothing after heartbeat_leave. */
int heartbeat_begin(struct heartbeat *heartbeat, struct error *err);
/* Says farewell, sees it sent, closes the stream; for good. Blocks; may be called again. */
void heartbeat_leave(struct heartbeat *heartbeat);
bool heartbeat_has_left(const struct heartbeat *heartbeat); /* any thread */
/* After heartbeat_leave, once nobody calls the functions below any more. NULL is fine. */
void heartbeat_destroy(struct heartbeat *heartbeat);

/* Any thread, do not block. For store_config. */
void heartbeat_volume_added(struct heartbeat *heartbeat, const struct disk_location *location,
                            struct volume *volume);
void heartbeat_volume_removed(struct heartbeat *heartbeat, const struct disk_location *location,
                              struct volume *volume);
void heartbeat_state_changed(struct heartbeat *heartbeat);

/* The master of the last stream that was answered; false when none ever was. It survives the
 * loss of the stream and leaving. Any thread. */
bool heartbeat_master(struct heartbeat *heartbeat, struct address *ret);
bool heartbeat_is_connected(struct heartbeat *heartbeat);
