/* What a volume server asks of masters, beside the heartbeat and lookups. Block; worker threads. */
#pragma once

#include "common/address.h"
#include "common/rpc_client.h"
#include "proto/master.pb-c.h"

/* GetMasterConfiguration of one master; any master answers, leader or not. The response is the
 * caller's, freed with master_pb__get_master_configuration_response__free_unpacked. */
int master_fetch_configuration(struct rpc_client *client, const struct address *master,
                               MasterPb__GetMasterConfigurationResponse **ret,
                               enum rpc_status *ret_status, struct error *err);
/* Asks the seeds in order which master leads. */
int master_find_leader(struct rpc_client *client, const struct address *seeds, size_t seed_count,
                       struct address *ret, enum rpc_status *ret_status, struct error *err);
