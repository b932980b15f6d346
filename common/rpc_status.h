/* The gRPC status codes, as client and server name them. Pure; any thread. */
#pragma once

enum rpc_status { /* the gRPC codes */
    RPC_OK = 0,
    RPC_CANCELLED = 1,
    RPC_UNKNOWN = 2,
    RPC_INVALID_ARGUMENT = 3,
    RPC_DEADLINE_EXCEEDED = 4,
    RPC_NOT_FOUND = 5,
    RPC_ALREADY_EXISTS = 6,
    RPC_PERMISSION_DENIED = 7,
    RPC_RESOURCE_EXHAUSTED = 8,
    RPC_FAILED_PRECONDITION = 9,
    RPC_ABORTED = 10,
    RPC_OUT_OF_RANGE = 11,
    RPC_UNIMPLEMENTED = 12,
    RPC_INTERNAL = 13,
    RPC_UNAVAILABLE = 14,
    RPC_DATA_LOSS = 15,
    RPC_UNAUTHENTICATED = 16,
};

/* A code from the wire; what is outside of the list becomes RPC_UNKNOWN. */
enum rpc_status rpc_status_of(int code);
/* The short name of a code, "Unavailable", as texts that embed it spell it. */
const char *rpc_status_name(enum rpc_status status);
/* The KELP_E_ code that stands for a status. */
int rpc_status_to_error(enum rpc_status status);
