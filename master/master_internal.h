/* The master's parts, shared by what makes them (master.c) and what listens (master_ports.c). Made and
 * unmade by the thread that starts and stops it; what is in between belongs to the parts' own threads.
 * Internal to master/master*.c. */
#pragma once

#include "common/address.h"
#include "common/http_server.h"
#include "common/loop.h"
#include "master/master.h"
#include "master/periodic.h"
#include "master/services.h"
#include "master/vacuum_rpc.h"

#include <stdatomic.h>

#define MASTER_HTTP_LOOPS_MAX 4u

struct master {
    struct master_config config; /* strings owned, see texts */
    char *texts[16];
    size_t text_count;
    bool has_free_port, has_free_grpc_port; /* asked for any */
    char address[ADDRESS_TEXT_SIZE], http_address[ADDRESS_TEXT_SIZE];
    struct os *os;
    struct master_state *state;
    struct master_metrics *metrics;
    struct cluster *cluster;
    struct client_registry *clients;
    struct client_registry_ops client_ops;
    struct loop *control;
    struct loop_task wake_task;
    atomic_bool is_wake_posted;
    struct rpc_client *rpc;
    struct vacuum_ops vacuum_ops;
    struct services services;
    struct security *own_security; /* when the config has none */
    struct periodic *periodic;
    struct rpc_service rpc_service;
    struct rpc_server *rpc_server;
    struct loop *loops[MASTER_HTTP_LOOPS_MAX];
    unsigned loop_count;
    struct http_handler http_handler, metrics_handler;
    struct http_server *http, *http_localhost, *http_metrics;
    struct metrics_push *metrics_push; /* NULL without a gateway */
};

/* master_ports.c */

/* Finds the ports that were asked for as "any", and the addresses that follow. Blocks. */
int master_settle_address(struct master *m, struct error *err);
/* Begins to serve. A port that was free when it was looked for may be taken when it is listened on: then
 * another one is looked for. After a failure some may be open: master_close_ports. */
int master_open_ports(struct master *m, struct error *err);
/* Takes half-open ones too. Waits up to grace_ms for what is in flight. */
void master_close_ports(struct master *m, unsigned grace_ms);
