/* Certificates between security.toml and gRPC.
 *
 * Texts that were read and found good lie here under a lock, counted by generation. A server asks for
 * them at each handshake and is given new ones when there are any; a client makes its credentials when
 * it dials. Bad files therefore never reach gRPC, which would refuse everybody.
 *
 * Common names are checked at each call rather than in the handshake: the client is then told why, and
 * gRPC's C interface has no such hook for certificates that can be replaced. */
#include "common/rpc_tls_internal.h"

#include "common/bytes.h"
#include "common/certificate.h"
#include "common/check.h"
#include "common/file_watch.h"
#include "common/log.h"
#include "common/rpc_internal.h"
#include "common/tls.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* TLS 1.2 needs one of its ciphers; one that needs a shared key, which nobody has, leaves TLS 1.3. */
#define NO_CIPHERS "PSK-AES256-GCM-SHA384"
#define CIPHERS_VARIABLE "GRPC_SSL_CIPHER_SUITES"
/* Far longer than a thread takes from asking for certificates to using them. */
#define SETTLE_NS 10000000L

struct texts {
    char *ca;
    struct certificate_pair own, client; /* the latter only when it is another */
};

struct rpc_tls {
    char *ca, *cert, *key, *client_cert, *client_key, *allowed_names, *allowed_domain;
    struct file_watch *watch;
    pthread_mutex_t lock; /* guards texts */
    struct texts texts;
    atomic_uint generation;
};

static void fini_texts(struct texts *texts)
{
    free(texts->ca);
    certificate_pair_fini(&texts->own);
    certificate_pair_fini(&texts->client);
}

/* ---- reading ---- */

static int read_texts(const struct rpc_tls *tls, struct texts *ret, struct error *err)
{
    struct texts texts = {0};
    int code = certificate_read_authorities(&texts.ca, tls->ca, err);
    if (code == 0 && *tls->cert)
        code = certificate_pair_read(&texts.own, tls->cert, tls->key, err);
    if (code == 0 && *tls->client_cert)
        code = certificate_pair_read(&texts.client, tls->client_cert, tls->client_key, err);
    if (code != 0)
        fini_texts(&texts);
    else
        *ret = texts;
    return code;
}

int rpc_tls_reload(struct rpc_tls *tls, struct error *err)
{
    struct texts texts;
    file_watch_note(tls->watch); /* before: a change in between is then seen next time */
    int code = read_texts(tls, &texts, err);
    if (code != 0)
        return code;
    pthread_mutex_lock(&tls->lock);
    struct texts old = tls->texts;
    tls->texts = texts;
    atomic_fetch_add(&tls->generation, 1);
    pthread_mutex_unlock(&tls->lock);
    fini_texts(&old);
    return 0;
}

static void on_change(void *ctx)
{
    struct rpc_tls *tls = ctx;
    struct error err = {0};
    if (rpc_tls_reload(tls, &err) == 0)
        log_info("certificate for gRPC reloaded", "file=%s", *tls->cert ? tls->cert : tls->client_cert);
    else
        log_error("certificate for gRPC not reloaded",
                  "error=\"%s\" next=\"the one read before stays in use\"", err.message);
}

/* ---- rules ---- */

/* The library has no call for it, only a variable that it reads when it first makes credentials. */
static int choose_ciphers(const struct rpc_tls_config *config, struct error *err)
{
    int least, most;
    char *ciphers = NULL;
    int code = tls_parse_version("tls.min_version", config->min_version, &least, err);
    if (code == 0)
        code = tls_parse_version("tls.max_version", config->max_version, &most, err);
    if (code == 0 && most != 0 && most != TLS1_3_VERSION)
        code = error_set(err, KELP_E_INVALID,
                         "tls.max_version = \"%s\": gRPC here speaks up to TLS 1.3; write that, or "
                         "nothing",
                         config->max_version);
    if (code == 0)
        code = tls_parse_ciphers(config->cipher_suites, &ciphers, err);
    if (code != 0)
        return code;
    if (least == TLS1_3_VERSION)
        setenv(CIPHERS_VARIABLE, NO_CIPHERS, 1);
    else if (*ciphers)
        setenv(CIPHERS_VARIABLE, ciphers, 1);
    free(ciphers);
    return 0;
}

