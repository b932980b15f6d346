/* The handlers of volume_rpc.c's table, and what they share. Each ends its call exactly once.
 * Worker threads: they may block. */
#pragma once

#include "proto/volume_server.pb-c.h"
#include "volume/volume_rpc.h"

#include <stdatomic.h>

struct volume_rpc {
    struct volume_rpc_config config;
    atomic_bool is_stopping;
    struct volume_rpc_method *methods; /* one a row, see volume_rpc.c */
    struct rpc_service *services;
    size_t service_count;
};

typedef void rpc_handler(struct volume_rpc *rpc, struct rpc_call *call,
                         const ProtobufCMessage *message);

/* Fails the call and returns true in maintenance mode. For the rows that check late. */
bool rpc_refuse_in_maintenance(struct volume_rpc *rpc, struct rpc_call *call);
/* The volume, in use until store_release. NULL and the call has failed: with UNAVAILABLE while it is still
 * being loaded, which a caller must not take for "gone"; else with this status and text. */
struct volume *rpc_acquire_volume(struct volume_rpc *rpc, struct rpc_call *call, uint32_t id,
                                  enum rpc_status status, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* UNKNOWN with the error's text: the ordinary failure of the peer. */
void rpc_fail_unknown(struct rpc_call *call, const struct error *err);

/* rpc_vacuum.c */
rpc_handler rpc_vacuum_check, rpc_vacuum_compact, rpc_vacuum_commit, rpc_vacuum_cleanup,
    rpc_vacuum_pause;
/* rpc_volume_admin.c */
rpc_handler rpc_allocate_volume, rpc_volume_mount, rpc_volume_unmount, rpc_volume_delete,
    rpc_delete_collection, rpc_volume_status, rpc_volume_sync_status, rpc_volume_configure;
/* rpc_volume_mark.c */
rpc_handler rpc_volume_mark_readonly, rpc_volume_mark_writable;
/* VolumeMarkReadonly of an acquired volume. On failure *ret_status is what the call fails with. */
int rpc_mark_read_only(struct volume_rpc *rpc, struct volume *volume, bool can_delete, bool persist,
                       enum rpc_status *ret_status, struct error *err);
/* rpc_needle.c */
rpc_handler rpc_read_needle_blob, rpc_read_needle_meta, rpc_write_needle_blob,
    rpc_volume_needle_status, rpc_read_all_needles;
/* rpc_scrub.c */
rpc_handler rpc_scrub_volume;
/* rpc_batch_delete.c */
rpc_handler rpc_batch_delete;
/* rpc_server_status.c */
rpc_handler rpc_server_status, rpc_get_state, rpc_set_state, rpc_server_leave;
/* rpc_ping.c */
rpc_handler rpc_ping;
