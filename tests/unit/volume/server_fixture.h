/* A whole volume server in this process, under a fake master, with its folder under /tmp. */
#pragma once

#include "common/rpc_client.h"
#include "proto/volume_server.pb-c.h"
#include "tests/unit/volume/fake_master.h"
#include "volume/volume_server.h"

struct server_fixture {
    struct fake_master master;
    char directory[64];
    char masters[160];
    struct store_location_config location;
    struct volume_server_config config;
    struct volume_server *server;
    struct rpc_client *client;
    char address[32]; /* of the volume server, gRPC */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_serving;
    struct error failure; /* what on_failed said */
};

/* Everything but the server; the config may be changed. */
void server_fixture_init(struct server_fixture *f);
/* Starts it and waits until it serves. */
void server_fixture_start(struct server_fixture *f);
void server_fixture_wait_serving(struct server_fixture *f);
/* Waits for on_failed; its message is in f->failure. */
void server_fixture_wait_failed(struct server_fixture *f);
void server_fixture_stop(struct server_fixture *f);
void server_fixture_fini(struct server_fixture *f);

/* Set-up and teardown of a test with a server that serves, in *state. */
int server_fixture_set_up(void **state);
int server_fixture_tear_down(void **state);
/* Volume `id`, with this collection. */
void server_fixture_allocate(struct server_fixture *f, uint32_t id, const char *collection);

/* Short for messages of the wire: an empty request, and what answers it. */
#define INIT(NAME)   VOLUME_SERVER_PB__##NAME##_REQUEST__INIT
#define ANSWER(name) &volume_server_pb__##name##_response__descriptor

/* One unary call of the volume server; the response is the caller's. */
int server_fixture_call(struct server_fixture *f, const char *method,
                        const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                        ProtobufCMessage **ret, enum rpc_status *ret_status, struct error *err);
/* The answer, the caller's to free; a failure fails the test. */
const void *server_fixture_ask(struct server_fixture *f, const char *method,
                               const ProtobufCMessage *request,
                               const ProtobufCMessageDescriptor *response);
void server_fixture_free_answer(const void *message);
/* A call whose answer has nothing in it; fails the test unless it ends in this status and text
 * (NULL for RPC_OK). */
void server_fixture_expect(struct server_fixture *f, const char *method,
                           const ProtobufCMessage *request,
                           const ProtobufCMessageDescriptor *response, enum rpc_status status,
                           const char *text);
