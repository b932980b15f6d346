/* One call, made and forgotten. A server that answers that it does not compact has just ended: the job finds its
 * own pause before the next replica. One that does not know the call, as those of the peer, cannot be paused, and
 * the host is told. */
#include "master/vacuum_pause.h"

#include "common/check.h"
#include "common/log.h"

#define TIMEOUT_MS 10000u

struct pause {
    struct vacuum_call call; /* first */
    const struct vacuum_task_config *config;
    uint64_t job_id;
    char *address;
};

static void on_answer(struct vacuum_call *call, const struct vacuum_reply *reply)
{
    struct pause *pause = (struct pause *)call;
    if (reply->status != RPC_OK)
        log_warning("compaction not paused or resumed", "job=%llu volume=%u server=%s error=\"%s\"",
                    (unsigned long long)pause->job_id, call->volume_id, pause->address,
                    reply->message ? reply->message : "");
    if (reply->status == RPC_UNIMPLEMENTED)
        pause->config->on_pause_refused(pause->config->ctx, pause->job_id,
                                        "its volume server cannot pause; cancel the job instead");
    free(pause->address);
    free(pause);
}

void vacuum_pause_call(const struct vacuum_task *job, bool is_paused)
{
    struct pause *pause = must(calloc(1, sizeof(*pause)));
    pause->config = job->config;
    pause->job_id = job->id;
    pause->address = must(strdup(job->replicas[job->current].address));
    pause->call = (struct vacuum_call){
        .kind = is_paused ? VACUUM_CALL_PAUSE : VACUUM_CALL_RESUME,
        .address = pause->address,
        .volume_id = job->volume_id,
        .timeout_ms = TIMEOUT_MS,
        .done = on_answer,
    };
    job->config->ops->start(job->config->ops->ctx, &pause->call);
}
