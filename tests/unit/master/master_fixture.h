/* A master on free ports, with two fake volume servers, a gRPC client and an HTTP client. */
#pragma once

#include "common/http_client.h"
#include "master/master.h"
#include "tests/unit/master/fake_volume_server.h"

struct master_fixture {
    char directory[64];
    struct master_config config;
    struct master *master;
    char grpc[64];
    struct rpc_client *client;
    struct http_client *http;
    struct fake_server a, b;
};

/* Set-up and teardown of a test, in *state. */
int set_up(void **state);
int tear_down(void **state);
/* Starts a master with the config, after the first one was stopped or killed. */
void start_master(struct master_fixture *f);

/* One unary call of the master; the response is the caller's. */
int call(struct master_fixture *f, const char *method, const ProtobufCMessage *request,
         const ProtobufCMessageDescriptor *descriptor, void *ret_response,
         enum rpc_status *ret_status, struct error *err);

/* A GET whose answer has this status, and this in its body (NULL: whatever). */
void expect_http(struct master_fixture *f, const char *path, int status, const char *text);
/* Asks again until the answer holds `text`: for what follows an rpc's answer a moment later. */
void await_http(struct master_fixture *f, const char *path, const char *text);
