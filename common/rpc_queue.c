/* Completion-queue threads, and the share of the gRPC library that servers and clients hold.
 *
 * One thread a queue: gRPC's own polling happens in it, and the events of a call, which all come
 * out of the queue that the call was bound to, are serialised without a lock. */
#include "common/rpc_internal.h"

#include "common/check.h"

#include <grpc/support/log.h>
#include <signal.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
/* gRPC, absl and the C++ library come without instrumentation: what they do among themselves would
 * be reported by the hundred. What they do for us is seen by RPC_HAND_OVER, RPC_TAKE_OVER. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) { return "ignore_noninstrumented_modules=1"; }
#endif

static pthread_once_t log_once = PTHREAD_ONCE_INIT;

static void drop_log(gpr_log_func_args *args) { (void)args; }

/* The library writes its own lines on standard error, also for what we report as errors (a port in
 * use, a peer that is gone). They are let through only for who asks for them. */
static void tame_log(void)
{
    if (!getenv("GRPC_VERBOSITY") && !getenv("GRPC_TRACE"))
        gpr_set_log_function(drop_log);
}

void rpc_library_ref(void)
{
    pthread_once(&log_once, tame_log);
    grpc_init();
}

void rpc_library_unref(void) { grpc_shutdown(); }

void rpc_queue_init(struct rpc_queue *queue)
{
    memset(queue, 0, sizeof(*queue));
    queue->core = grpc_completion_queue_create_for_next(NULL);
    CHECK(queue->core);
}

static void *serve_queue(void *argument)
{
    struct rpc_queue *queue = argument;
    for (;;) {
        grpc_event event =
            grpc_completion_queue_next(queue->core, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type != GRPC_OP_COMPLETE)
            continue;
        struct rpc_tag *tag = event.tag;
        RPC_TAKE_OVER(tag);
        tag->run(tag, event.success != 0);
    }
}

int rpc_queue_start(struct rpc_queue *queue, const char *name, struct error *err)
{
    /* Signals are for the threads that expect them. */
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failure = pthread_create(&queue->thread, NULL, serve_queue, queue);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (failure)
        return error_set_errno(err, failure, "start thread %s", name);
    queue->has_thread = true;
    pthread_setname_np(queue->thread, name);
    return 0;
}

void rpc_queue_fini(struct rpc_queue *queue)
{
    if (!queue->core)
        return;
    grpc_completion_queue_shutdown(queue->core);
    if (queue->has_thread)
        pthread_join(queue->thread, NULL);
    else
        serve_queue(queue);
    grpc_completion_queue_destroy(queue->core);
    memset(queue, 0, sizeof(*queue));
}

void rpc_start_batch(grpc_call *call, const grpc_op *ops, size_t count, struct rpc_tag *tag)
{
    RPC_HAND_OVER(tag);
    grpc_call_error failure = grpc_call_start_batch(call, ops, count, tag, NULL);
    CHECK(failure == GRPC_CALL_OK);
}
