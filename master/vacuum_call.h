/* What a vacuum asks of a volume server, and how it is answered: the table that tasks call through,
 * so that they need no network. */
#pragma once

#include "common/rpc_status.h"

#include <stdbool.h>
#include <stdint.h>

struct vacuum_task;

enum vacuum_call_kind {
    VACUUM_CALL_CHECK,
    VACUUM_CALL_COMPACT,
    VACUUM_CALL_COMMIT,
    VACUUM_CALL_CLEANUP,
    VACUUM_CALL_DELETE, /* of an empty copy */
    VACUUM_CALL_PAUSE,  /* a compaction; servers of the peer do not know it */
    VACUUM_CALL_RESUME,
};

struct vacuum_reply {
    enum rpc_status status;
    const char *message; /* of a failure */
    double garbage_ratio;
    bool is_read_only;
    uint64_t volume_size;
};

/* How far a compaction is. */
struct vacuum_call_progress {
    int64_t processed_bytes; /* the only one that servers of the peer tell */
    bool is_full;            /* the others were told, too */
    char phase[16];
    uint64_t bytes_total, bytes_per_second, left_ms;
    uint64_t records_done, records_total;
    uint64_t bytes_copied, bytes_reclaimed;
    uint64_t damaged, longest_pause_us;
};

/* One rpc in flight. Memory of the job; stays until `done` was called. */
struct vacuum_call {
    enum vacuum_call_kind kind;
    const char *address; /* host:grpcPort */
    uint32_t volume_id;
    int64_t preallocate_bytes;
    bool only_empty, only_garbage;
    unsigned timeout_ms; /* 0: none */
    void (*progress)(struct vacuum_call *call, const struct vacuum_call_progress *progress);
    void (*done)(struct vacuum_call *call, const struct vacuum_reply *reply); /* exactly once */
    void *handle; /* of the table's owner */
    struct vacuum_task *job; /* whose it is; NULL: nobody's */
};

/* `start` returns before `done` is called, which comes later from another stack. */
struct vacuum_ops {
    void (*start)(void *ctx, struct vacuum_call *call);
    /* Of a compaction only; `done` still comes. */
    void (*cancel)(void *ctx, struct vacuum_call *call);
    void *ctx;
};
