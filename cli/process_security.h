/* security.toml of this process, and the certificates that it names: opened at start, read anew on
 * SIGHUP. Main thread. */
#pragma once

#include "common/rpc_tls.h"
#include "common/security.h"
#include "common/settings.h"
#include "common/tls.h"

struct process_security {
    struct settings *settings;
    struct security *security;
    struct tls_server *tls[2];
    size_t tls_count;
    struct rpc_tls *rpc_tls[2];
    size_t rpc_tls_count;
};

/* `white_list` is the flag's. On failure there is nothing to close. */
int process_security_open(struct process_security *ret, const char *white_list, struct error *err);
/* The certificates of the section https.<component>; *ret is NULL where there are none. It lives until
 * process_security_close. */
int process_security_open_https(struct process_security *process, const char *component,
                                struct tls_server **ret, struct error *err);
/* The same for gRPC, both ways: grpc.<component>. */
int process_security_open_grpc(struct process_security *process, const char *component,
                               struct rpc_tls **ret, struct error *err);
/* What is wrong with the file is logged, and all stays as it was. */
void process_security_reload(struct process_security *process);
void process_security_close(struct process_security *process);