static int check_config(const struct rpc_tls_config *config, struct error *err)
{
    if (!*config->cert != !*config->key)
        return error_set(err, KELP_E_INVALID, "cert and key belong together: name both, or neither");
    if (!*config->client_cert != !*config->client_key)
        return error_set(err, KELP_E_INVALID,
                         "client_cert and client_key belong together: name both, or neither");
    if (!*config->ca)
        return error_set(err, KELP_E_INVALID,
                         "a certificate without grpc.ca would let everybody in: name the CA's file");
    return 0;
}

/* ---- life ---- */

int rpc_tls_create(struct rpc_tls **ret, const struct rpc_tls_config *config, struct error *err)
{
    int code = check_config(config, err);
    if (code == 0)
        code = choose_ciphers(config, err);
    if (code != 0)
        return code;
    rpc_library_ref();
    struct rpc_tls *tls = must(calloc(1, sizeof(*tls)));
    pthread_mutex_init(&tls->lock, NULL);
    tls->ca = must(strdup(config->ca));
    tls->cert = must(strdup(config->cert));
    tls->key = must(strdup(config->key));
    tls->client_cert = must(strdup(config->client_cert));
    tls->client_key = must(strdup(config->client_key));
    tls->allowed_names = must(strdup(config->allowed_names));
    tls->allowed_domain = must(strdup(config->allowed_domain));
    const char *const files[] = {tls->ca, tls->cert, tls->key, tls->client_cert, tls->client_key};
    code = file_watch_create(&tls->watch, files, sizeof(files) / sizeof(files[0]),
                             config->refresh_s, on_change, tls, err);
    if (code == 0)
        code = rpc_tls_reload(tls, err);
    if (code != 0)
        rpc_tls_destroy(tls);
    else
        *ret = tls;
    return code;
}

void rpc_tls_destroy(struct rpc_tls *tls)
{
    if (!tls)
        return;
    file_watch_destroy(tls->watch);
    fini_texts(&tls->texts);
    pthread_mutex_destroy(&tls->lock);
    free(tls->ca);
    free(tls->cert);
    free(tls->key);
    free(tls->client_cert);
    free(tls->client_key);
    free(tls->allowed_names);
    free(tls->allowed_domain);
    free(tls);
    rpc_library_unref();
}

bool rpc_tls_has_server(const struct rpc_tls *tls) { return tls && *tls->cert; }

unsigned rpc_tls_generation(struct rpc_tls *tls) { return tls ? atomic_load(&tls->generation) : 0; }

/* ---- servers ---- */

/* gRPC drops the certificates that a port had as soon as it is given others, though another thread may
 * be about to begin a handshake with them. All that have asked before this one are let pass; no
 * further one can come, since gRPC holds its lock for the time being. Once a renewal. */
static void let_handshakes_begin(void)
{
    struct timespec time = {.tv_nsec = SETTLE_NS};
    while (nanosleep(&time, &time) != 0)
        ;
}

static grpc_ssl_certificate_config_reload_status
fetch_certificates(void *ctx, grpc_ssl_server_certificate_config **ret)
{
    struct rpc_tls_port *port = ctx;
    struct rpc_tls *tls = port->tls;
    if (atomic_load(&tls->generation) == port->generation)
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    bool is_first = port->generation == 0;
    pthread_mutex_lock(&tls->lock);
    port->generation = atomic_load(&tls->generation);
    grpc_ssl_pem_key_cert_pair pair = {.private_key = tls->texts.own.key,
                                       .cert_chain = tls->texts.own.cert};
    *ret = grpc_ssl_server_certificate_config_create(tls->texts.ca, &pair, 1);
    pthread_mutex_unlock(&tls->lock);
    if (!is_first)
        let_handshakes_begin();
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

grpc_server_credentials *rpc_tls_server_credentials(struct rpc_tls *tls, struct rpc_tls_port *port)
{
    if (!rpc_tls_has_server(tls))
        return must(grpc_insecure_server_credentials_create());
    *port = (struct rpc_tls_port){.tls = tls};
    grpc_ssl_server_credentials_options *options =
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, fetch_certificates, port);
    return must(grpc_ssl_server_credentials_create_with_options(options));
}

