/* What a volume beat tells of the volumes: all of them, or what has changed since this stream's
 * master was last told. Pure; one thread at a time. Source: spec/heartbeat.md 5.1, 6, 8. */
#pragma once

#include "common/arena.h"
#include "proto/master.pb-c.h"
#include "volume/storage/volume.h"

enum heartbeat_fate {
    HEARTBEAT_REPORT,
    HEARTBEAT_HIDE,    /* left out of list and digest */
    HEARTBEAT_DESTROY, /* its TTL is long over: left out, and its files may go */
};
/* `size_limit` 0: no master has told it yet, nothing expires. */
enum heartbeat_fate heartbeat_volume_fate(const struct volume_stat *stat, uint64_t size_limit,
                                          int64_t now_ns);

/* Fills `ret`; the strings are borrowed. */
void heartbeat_describe(MasterPb__VolumeInformationMessage *ret, uint32_t id,
                        const char *collection, const char *disk_type, uint32_t disk_id,
                        const struct volume_stat *stat);
void heartbeat_describe_short(MasterPb__VolumeShortInformationMessage *ret,
                              const MasterPb__VolumeInformationMessage *volume);

/* What this stream's master has been told. */
struct heartbeat_memory;
struct heartbeat_memory *heartbeat_memory_create(void);
void heartbeat_memory_destroy(struct heartbeat_memory *memory);
/* A new stream: nothing has been told, the next beat is full. */
void heartbeat_memory_reset(struct heartbeat_memory *memory);
/* The master understands digests: from now on changes are enough. */
void heartbeat_memory_accept(struct heartbeat_memory *memory);
/* The master wants the full list once. */
void heartbeat_memory_request_full(struct heartbeat_memory *memory);
/* A delta about this volume has been queued: the next beat tells of it again, whatever its hash. */
void heartbeat_memory_forget(struct heartbeat_memory *memory, uint32_t disk_id, uint32_t id);

/* Sets volumes or changed_volumes, deleted_volumes, has_no_volumes and volume_digest of `beat`
 * for the volumes that are held and reported now, and remembers them as told. The lists live in
 * the arena and point into `volumes`. */
void heartbeat_memory_report(struct heartbeat_memory *memory,
                             MasterPb__VolumeInformationMessage *volumes, size_t count,
                             struct arena *arena, MasterPb__Heartbeat *beat);
