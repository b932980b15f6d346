/* Each master gets five seconds, as with the peer. */
#include "volume/master_calls.h"

#define MASTER_TIMEOUT_MS 5000u

int master_fetch_configuration(struct rpc_client *client, const struct address *master,
                               MasterPb__GetMasterConfigurationResponse **ret,
                               enum rpc_status *ret_status, struct error *err)
{
    char address[ADDRESS_TEXT_SIZE];
    address_format_grpc(master, address);
    MasterPb__GetMasterConfigurationRequest request =
        MASTER_PB__GET_MASTER_CONFIGURATION_REQUEST__INIT;
    ProtobufCMessage *response = NULL;
    int code = rpc_client_call(client, address, "/master_pb.Seaweed/GetMasterConfiguration",
                               &request.base,
                               &master_pb__get_master_configuration_response__descriptor,
                               MASTER_TIMEOUT_MS, &response, ret_status, err);
    if (code)
        return code;
    *ret = (MasterPb__GetMasterConfigurationResponse *)response;
    return 0;
}

int master_find_leader(struct rpc_client *client, const struct address *seeds, size_t seed_count,
                       struct address *ret, enum rpc_status *ret_status, struct error *err)
{
    int code = error_set(err, KELP_E_UNAVAILABLE, "no master is known");
    *ret_status = RPC_UNAVAILABLE;
    for (size_t i = 0; i < seed_count; i++) {
        MasterPb__GetMasterConfigurationResponse *response;
        int failed = master_fetch_configuration(client, &seeds[i], &response, ret_status, err);
        if (failed) {
            code = failed;
            continue;
        }
        bool has_leader = response->leader[0] != '\0' &&
                          address_parse(slice_cstr(response->leader), ret, NULL) == 0;
        master_pb__get_master_configuration_response__free_unpacked(response, NULL);
        if (has_leader)
            return 0;
        *ret_status = RPC_UNAVAILABLE;
        code = error_set(err, KELP_E_UNAVAILABLE, "no leader is elected yet");
    }
    return code;
}
