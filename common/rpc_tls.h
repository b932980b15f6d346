/* TLS for gRPC, both ways: what a server shows and whom it lets in, and what a client brings. Source:
 * spec/master-flags.md 4, spec/volume-flags.md 4.
 *
 * It is always mutual: a server demands a certificate of the CA from its clients, and a client takes a
 * server whose certificate is of the CA. As with the peer the host name is not compared, since servers
 * are named by addresses that come and go. One object serves any number of servers and clients; the
 * files are looked at again every now and then by a thread, and on rpc_tls_reload. Connections that are
 * open keep what they have. TLS 1.2 at least, 1.3 at most. */
#pragma once

#include "common/error.h"

#include <stdbool.h>

struct rpc_tls;

/* As security.toml has them; "" where there is none. Copied. */
struct rpc_tls_config {
    const char *ca;                      /* PEM */
    const char *cert, *key;              /* PEM, the chain in cert: of the server, and for calls */
    const char *client_cert, *client_key; /* for calls instead */
    /* Clients that are let in, by the common name of their certificate: comma separated names, and
     * what a name may end with. Both "": any client of the CA. */
    const char *allowed_names, *allowed_domain;
    const char *min_version, *max_version, *cipher_suites; /* as of tls_server_config */
    unsigned refresh_s; /* how often files that have changed are looked for; 0: never */
};

/* KELP_E_INVALID names the file or the value, what is wrong with it, and what to do. Before the first
 * gRPC server or client of the process: the library takes cipher suites for all of them at once. */
int rpc_tls_create(struct rpc_tls **ret, const struct rpc_tls_config *config, struct error *err);
/* Any thread. On failure the old certificates stay. */
int rpc_tls_reload(struct rpc_tls *tls, struct error *err);
/* After the servers and clients that use it. NULL is fine. */
void rpc_tls_destroy(struct rpc_tls *tls);

/* Whether servers have a certificate to show; if not they speak plainly. NULL: no. */
bool rpc_tls_has_server(const struct rpc_tls *tls);
