/* The vacuum rpcs to volume servers, as the job's table of calls. Calls are made from any thread and
 * never wait; answers come on the client's queue threads. */
#pragma once

#include "common/rpc_client.h"
#include "common/rpc_server.h"
#include "master/vacuum_task.h"

/* `rpc` is borrowed, and is the ops' ctx. */
void vacuum_rpc_ops(struct rpc_client *rpc, struct vacuum_ops *ret);
