/* gRPC's status codes, their names, and the codes of kelp that stand for them. Pure; any thread. */
#include "common/rpc_status.h"

#include "common/error.h"

#include <stddef.h>

static const struct {
    const char *name;
    int error;
} statuses[] = {
    [RPC_OK] = {"OK", KELP_OK},
    [RPC_CANCELLED] = {"Canceled", KELP_E_CANCELLED},
    [RPC_UNKNOWN] = {"Unknown", KELP_E_UNKNOWN},
    [RPC_INVALID_ARGUMENT] = {"InvalidArgument", KELP_E_INVALID},
    [RPC_DEADLINE_EXCEEDED] = {"DeadlineExceeded", KELP_E_TIMEOUT},
    [RPC_NOT_FOUND] = {"NotFound", KELP_E_NOT_FOUND},
    [RPC_ALREADY_EXISTS] = {"AlreadyExists", KELP_E_EXISTS},
    [RPC_PERMISSION_DENIED] = {"PermissionDenied", KELP_E_DENIED},
    [RPC_RESOURCE_EXHAUSTED] = {"ResourceExhausted", KELP_E_LIMIT},
    [RPC_FAILED_PRECONDITION] = {"FailedPrecondition", KELP_E_PRECONDITION},
    [RPC_ABORTED] = {"Aborted", KELP_E_AGAIN},
    [RPC_OUT_OF_RANGE] = {"OutOfRange", KELP_E_TOO_LARGE},
    [RPC_UNIMPLEMENTED] = {"Unimplemented", KELP_E_UNIMPLEMENTED},
    [RPC_INTERNAL] = {"Internal", KELP_E_INTERNAL},
    [RPC_UNAVAILABLE] = {"Unavailable", KELP_E_UNAVAILABLE},
    [RPC_DATA_LOSS] = {"DataLoss", KELP_E_CORRUPT},
    [RPC_UNAUTHENTICATED] = {"Unauthenticated", KELP_E_UNAUTHENTICATED},
};

enum rpc_status rpc_status_of(int code)
{
    if (code < 0 || (size_t)code >= sizeof(statuses) / sizeof(statuses[0]))
        return RPC_UNKNOWN;
    return (enum rpc_status)code;
}

const char *rpc_status_name(enum rpc_status status)
{
    return statuses[rpc_status_of((int)status)].name;
}

int rpc_status_to_error(enum rpc_status status)
{
    return statuses[rpc_status_of((int)status)].error;
}
