/* See echo_service.h. Callbacks run on the server's queue and worker threads. */
#include "tests/proto/echo_service.h"

#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define MESSAGE VolumeServerPb__VolumeTailSenderResponse
#define MESSAGE_INIT VOLUME_SERVER_PB__VOLUME_TAIL_SENDER_RESPONSE__INIT
#define DESCRIPTOR &volume_server_pb__volume_tail_sender_response__descriptor

/* What a call has seen so far; its user pointer. */
struct progress {
    atomic_uint inside; /* callbacks that run now */
    unsigned count;
    size_t length;
    uint8_t *body;
};

static void count(struct echo_service *service, unsigned *counter, int change)
{
    pthread_mutex_lock(&service->lock);
    *counter = (unsigned)((int)*counter + change);
    pthread_cond_broadcast(&service->changed);
    pthread_mutex_unlock(&service->lock);
}

static struct progress *enter(struct rpc_call *call, struct echo_service *service)
{
    struct progress *progress = rpc_call_user(call);
    if (!progress) {
        progress = must(calloc(1, sizeof(*progress)));
        rpc_call_set_user(call, progress);
        count(service, &service->open, 1);
    }
    if (atomic_fetch_add(&progress->inside, 1) != 0)
        count(service, &service->overlapped, 1);
    return progress;
}

static void leave(struct progress *progress) { atomic_fetch_sub(&progress->inside, 1); }

static bool is_command(const MESSAGE *m, const char *word)
{
    size_t length = strlen(word);
    return m->needle_header.len >= length && memcmp(m->needle_header.data, word, length) == 0;
}

/* "fail <code> <text>" */
static bool fail_if_told(struct rpc_call *call, const MESSAGE *m)
{
    if (!is_command(m, "fail "))
        return false;
    char *text = must(strndup((const char *)m->needle_header.data + 5, m->needle_header.len - 5));
    char *message = NULL;
    long code = strtol(text, &message, 10);
    rpc_call_fail(call, (enum rpc_status)code, "%s", *message ? message + 1 : "");
    free(text);
    return true;
}

static void on_unary(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    struct echo_service *service = ctx;
    const MESSAGE *m = (const void *)message;
    struct progress *progress = enter(call, service);
    if (is_command(m, "hold")) {
        count(service, &service->holding, 1);
    } else if (is_command(m, "block")) {
        count(service, &service->holding, 1);
        struct timespec pause = {.tv_nsec = 1000000};
        while (!rpc_call_is_cancelled(call))
            nanosleep(&pause, NULL);
    } else if (is_command(m, "ip")) {
        MESSAGE answer = MESSAGE_INIT;
        const char *ip = rpc_call_peer_ip(call);
        answer.needle_body.len = strlen(ip);
        answer.needle_body.data = (uint8_t *)(uintptr_t)ip;
        rpc_call_reply(call, &answer.base);
    } else if (!fail_if_told(call, m)) {
        rpc_call_reply(call, message);
    }
    leave(progress);
}

static void on_server_stream(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const MESSAGE *m = (const void *)message;
    struct progress *progress = enter(call, ctx);
    bool is_endless = is_command(m, "endless");
    int rc = 0;
    for (uint32_t i = 0; (is_endless || i < m->version) && rc == 0; i++) {
        MESSAGE answer = *m;
        answer.version = i;
        rc = rpc_call_send_wait(call, &answer.base);
    }
    if (!fail_if_told(call, m))
        rpc_call_finish(call);
    leave(progress);
}

static void on_client_stream(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const MESSAGE *m = (const void *)message;
    struct progress *progress = enter(call, ctx);
    if (!fail_if_told(call, m)) {
        progress->count++;
        progress->body = must(realloc(progress->body, progress->length + m->needle_body.len + 1));
        if (m->needle_body.len)
            memcpy(progress->body + progress->length, m->needle_body.data, m->needle_body.len);
        progress->length += m->needle_body.len;
    }
    leave(progress);
}

static void on_client_stream_end(struct rpc_call *call, void *ctx)
{
    struct progress *progress = enter(call, ctx);
    MESSAGE answer = MESSAGE_INIT;
    answer.version = progress->count;
    answer.needle_body.len = progress->length;
    answer.needle_body.data = progress->body;
    rpc_call_reply(call, &answer.base);
    leave(progress);
}

static void on_two_way(struct rpc_call *call, const ProtobufCMessage *message, void *ctx)
{
    const MESSAGE *m = (const void *)message;
    struct progress *progress = enter(call, ctx);
    if (is_command(m, "close"))
        rpc_call_finish(call);
    else if (!fail_if_told(call, m))
        rpc_call_send(call, message);
    leave(progress);
}

static void on_two_way_end(struct rpc_call *call, void *ctx)
{
    struct progress *progress = enter(call, ctx);
    rpc_call_finish(call);
    leave(progress);
}

static void on_closed(struct rpc_call *call, void *ctx)
{
    struct echo_service *service = ctx;
    struct progress *progress = rpc_call_user(call);
    if (progress) {
        if (atomic_load(&progress->inside) != 0)
            count(service, &service->overlapped, 1);
        count(service, &service->open, -1);
        free(progress->body);
        free(progress);
    }
    if (rpc_call_is_cancelled(call))
        count(service, &service->cancelled, 1);
    count(service, &service->closed, 1);
}

#define BOTH .request = DESCRIPTOR, .response = DESCRIPTOR, .on_closed = on_closed
static const struct rpc_method methods[] = {
    {"/echo.Echo/Unary", RPC_UNARY, RPC_ON_QUEUE, BOTH, .on_message = on_unary},
    {"/echo.Echo/WorkerUnary", RPC_UNARY, RPC_ON_WORKER, BOTH, .on_message = on_unary},
    {"/echo.Echo/ServerStream", RPC_SERVER_STREAM, RPC_ON_WORKER, BOTH,
     .on_message = on_server_stream},
    {"/echo.Echo/ClientStream", RPC_CLIENT_STREAM, RPC_ON_WORKER, BOTH,
     .on_message = on_client_stream, .on_half_closed = on_client_stream_end},
    {"/echo.Echo/TwoWay", RPC_TWO_WAY_STREAM, RPC_ON_QUEUE, BOTH, .on_message = on_two_way,
     .on_half_closed = on_two_way_end},
};

void echo_service_init(struct echo_service *service)
{
    memset(service, 0, sizeof(*service));
    service->rpc.methods = methods;
    service->rpc.method_count = sizeof(methods) / sizeof(methods[0]);
    service->rpc.ctx = service;
    pthread_mutex_init(&service->lock, NULL);
    pthread_cond_init(&service->changed, NULL);
}

void echo_service_fini(struct echo_service *service)
{
    pthread_mutex_destroy(&service->lock);
    pthread_cond_destroy(&service->changed);
}

bool echo_service_wait(struct echo_service *service, const unsigned *counter, unsigned at_least)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 10;
    bool is_reached = true;
    pthread_mutex_lock(&service->lock);
    while (*counter < at_least && is_reached)
        is_reached = pthread_cond_timedwait(&service->changed, &service->lock, &deadline) == 0;
    is_reached = *counter >= at_least;
    pthread_mutex_unlock(&service->lock);
    return is_reached;
}
