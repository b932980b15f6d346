/* Certificates, rules and sessions. The BIO of a session reads from the bytes that were handed in last and
 * writes to the buffer of the call that is running, so an idle connection holds no buffers. */
#include "common/tls.h"

#include "common/check.h"
#include "common/file_watch.h"
#include "common/log.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>

struct tls_server {
    char *cert, *key, *ca, *ciphers; /* ciphers: OpenSSL's names */
    int min_version, max_version;    /* 0: no bound */
    struct file_watch *watch;
    pthread_mutex_t lock; /* guards context */
    SSL_CTX *context;
};

struct tls_session {
    SSL *ssl;
    struct slice in;
    struct buffer *out; /* during a call */
    bool is_fed, is_broken;
};

/* ---- the BIO ---- */

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

static int bio_read(BIO *bio, char *data, int size)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (session->in.len == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t taken = session->in.len < (size_t)size ? session->in.len : (size_t)size;
    memcpy(data, session->in.ptr, taken);
    session->in = slice_from(session->in, taken);
    return (int)taken;
}

static int bio_write(BIO *bio, const char *data, int size)
{
    struct tls_session *session = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    buffer_append(session->out, data, (size_t)size);
    return size;
}

static long bio_control(BIO *bio, int command, long number, void *pointer)
{
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static void make_method(void)
{
    method = must(BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "kelp"));
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    BIO_meth_set_create(method, bio_create);
}

/* ---- rules ---- */

int tls_parse_version(const char *key, const char *text, int *ret, struct error *err)
{
    static const struct {
        const char *text;
        int version;
    } rows[] = {{"", 0},
                {"TLS 1.0", TLS1_VERSION},
                {"TLS 1.1", TLS1_1_VERSION},
                {"TLS 1.2", TLS1_2_VERSION},
                {"TLS 1.3", TLS1_3_VERSION}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(text, rows[i].text) == 0) {
            *ret = rows[i].version;
            return 0;
        }
    return error_set(err, KELP_E_INVALID, "%s = \"%s\": write TLS 1.0, TLS 1.1, TLS 1.2 or TLS 1.3",
                     key, text);
}

int tls_parse_ciphers(const char *text, char **ret, struct error *err)
{
    struct slice rest = slice_cstr(text), one;
    struct buffer names = BUFFER_INIT;
    while (slice_take_item(&rest, &one)) {
        char iana[96];
        if (one.len >= sizeof(iana))
            one.len = sizeof(iana) - 1;
        memcpy(iana, one.ptr, one.len);
        iana[one.len] = '\0';
        const char *name = OPENSSL_cipher_name(iana);
        if (strcmp(name, "(NONE)") == 0) {
            buffer_fini(&names);
            return error_set(err, KELP_E_INVALID, "tls.cipher_suites: there is no \"%s\"", iana);
        }
        buffer_printf(&names, "%s%s", names.length ? ":" : "", name);
    }
    *ret = must(strdup(names.length ? buffer_cstr(&names) : ""));
    buffer_fini(&names);
    return 0;
}

/* ---- contexts ---- */

static int fail(struct error *err, const char *what, const char *path)
{
    char reason[160];
    unsigned long code = ERR_peek_last_error();
    ERR_error_string_n(code, reason, sizeof(reason));
    ERR_clear_error();
    const char *text = strrchr(reason, ':');
    return error_set(err, KELP_E_INVALID, "%s %s: %s", what, path, text ? text + 1 : reason);
}

