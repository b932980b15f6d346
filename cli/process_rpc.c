/* The file, its certificates, and a client that brings them. */
#include "cli/process_rpc.h"

int process_rpc_open(struct process_rpc *ret, struct error *err)
{
    struct process_rpc rpc = {.client = NULL};
    struct rpc_tls *tls;
    int code = process_security_open(&rpc.security, "", err);
    if (code != 0)
        return code;
    code = process_security_open_grpc(&rpc.security, "client", &tls, err);
    if (code == 0)
        code = rpc_client_create_tls(&rpc.client, tls, err);
    if (code != 0)
        process_security_close(&rpc.security);
    else
        *ret = rpc;
    return code;
}

void process_rpc_close(struct process_rpc *rpc)
{
    rpc_client_destroy(rpc->client);
    process_security_close(&rpc->security);
    *rpc = (struct process_rpc){.client = NULL};
}
