/* The client: channels by address, and the list of running calls.
 *
 * A channel is one HTTP/2 connection that gRPC redials by itself, but with a back-off that grows
 * to minutes; callers here have their own idea of when to try again. So a channel whose call ended
 * with UNAVAILABLE is forgotten, and the next call begins with a fresh one. Calls hold a reference
 * to theirs: those that still run on a forgotten channel are not disturbed.
 *
 * The running calls are listed so that the destroyer can cancel them, blocking ones included. */
#include "common/rpc_channel.h"

#include "common/check.h"
#include "common/rpc_tls_internal.h"

#include <grpc/slice.h>
#include <grpc/support/time.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define QUEUES 2
#define CONNECT_TIMEOUT_MS 5000

struct rpc_channel {
    UT_hash_handle hh;
    char *address;
    grpc_channel *core;
    unsigned tls_generation; /* of the certificates that it was dialled with */
    unsigned refs; /* under the client's lock: one by the table, one by each call */
    bool is_listed;
};

struct rpc_client {
    struct rpc_tls *tls;
    struct rpc_queue queues[QUEUES];
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t idle;  /* the list became empty */
    struct rpc_channel *channels;
    struct rpc_outcall *running;
    unsigned next_queue;
    bool is_closing;
};

/* --- channels; lock held */

