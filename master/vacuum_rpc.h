/* The vacuum rpcs to volume servers, as the job's table of calls. */
#pragma once

#include "common/rpc_client.h"
#include "common/rpc_server.h"
#include "master/vacuum_task.h"

/* `rpc` is borrowed, and is the ops' ctx. */
void vacuum_rpc_ops(struct rpc_client *rpc, struct vacuum_ops *ret);
