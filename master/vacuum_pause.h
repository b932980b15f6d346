/* Telling a volume server to hold a compaction still. The call belongs to nobody: the job that it is
 * about may have ended when it is answered. */
#pragma once

#include "master/vacuum_call.h"

struct vacuum_pause_target {
    const struct vacuum_ops *ops;
    uint64_t job_id;
    const char *address; /* host:grpcPort, copied */
    uint32_t volume_id;
    /* The server does not know how. On any thread. */
    void (*refused)(void *ctx, uint64_t job_id, const char *why);
    void *ctx;
};

void vacuum_pause_call(const struct vacuum_pause_target *target, bool is_paused);
