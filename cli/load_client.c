/* Calls of the load client: which connection takes them, and what becomes of those that fail. */
#include "cli/load_client.h"

#include "cli/load_connection.h"
#include "common/address.h"
#include "common/check.h"

#include <netdb.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <utlist.h>

#define BUFFER_SIZE    (256u << 10)
#define STALL_LIMIT_MS 30000u
#define LOOK_EVERY_MS  1000u

struct load_client {
    struct load_owner owner;
    uv_loop_t loop;
    uv_timer_t late, watch;
    SSL_CTX *tls; /* NULL: plain */
    struct load_server *servers;
    struct load_connection *busy;
    struct load_call *failed; /* their callers hear of it on the next turn */
    size_t call_count;
    bool is_stopped;
};

uv_loop_t *load_client_uv(struct load_client *client)
{
    return &client->loop;
}

static struct load_client *client_of(const struct load_connection *c)
{
    return (struct load_client *)(void *)c->owner; /* its first member */
}

static void finish(struct load_client *client, struct load_call *call)
{
    client->call_count--;
    call->done(call);
}

static void on_late(uv_timer_t *timer)
{
    struct load_client *client = timer->data;
    struct load_call *call, *all = client->failed;
    client->failed = NULL;
    while ((call = all)) {
        all = call->next;
        finish(client, call);
    }
}

static void fail(struct load_client *client, struct load_call *call, const struct error *err)
{
    call->code = err->code;
    call->err = *err;
    LL_APPEND(client->failed, call);
    uv_timer_start(&client->late, on_late, 0, 0);
}

static int resolve(struct load_server *server, struct error *err)
{
    struct address address;
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    char port[8];
    int code = address_parse(slice_cstr(server->text), &address, err);
    if (code != 0)
        return code;
    snprintf(port, sizeof(port), "%u", address.port);
    int result = getaddrinfo(address.host, port, &hints, &found);
    if (result != 0)
        return error_set(err, KELP_E_UNAVAILABLE, "resolve %s: %s", address.host,
                         gai_strerror(result));
    memcpy(&server->address, found->ai_addr, found->ai_addrlen);
    server->address_size = found->ai_addrlen;
    snprintf(server->host, sizeof(server->host), "%s", address.host);
    freeaddrinfo(found);
    return 0;
}

static struct load_server *server_by_name(struct load_client *client, const char *text,
                                          bool is_plain, struct error *err)
{
    struct load_server *server;
    LL_FOREACH(client->servers, server)
    if (server->is_plain == is_plain && strcmp(server->text, text) == 0)
        return server;
    server = must(calloc(1, sizeof(*server)));
    server->is_plain = is_plain;
    snprintf(server->text, sizeof(server->text), "%s", text);
    if (resolve(server, err) != 0) {
        free(server);
        return NULL;
    }
    LL_PREPEND(client->servers, server);
    return server;
}

static void send_call(struct load_client *client, struct load_call *call)
{
    struct error err;
    struct load_connection *c = NULL;
    struct load_server *server = server_by_name(client, call->server, call->is_plain, &err);
    if (server && server->idle && !call->is_second_try) {
        c = server->idle;
        DL_DELETE(server->idle, c);
    } else if (server) {
        c = load_connection_create(&client->owner, server, server->is_plain ? NULL : client->tls,
                                   &err);
    }
    if (!c) {
        fail(client, call, &err);
        return;
    }
    DL_APPEND(client->busy, c);
    load_connection_begin(c, call);
}

void load_client_send(struct load_client *client, struct load_call *call)
{
    call->is_second_try = false;
    call->next = NULL;
    client->call_count++;
    send_call(client, call);
}

static void answered(struct load_connection *c, struct load_call *call)
{
    struct load_client *client = client_of(c);
    DL_DELETE(client->busy, c);
    if (c->state == LOAD_IDLE)
        DL_PREPEND(c->server->idle, c); /* the warmest is the next to be used */
    else
        load_connection_close(c);
    finish(client, call);
}