/* A name may hold any byte, a zero too, so it is never taken for a C string. */
static bool is_allowed(const struct rpc_tls *tls, struct slice name)
{
    struct slice domain = slice_cstr(tls->allowed_domain), rest = slice_cstr(tls->allowed_names), one;
    if (name.len == 0)
        return false;
    if (domain.len > 0 && name.len >= domain.len &&
        slice_equals(slice_from(name, name.len - domain.len), domain))
        return true;
    while (slice_take_item(&rest, &one))
        if (slice_equals(name, one))
            return true;
    return false;
}

bool rpc_tls_admits(const struct rpc_tls *tls, grpc_call *call, struct error *err)
{
    if (!rpc_tls_has_server(tls) || (!*tls->allowed_names && !*tls->allowed_domain))
        return true;
    grpc_auth_context *context = grpc_call_auth_context(call);
    grpc_auth_property_iterator names =
        grpc_auth_context_find_properties_by_name(context, GRPC_X509_CN_PROPERTY_NAME);
    const grpc_auth_property *found = grpc_auth_property_iterator_next(&names);
    struct slice name = found ? slice_of(found->value, found->value_length) : (struct slice){0};
    bool is_admitted = is_allowed(tls, name);
    if (!is_admitted)
        error_set(err, KELP_E_DENIED,
                  "the client's certificate is for \"%.*s\", which this server does not let in: add it "
                  "to allowed_commonNames there, or bring another certificate",
                  (int)(name.len < 200 ? name.len : 200), name.len > 0 ? name.ptr : "");
    grpc_auth_context_release(context);
    return is_admitted;
}

/* ---- clients ---- */

/* Not grpc_ssl_credentials_create_ex: that one would compare the host name. */
static grpc_channel_credentials *make_channel_credentials(const char *ca,
                                                          const struct certificate_pair *pair)
{
    grpc_tls_identity_pairs *pairs = grpc_tls_identity_pairs_create();
    grpc_tls_identity_pairs_add_pair(pairs, pair->key, pair->cert);
    grpc_tls_certificate_provider *provider =
        grpc_tls_certificate_provider_static_data_create(ca, pairs);
    grpc_tls_certificate_verifier *chain_only = grpc_tls_certificate_verifier_no_op_create();
    grpc_tls_credentials_options *options = grpc_tls_credentials_options_create();
    grpc_tls_credentials_options_set_certificate_provider(options, provider);
    grpc_tls_credentials_options_watch_root_certs(options);
    grpc_tls_credentials_options_watch_identity_key_cert_pairs(options);
    grpc_tls_credentials_options_set_verify_server_cert(options, 1);
    grpc_tls_credentials_options_set_certificate_verifier(options, chain_only);
    grpc_tls_credentials_options_set_check_call_host(options, 0);
    grpc_tls_certificate_provider_release(provider);
    grpc_tls_certificate_verifier_release(chain_only);
    return must(grpc_tls_credentials_create(options));
}

grpc_channel_credentials *rpc_tls_channel_credentials(struct rpc_tls *tls)
{
    if (!tls || (!*tls->client_cert && !*tls->cert))
        return must(grpc_insecure_credentials_create());
    pthread_mutex_lock(&tls->lock);
    const struct texts *texts = &tls->texts;
    grpc_channel_credentials *made =
        make_channel_credentials(texts->ca, texts->client.cert ? &texts->client : &texts->own);
    pthread_mutex_unlock(&tls->lock);
    return made;
}