static grpc_channel *dial(const char *address, struct rpc_tls *tls)
{
    grpc_arg args[] = {
        rpc_int_arg(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MESSAGE_MAX_BYTES),
        rpc_int_arg(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, RPC_MESSAGE_MAX_BYTES),
        rpc_int_arg(GRPC_ARG_MAX_METADATA_SIZE, RPC_HEADERS_MAX_BYTES),
        rpc_int_arg(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, RPC_WINDOW_BYTES),
        /* Its pings come as often as data does, which servers take for abuse. */
        rpc_int_arg(GRPC_ARG_HTTP2_BDP_PROBE, 0),
        rpc_int_arg(GRPC_ARG_KEEPALIVE_TIME_MS, RPC_KEEPALIVE_MS),
        rpc_int_arg(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, RPC_KEEPALIVE_TIMEOUT_MS),
        rpc_int_arg(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0),
        rpc_int_arg(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        /* The least of these is also how long one attempt to connect may take. */
        rpc_int_arg(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        rpc_int_arg(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 500),
        rpc_int_arg(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS),
        /* A fresh channel is a fresh connection, not another client's that is backing off. */
        rpc_int_arg(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        rpc_int_arg(GRPC_ARG_ENABLE_RETRIES, 0),
        rpc_int_arg(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        rpc_int_arg(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1),
    };
    grpc_channel_args list = {sizeof(args) / sizeof(args[0]), args};
    size_t size = strlen(address) + sizeof("dns:///");
    char *target = must(malloc(size));
    snprintf(target, size, "dns:///%s", address);
    grpc_channel_credentials *credentials = rpc_tls_channel_credentials(tls);
    grpc_channel *core = grpc_channel_create(target, credentials, &list);
    grpc_channel_credentials_release(credentials);
    free(target);
    return must(core);
}

/* Returns the channel when its last reference is gone: the caller destroys it, without the lock. */
static struct rpc_channel *unref_channel(struct rpc_channel *channel)
{
    return --channel->refs == 0 ? channel : NULL;
}

static struct rpc_channel *unlist_channel(struct rpc_client *client, struct rpc_channel *channel)
{
    if (!channel->is_listed)
        return NULL;
    HASH_DEL(client->channels, channel);
    channel->is_listed = false;
    return unref_channel(channel);
}

static void destroy_channel(struct rpc_channel *channel)
{
    if (!channel)
        return;
    grpc_channel_destroy(channel->core);
    free(channel->address);
    free(channel);
}

/* With a reference for the caller. *ret_evicted is to be destroyed without the lock. */
static struct rpc_channel *find_channel(struct rpc_client *client, const char *address,
                                        struct rpc_channel **ret_evicted)
{
    struct rpc_channel *channel = NULL;
    HASH_FIND_STR(client->channels, address, channel);
    unsigned generation = rpc_tls_generation(client->tls);
    if (channel && channel->tls_generation != generation) {
        *ret_evicted = unlist_channel(client, channel);
        channel = NULL;
    }
    if (!channel) {
        if (!*ret_evicted && HASH_COUNT(client->channels) >= RPC_CHANNELS_MAX)
            *ret_evicted = unlist_channel(client, client->channels); /* the oldest */
        channel = must(calloc(1, sizeof(*channel)));
        channel->address = must(strdup(address));
        channel->tls_generation = generation;
        channel->core = dial(address, client->tls);
        channel->refs = 1;
        channel->is_listed = true;
        HASH_ADD_KEYPTR(hh, client->channels, channel->address, strlen(channel->address), channel);
    }
    channel->refs++;
    return channel;
}

/* --- running calls */

void rpc_outcall_begin(struct rpc_outcall *call, struct rpc_client *client, const char *address,
                       const char *path, unsigned timeout_ms, grpc_completion_queue *queue)
{
    gpr_timespec deadline = gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (timeout_ms)
        deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                gpr_time_from_millis(timeout_ms, GPR_TIMESPAN));
    grpc_slice method = grpc_slice_from_copied_string(path);
    struct rpc_channel *evicted = NULL;
    pthread_mutex_lock(&client->lock);
    if (!queue)
        queue = client->queues[client->next_queue++ % QUEUES].core;
    call->client = client;
    call->channel = find_channel(client, address, &evicted);
    call->core = grpc_channel_create_call(call->channel->core, NULL, GRPC_PROPAGATE_DEFAULTS, queue,
                                          method, NULL, deadline, NULL);
    CHECK(call->core);
    call->previous = NULL;
    call->next = client->running;
    if (call->next)
        call->next->previous = call;
    client->running = call;
    if (client->is_closing)
        grpc_call_cancel_with_status(call->core, GRPC_STATUS_CANCELLED, "the client is closing",
                                     NULL);
    pthread_mutex_unlock(&client->lock);
    grpc_slice_unref(method);
    destroy_channel(evicted);
}

void rpc_outcall_end(struct rpc_outcall *call, enum rpc_status status)
{
    struct rpc_client *client = call->client;
    struct rpc_channel *unlisted = NULL, *unused;
    pthread_mutex_lock(&client->lock);
    grpc_call_unref(call->core);
    call->core = NULL;
    if (status == RPC_UNAVAILABLE)
        unlisted = unlist_channel(client, call->channel);
    unused = unref_channel(call->channel);
    pthread_mutex_unlock(&client->lock);
    destroy_channel(unlisted);
    destroy_channel(unused);

    /* Last: the destroyer waits for this. */
    pthread_mutex_lock(&client->lock);
    if (call->next)
        call->next->previous = call->previous;
    if (call->previous)
        call->previous->next = call->next;
    else
        client->running = call->next;
    if (!client->running)
        pthread_cond_broadcast(&client->idle);
    pthread_mutex_unlock(&client->lock);
}

/* --- how a call ended */

void rpc_verdict_init(struct rpc_verdict *verdict)
{
    memset(verdict, 0, sizeof(*verdict));
    grpc_metadata_array_init(&verdict->headers);
    grpc_metadata_array_init(&verdict->trailers);
    verdict->text = grpc_empty_slice();
}

void rpc_verdict_fini(struct rpc_verdict *verdict)
{
    grpc_metadata_array_destroy(&verdict->headers);
    grpc_metadata_array_destroy(&verdict->trailers);
    grpc_slice_unref(verdict->text);
}

grpc_op rpc_verdict_headers_op(struct rpc_verdict *verdict)
{
    grpc_op op = {.op = GRPC_OP_RECV_INITIAL_METADATA};
    op.data.recv_initial_metadata.recv_initial_metadata = &verdict->headers;
    return op;
}

grpc_op rpc_verdict_status_op(struct rpc_verdict *verdict)
{
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &verdict->trailers;
    op.data.recv_status_on_client.status = &verdict->code;
    op.data.recv_status_on_client.status_details = &verdict->text;
    return op;
}

enum rpc_status rpc_verdict_read(const struct rpc_verdict *verdict, struct error *err)
{
    enum rpc_status status = rpc_status_of(verdict->code);
    if (status != RPC_OK)
        error_set(err, rpc_status_to_error(status), "%.*s", (int)GRPC_SLICE_LENGTH(verdict->text),
                  (const char *)GRPC_SLICE_START_PTR(verdict->text));
    return status;
}

/* --- the client */

int rpc_client_create_tls(struct rpc_client **ret, struct rpc_tls *tls, struct error *err)
{
    rpc_library_ref();
    struct rpc_client *client = must(calloc(1, sizeof(*client)));
    client->tls = tls;
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->idle, NULL);
    int rc = 0;
    for (size_t i = 0; i < QUEUES && rc == 0; i++) {
        rpc_queue_init(&client->queues[i]);
        rc = rpc_queue_start(&client->queues[i], "rpc-client", err);
    }
    if (rc < 0)
        rpc_client_destroy(client);
    else
        *ret = client;
    return rc;
}

int rpc_client_create(struct rpc_client **ret, struct error *err)
{
    return rpc_client_create_tls(ret, NULL, err);
}

void rpc_client_close(struct rpc_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->is_closing = true;
    for (struct rpc_outcall *call = client->running; call; call = call->next)
        if (call->core)
            grpc_call_cancel(call->core, NULL);
    pthread_mutex_unlock(&client->lock);
}

void rpc_client_destroy(struct rpc_client *client)
{
    if (!client)
        return;
    rpc_client_close(client);
    pthread_mutex_lock(&client->lock);
    while (client->running)
        pthread_cond_wait(&client->idle, &client->lock);
    pthread_mutex_unlock(&client->lock);

    struct rpc_channel *channel, *following;
    HASH_ITER(hh, client->channels, channel, following)
        destroy_channel(unlist_channel(client, channel));
    for (size_t i = 0; i < QUEUES; i++)
        rpc_queue_fini(&client->queues[i]);
    pthread_mutex_destroy(&client->lock);
    pthread_cond_destroy(&client->idle);
    free(client);
    rpc_library_unref();
}