static void broken(struct load_connection *c, const struct error *err)
{
    struct load_client *client = client_of(c);
    struct load_call *call = c->call;
    bool was_kept = c->has_answered && !c->has_received;
    if (call)
        DL_DELETE(client->busy, c);
    else
        DL_DELETE(c->server->idle, c);
    load_connection_close(c);
    if (!call)
        return;
    /* A server may close a connection that has been idle just when the next request is under way.
     */
    if (was_kept && !call->is_second_try && err->code != KELP_E_TIMEOUT) {
        call->is_second_try = true;
        send_call(client, call);
    } else {
        fail(client, call, err);
    }
}

static void on_watch(uv_timer_t *timer)
{
    struct load_client *client = timer->data;
    struct load_connection *c, *next;
    struct error err;
    DL_FOREACH_SAFE(client->busy, c, next)
    {
        if (uv_now(&client->loop) - c->moved_ms < STALL_LIMIT_MS)
            continue;
        error_set(&err, KELP_E_TIMEOUT, "%s: nothing moved for %u s", c->server->text,
                  STALL_LIMIT_MS / 1000);
        broken(c, &err);
    }
}

static int load_tls(SSL_CTX *tls, const struct http_client_tls *files, struct error *err)
{
    const char *bad = NULL;
    SSL_CTX_set_min_proto_version(tls, TLS1_2_VERSION);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_verify(tls, files->is_unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (*files->ca ? SSL_CTX_load_verify_locations(tls, files->ca, NULL) != 1
                   : SSL_CTX_set_default_verify_paths(tls) != 1)
        bad = files->ca;
    else if (*files->cert && SSL_CTX_use_certificate_chain_file(tls, files->cert) != 1)
        bad = files->cert;
    else if (*files->cert && *files->key &&
             SSL_CTX_use_PrivateKey_file(tls, files->key, SSL_FILETYPE_PEM) != 1)
        bad = files->key;
    if (!bad)
        return 0;
    char text[256];
    ERR_error_string_n(ERR_get_error(), text, sizeof(text));
    ERR_clear_error();
    return error_set(err, KELP_E_INVALID, "%s cannot be used for TLS: %s", bad, text);
}

int load_client_create(struct load_client **ret, const struct http_client_tls *tls,
                       struct error *err)
{
    SSL_CTX *context = NULL;
    if (tls) {
        context = must(SSL_CTX_new(TLS_client_method()));
        int code = load_tls(context, tls, err);
        if (code != 0) {
            SSL_CTX_free(context);
            return code;
        }
    }
    struct load_client *client = must(calloc(1, sizeof(*client)));
    client->tls = context;
    client->owner = (struct load_owner){.loop = &client->loop,
                                        .buffer = must(malloc(BUFFER_SIZE)),
                                        .buffer_size = BUFFER_SIZE,
                                        .answered = answered,
                                        .broken = broken};
    CHECK(uv_loop_init(&client->loop) == 0);
    uv_timer_init(&client->loop, &client->late);
    uv_timer_init(&client->loop, &client->watch);
    client->late.data = client->watch.data = client;
    uv_timer_start(&client->watch, on_watch, LOOK_EVERY_MS, LOOK_EVERY_MS);
    uv_unref((uv_handle_t *)&client->watch);
    *ret = client;
    return 0;
}

void load_client_stop(struct load_client *client)
{
    client->is_stopped = true;
}

void load_client_run(struct load_client *client)
{
    while (!client->is_stopped)
        uv_run(&client->loop, UV_RUN_ONCE);
    client->is_stopped = false;
}

void load_client_destroy(struct load_client *client)
{
    struct load_server *server, *next;
    struct load_connection *c, *following;
    if (!client)
        return;
    CHECK(client->call_count == 0);
    LL_FOREACH_SAFE(client->servers, server, next)
    {
        DL_FOREACH_SAFE(server->idle, c, following)
        load_connection_close(c);
        free(server);
    }
    uv_close((uv_handle_t *)&client->late, NULL);
    uv_close((uv_handle_t *)&client->watch, NULL);
    uv_run(&client->loop, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&client->loop) == 0);
    SSL_CTX_free(client->tls);
    free(client->owner.buffer);
    free(client);
}
