/* One call, made and forgotten. A server that answers that it does not compact has just ended: the job
 * finds its own pause before the next replica. One that does not know the call, as those of the peer,
 * cannot be paused, and the job's host is told. */
#include "master/vacuum_pause.h"

#include "common/check.h"
#include "common/log.h"

#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000u

struct pause {
    struct vacuum_call call; /* first */
    struct vacuum_pause_target target;
    char *address;
};

static void on_answer(struct vacuum_call *call, const struct vacuum_reply *reply)
{
    struct pause *pause = (struct pause *)call;
    const struct vacuum_pause_target *target = &pause->target;
    if (reply->status != RPC_OK)
        log_warning("compaction not paused or resumed",
                    "job=%llu volume=%u server=%s error=\"%s\"",
                    (unsigned long long)target->job_id, target->volume_id, pause->address,
                    reply->message ? reply->message : "");
    if (reply->status == RPC_UNIMPLEMENTED)
        target->refused(target->ctx, target->job_id,
                        "its volume server cannot pause; cancel the job instead");
    free(pause->address);
    free(pause);
}

void vacuum_pause_call(const struct vacuum_pause_target *target, bool is_paused)
{
    struct pause *pause = must(calloc(1, sizeof(*pause)));
    pause->target = *target;
    pause->address = must(strdup(target->address));
    pause->call = (struct vacuum_call){
        .kind = is_paused ? VACUUM_CALL_PAUSE : VACUUM_CALL_RESUME,
        .address = pause->address,
        .volume_id = target->volume_id,
        .timeout_ms = TIMEOUT_MS,
        .done = on_answer,
    };
    target->ops->start(target->ops->ctx, &pause->call);
}
