/* TLS for servers, without sockets: bytes in, bytes out (OpenSSL over a BIO of our own). Source:
 * spec/volume-http.md 19.
 *
 * A tls_server is the certificates and rules of a listener. Its files are looked at again every now and
 * then by a thread of its own, and on tls_server_reload; connections that are open keep what they have. A
 * tls_session is one connection; it belongs to one thread at a time. */
#pragma once

#include "common/buffer.h"
#include "common/error.h"

struct tls_server;
struct tls_session;

/* Paths and names as security.toml has them; "" where there is none. Copied. */
struct tls_server_config {
    const char *cert, *key; /* PEM, the chain in cert */
    const char *ca;         /* clients must bring a certificate of it; "": they need none */
    const char *min_version, *max_version; /* "TLS 1.0" ... "TLS 1.3"; "": 1.2 at least */
    const char *cipher_suites; /* comma separated IANA names, of TLS 1.2 and before */
    unsigned refresh_s;        /* how often files that have changed are looked for; 0: never */
};

/* The two values that gRPC shares: "TLS 1.2" as OpenSSL's number (0: "" was given), `key` is for the
 * message; IANA's cipher names as OpenSSL's list, which is the caller's. Those of TLS 1.3 are always
 * all there, as with the peer. */
int tls_parse_version(const char *key, const char *text, int *ret, struct error *err);
int tls_parse_ciphers(const char *text, char **ret, struct error *err);

/* KELP_E_INVALID names the file or the value and what is wrong with it. */
int tls_server_create(struct tls_server **ret, const struct tls_server_config *config,
                      struct error *err);
/* Any thread. On failure the old certificates stay. */
int tls_server_reload(struct tls_server *server, struct error *err);
void tls_server_destroy(struct tls_server *server); /* NULL is fine; sessions may outlive it */

/* Never NULL. */
struct tls_session *tls_session_create(struct tls_server *server);
void tls_session_destroy(struct tls_session *session); /* NULL is fine */

bool tls_session_is_fresh(const struct tls_session *session);       /* nothing came in yet */
bool tls_session_is_established(const struct tls_session *session); /* the handshake is done */

/* Hands in what came from the socket. It must stay until tls_session_read has given 0 or an error. */
void tls_session_feed(struct tls_session *session, struct slice sealed);
/* What it says, piece by piece: the number of bytes (> 0); 0 when more must come in;
 * KELP_E_CANCELLED when the client has said that nothing follows; KELP_E_PROTOCOL when the connection
 * cannot go on. Appends to `out` what has to be sent (also before an error). */
ssize_t tls_session_read(struct tls_session *session, char *plain, size_t size, struct buffer *out);
/* Seals all of `plain`, which is not empty, onto `out`. Established sessions only; KELP_E_PROTOCOL. */
int tls_session_write(struct tls_session *session, struct slice plain, struct buffer *out);
/* Says that nothing follows, once, if there is anybody to say it to. */
void tls_session_end(struct tls_session *session, struct buffer *out);