static int choose_protocol(SSL *ssl, const unsigned char **ret, unsigned char *ret_size,
                           const unsigned char *in, unsigned in_size, void *ctx)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;
    if (SSL_select_next_proto(&chosen, ret_size, ours, sizeof(ours) - 1, in, in_size) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *ret = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int load_files(const struct tls_server *server, SSL_CTX *context, struct error *err)
{
    if (SSL_CTX_use_certificate_chain_file(context, server->cert) != 1)
        return fail(err, "certificate", server->cert);
    if (SSL_CTX_use_PrivateKey_file(context, server->key, SSL_FILETYPE_PEM) != 1)
        return fail(err, "key", server->key);
    if (SSL_CTX_check_private_key(context) != 1)
        return fail(err, "key that is not the certificate's:", server->key);
    if (!*server->ca)
        return 0;
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(server->ca);
    if (!names || SSL_CTX_load_verify_locations(context, server->ca, NULL) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail(err, "CA", server->ca);
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return 0;
}

static int make_context(const struct tls_server *server, SSL_CTX **ret, struct error *err)
{
    SSL_CTX *context = must(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_id_context(context, (const unsigned char *)"kelp", 4);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    SSL_CTX_set_min_proto_version(context, server->min_version ? server->min_version : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(context, server->max_version);
    if (server->min_version && server->min_version < TLS1_2_VERSION)
        SSL_CTX_set_security_level(context, 0); /* else OpenSSL has nothing left to offer */
    int code = 0;
    if (*server->ciphers && SSL_CTX_set_cipher_list(context, server->ciphers) != 1)
        code = fail(err, "tls.cipher_suites", server->ciphers);
    if (code == 0)
        code = load_files(server, context, err);
    if (code == 0)
        *ret = context;
    else
        SSL_CTX_free(context);
    return code;
}

int tls_server_reload(struct tls_server *server, struct error *err)
{
    SSL_CTX *context;
    file_watch_note(server->watch); /* before: a change in between is then seen next time */
    int code = make_context(server, &context, err);
    if (code != 0)
        return code;
    pthread_mutex_lock(&server->lock);
    SSL_CTX *old = server->context;
    server->context = context;
    pthread_mutex_unlock(&server->lock);
    SSL_CTX_free(old);
    return 0;
}

static void on_change(void *ctx)
{
    struct tls_server *server = ctx;
    struct error err = {0};
    if (tls_server_reload(server, &err) == 0)
        log_info("certificate reloaded", "file=%s", server->cert);
    else
        log_error("certificate not reloaded",
                  "error=\"%s\" next=\"the one read before stays in use\"", err.message);
}

/* ---- life ---- */

int tls_server_create(struct tls_server **ret, const struct tls_server_config *config,
                      struct error *err)
{
    struct tls_server *server = must(calloc(1, sizeof(*server)));
    const char *const files[] = {config->cert, config->key, config->ca};
    pthread_mutex_init(&server->lock, NULL);
    pthread_once(&method_once, make_method);
    server->cert = must(strdup(config->cert));
    server->key = must(strdup(config->key));
    server->ca = must(strdup(config->ca));
    int code = tls_parse_version("tls.min_version", config->min_version, &server->min_version, err);
    if (code == 0)
        code = tls_parse_version("tls.max_version", config->max_version, &server->max_version, err);
    if (code == 0)
        code = tls_parse_ciphers(config->cipher_suites, &server->ciphers, err);
    if (code == 0)
        code = file_watch_create(&server->watch, files, sizeof(files) / sizeof(files[0]),
                                 config->refresh_s, on_change, server, err);
    if (code == 0)
        code = tls_server_reload(server, err);
    if (code != 0)
        tls_server_destroy(server);
    else
        *ret = server;
    return code;
}

void tls_server_destroy(struct tls_server *server)
{
    if (!server)
        return;
    file_watch_destroy(server->watch);
    SSL_CTX_free(server->context);
    pthread_mutex_destroy(&server->lock);
    free(server->cert);
    free(server->key);
    free(server->ca);
    free(server->ciphers);
    free(server);
}

/* ---- sessions ---- */

struct tls_session *tls_session_create(struct tls_server *server)
{
    struct tls_session *session = must(calloc(1, sizeof(*session)));
    pthread_mutex_lock(&server->lock);
    session->ssl = must(SSL_new(server->context));
    pthread_mutex_unlock(&server->lock);
    BIO *bio = must(BIO_new(method));
    BIO_set_data(bio, session);
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_accept_state(session->ssl);
    return session;
}

void tls_session_destroy(struct tls_session *session)
{
    if (!session)
        return;
    SSL_free(session->ssl);
    free(session);
}

bool tls_session_is_fresh(const struct tls_session *session) { return !session->is_fed; }

bool tls_session_is_established(const struct tls_session *session)
{
    return !session->is_broken && SSL_is_init_finished(session->ssl);
}

void tls_session_feed(struct tls_session *session, struct slice sealed)
{
    session->in = sealed;
    session->is_fed = true;
}

ssize_t tls_session_read(struct tls_session *session, char *plain, size_t size, struct buffer *out)
{
    if (session->is_broken)
        return KELP_E_PROTOCOL;
    size_t got;
    session->out = out;
    ERR_clear_error();
    int rc = SSL_read_ex(session->ssl, plain, size, &got);
    session->out = NULL;
    if (rc == 1)
        return (ssize_t)got;
    int reason = SSL_get_error(session->ssl, rc);
    if (reason == SSL_ERROR_WANT_READ)
        return 0;
    if (reason == SSL_ERROR_ZERO_RETURN)
        return KELP_E_CANCELLED;
    ERR_clear_error();
    session->is_broken = true;
    return KELP_E_PROTOCOL;
}

int tls_session_write(struct tls_session *session, struct slice plain, struct buffer *out)
{
    size_t sent;
    if (!tls_session_is_established(session))
        return KELP_E_PROTOCOL;
    session->out = out;
    ERR_clear_error();
    int rc = SSL_write_ex(session->ssl, plain.ptr, plain.len, &sent);
    session->out = NULL;
    if (rc == 1 && sent == plain.len) /* the BIO takes all */
        return 0;
    ERR_clear_error();
    session->is_broken = true;
    return KELP_E_PROTOCOL;
}

void tls_session_end(struct tls_session *session, struct buffer *out)
{
    if (!tls_session_is_established(session) ||
        (SSL_get_shutdown(session->ssl) & SSL_SENT_SHUTDOWN))
        return;
    session->out = out;
    SSL_shutdown(session->ssl);
    session->out = NULL;
    ERR_clear_error();
}
