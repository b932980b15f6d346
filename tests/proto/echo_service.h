/* A small service over all four kinds of calls, for the tests of the RPC layer. Requests and
 * answers are both VolumeTailSenderResponse: `needle_header` is a command, `needle_body` the
 * payload.
 *
 *     /echo.Echo/Unary         echoes. "fail <code> <text>" fails, "ip" answers the peer's address,
 *                              "hold" answers never
 *     /echo.Echo/WorkerUnary   the same on a worker; "block" waits there until it is cancelled
 *     /echo.Echo/ServerStream  `version` copies, on a worker; "fail ..." after, "endless" for ever
 *     /echo.Echo/ClientStream  answers `version` = how many, `needle_body` = the payloads in a row
 *     /echo.Echo/TwoWay        echoes each message, ends when the client has; "fail ..." fails,
 *                              "close" ends it */
#pragma once

#include "common/rpc_server.h"

#include <pthread.h>

struct echo_service {
    struct rpc_service rpc;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    unsigned open;       /* streams that have seen a message and no end */
    unsigned closed;     /* calls of which on_closed was told */
    unsigned cancelled;  /* those of them that were cancelled */
    unsigned holding;    /* "hold" and "block" calls so far */
    unsigned overlapped; /* callbacks of one call that ran at the same time: must stay 0 */
};

void echo_service_init(struct echo_service *service);
void echo_service_fini(struct echo_service *service);
/* Waits until *counter, a member of the service, is at least that; false after 10 s. */
bool echo_service_wait(struct echo_service *service, const unsigned *counter, unsigned at_least);
