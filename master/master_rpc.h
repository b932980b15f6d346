/* The gRPC service master_pb.Seaweed: one table of methods; what is not in it answers
 * UNIMPLEMENTED. Source: spec/master-rpc.md. Each method names where its handler runs. */
#pragma once

#include "master/services.h"

/* `services` is borrowed and given to every handler. */
void master_rpc_service(struct services *services, struct rpc_service *ret);
