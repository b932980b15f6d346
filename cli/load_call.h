/* One request of the load client, and what has come back. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"
#include "common/file_token.h"

#define LOAD_BODY_KEPT 1024

/* Embed it in what the call is about; it must stay until `done`. */
struct load_call {
    const char *server; /* "host:port" */
    struct slice head;  /* request line, header, empty line, and any beginning of the body */
    struct slice body;
    bool is_plain; /* no TLS with this one, though the client has it */
    /* Exactly once, on a later turn of the loop than the call began. */
    void (*done)(struct load_call *call);

    /* From here on for who reads the answer, in `done`. */
    int code; /* 0: `status` and the rest hold; else a code, and err tells why */
    struct error err;
    int status;
    uint64_t body_bytes;
    char kept[LOAD_BODY_KEPT];              /* how the body begins, terminated */
    char authorization[FILE_TOKEN_MAX + 8]; /* the header's value, "" without one */

    size_t kept_length, authorization_length; /* the client's own */
    bool is_second_try;
    struct load_call *next;
};
