/* The HTTP server behind TLS: everything that plain HTTP can do, and what is TLS's own. */
#include "common/tls.h"
#include "tests/unit/common/http_fixture.h"
#include "tests/unit/common/identity.h"

#include <fcntl.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct fixture f;
static struct tls_server *tls;
static SSL_CTX *context; /* of clients */
static char folder[32], cert[64], key[64], ca[64];

/* ---- set up ---- */

static struct identity authority;

static void start_server(const struct tls_server_config *changes)
{
    struct error err = {0};
    struct tls_server_config config = *changes;
    config.cert = cert;
    config.key = key;
    config.ca = config.ca ? config.ca : "";
    config.min_version = config.min_version ? config.min_version : "";
    config.max_version = config.max_version ? config.max_version : "";
    config.cipher_suites = config.cipher_suites ? config.cipher_suites : "";
    if (tls_server_create(&tls, &config, &err) != 0)
        fail_msg("%s", err.message);
    f.config.tls = tls;
    fixture_start(&f);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/kelp-https-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    authority = identity_make("authority", NULL);
    struct identity server = identity_make("first", &authority);
    identity_save(&authority, ca, NULL);
    identity_save(&server, cert, key);
    identity_free(&server);
    context = SSL_CTX_new(TLS_client_method());
    assert_int_equal(SSL_CTX_load_verify_locations(context, ca, NULL), 1);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    fixture_init(&f, 1);
    tls = NULL;
    return 0;
}

static int set_up_and_start(void **state)
{
    set_up(state);
    start_server(&(struct tls_server_config){.refresh_s = 0});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (tls)
        fixture_stop(&f);
    tls_server_destroy(tls);
    SSL_CTX_free(context);
    identity_free(&authority);
    unlink(cert);
    unlink(key);
    unlink(ca);
    return rmdir(folder);
}

static bool try_handshake(struct client *c)
{
    client_open(c, &f);
    c->ssl = SSL_new(context);
    SSL_set_fd(c->ssl, c->fd);
    return SSL_connect(c->ssl) == 1;
}

static void open_secure(struct client *c)
{
    if (!try_handshake(c))
        fail_msg("no handshake");
}

static void name_of_server(struct client *c, char name[64])
{
    X509 *peer = SSL_get1_peer_certificate(c->ssl);
    X509_NAME_get_text_by_NID(X509_get_subject_name(peer), NID_commonName, name, 64);
    X509_free(peer);
}

/* ---- what HTTP does ---- */

static void requests_are_answered_and_the_end_is_said(void **state)
{
    (void)state;
    struct client c;
    open_secure(&c);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_expect(&c, 200, "hello");
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_expect_end(&c);
    assert_true(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN);
    client_close(&c);
}

static void bodies_of_all_sizes_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 16383, 16384, 16385, 65536, 1000000, 20000000};
    struct client c;
    open_secure(&c);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        char head[96];
        struct answer answer;
        char *body = malloc(sizes[i] + 1);
        for (size_t j = 0; j < sizes[i]; j++)
            body[j] = (char)(j * 7 + j / 251);
        snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", sizes[i]);
        client_say(&c, head);
        if (sizes[i] > 0)
            client_send(&c, body, sizes[i]);
        client_read(&c, &answer, false);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.size, sizes[i]);
        assert_true(sizes[i] == 0 || memcmp(answer.body, body, sizes[i]) == 0);
        free(answer.body);
        free(body);
    }
    client_close(&c);
}

static void streams_and_chunks_arrive_whole(void **state)
{
    (void)state;
    struct client c;
    struct answer answer;
    open_secure(&c);
    for (int i = 0; i < 2; i++) {
        client_say(&c, i ? "GET /stream/chunked HTTP/1.1\r\nHost: x\r\n\r\n"
                         : "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n");
        client_read(&c, &answer, false);
        assert_int_equal(answer.status, 200);
        assert_int_equal(answer.size, FIXTURE_STREAM_BYTES);
        free(answer.body);
    }
    client_say(&c, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                   "Expect: 100-continue\r\n\r\n");
    client_expect(&c, 100, NULL);
    client_say(&c, "5\r\nhello\r\n0\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void single_bytes_make_a_request(void **state)
{
    (void)state;
    struct client c;
    const char *text = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    open_secure(&c);
    for (const char *p = text; *p; p++)
        client_send(&c, p, 1);
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void early_refusal_is_read_before_the_end(void **state)
{
    (void)state;
    struct client c;
    open_secure(&c);
    client_say(&c, "POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\nbegin");
    client_expect(&c, 401, NULL);
    client_close(&c);
}

static void aborted_body_does_not_look_complete(void **state)
{
    (void)state;
    struct client c;
    open_secure(&c);
    client_say(&c, "GET /abort HTTP/1.1\r\nHost: x\r\n\r\n");
    char buf[65536];
    while (SSL_read(c.ssl, buf, sizeof(buf)) > 0)
        ;
    assert_false(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN);
    client_close(&c);
}

static void client_that_leaves_amid_a_body_harms_nobody(void **state)
{
    (void)state;
    struct client c;
    open_secure(&c);
    client_say(&c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
    char buf[1024];
    assert_true(SSL_read(c.ssl, buf, sizeof(buf)) > 0);
    client_close(&c);
    fixture_wait(&f, &f.released, 1);
    open_secure(&c);
    client_say(&c, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(&c, 200, "hello");
    client_close(&c);
}

static void http_11_is_what_is_agreed_on(void **state)
{
    (void)state;
    struct client c;
    const unsigned char *chosen;
    unsigned size;
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    open_secure(&c);
    SSL_get0_alpn_selected(c.ssl, &chosen, &size);
    assert_int_equal(size, 8);
    assert_memory_equal(chosen, "http/1.1", 8);
    client_close(&c);
    SSL_CTX_set_alpn_protos(context, (const unsigned char *)"\x02h2", 3);
    assert_false(try_handshake(&c));
    client_close(&c);
}

/* ---- what is TLS's own ---- */

static void plain_http_is_told_so(void **state)
{
    (void)state;
    struct client c;
    char buf[256];
    size_t size = 0;
    client_open(&c, &f);
    client_say(&c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for (ssize_t n; (n = recv(c.fd, buf + size, sizeof(buf) - 1 - size, 0)) > 0;)
        size += (size_t)n;
    buf[size] = '\0';
    assert_string_equal(buf, "HTTP/1.0 400 Bad Request\r\n\r\n"
                             "Client sent an HTTP request to an HTTPS server.\n");
    client_close(&c);
}

static void garbage_ends_the_connection(void **state)
{
    (void)state;
    static const char *const garbage[] = {"\x16\x03\x01\xff\xff\x01", "\x80\x2e\x01\x03\x01",
                                          "SSH-2.0-x\r\n", "\x16\x03\x01\x00\x01\x01\x16\x03"};
    for (size_t i = 0; i < sizeof(garbage) / sizeof(garbage[0]); i++) {
        struct client c;
        char buf[64];
        client_open(&c, &f);
        client_send(&c, garbage[i], strlen(garbage[i]) + 1);
        shutdown(c.fd, SHUT_WR);
        while (recv(c.fd, buf, sizeof(buf), 0) > 0) /* an alert, perhaps */
            ;
        client_close(&c);
    }
    struct client c;
    open_secure(&c);
    client_close(&c);
}

static void stalled_handshake_runs_out_of_time(void **state)
{
    set_up(state);
    f.config.header_timeout_ms = 100;
    start_server(&(struct tls_server_config){.refresh_s = 0});
    struct client c;
    client_open(&c, &f);
    client_send(&c, "\x16\x03\x01", 3);
    client_expect_end(&c);
    client_close(&c);
    client_open(&c, &f); /* not a byte */
    client_expect_end(&c);
    client_close(&c);
    /* The time is that of the handshake and the first header together. */
    open_secure(&c);
    client_say(&c, "GET /hello HTTP/1.1\r\n");
    client_expect(&c, 400, NULL);
    client_close(&c);
    struct http_server_stats stats;
    http_server_stats(f.server, &stats);
    assert_int_equal(stats.timeouts, 3);
}

static bool is_served(struct client *c)
{
    char buf[256];
    return try_handshake(c) && SSL_write(c->ssl, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n", 32) > 0 &&
           SSL_read(c->ssl, buf, sizeof(buf)) > 0;
}

static void strangers_without_certificate_are_refused(void **state)
{
    set_up(state);
    start_server(&(struct tls_server_config){.ca = ca});
    struct client c;
    assert_false(is_served(&c));
    client_close(&c);

    struct identity other_authority = identity_make("other", NULL);
    struct identity stranger = identity_make("stranger", &other_authority);
    struct identity friend = identity_make("friend", &authority);
    SSL_CTX_use_certificate(context, stranger.cert);
    SSL_CTX_use_PrivateKey(context, stranger.key);
    assert_false(is_served(&c));
    client_close(&c);
    SSL_CTX_use_certificate(context, friend.cert);
    SSL_CTX_use_PrivateKey(context, friend.key);
    assert_true(is_served(&c));
    client_close(&c);
    identity_free(&other_authority);
    identity_free(&stranger);
    identity_free(&friend);
}

static void versions_and_suites_are_kept_to(void **state)
{
    set_up(state);
    start_server(&(struct tls_server_config){
        .max_version = "TLS 1.2",
        .cipher_suites = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"});
    struct client c;
    open_secure(&c);
    assert_string_equal(SSL_get_version(c.ssl), "TLSv1.2");
    assert_string_equal(SSL_get_cipher_name(c.ssl), "ECDHE-ECDSA-AES256-GCM-SHA384");
    client_close(&c);
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    assert_false(try_handshake(&c));
    client_close(&c);
}

static void old_versions_need_to_be_asked_for(void **state)
{
    (void)state;
    struct client c;
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(context, TLS1_1_VERSION);
    assert_false(try_handshake(&c));
    client_close(&c);
}

static void renewed_certificate_is_served_and_a_bad_one_is_not(void **state)
{
    (void)state;
    struct client old, c;
    char name[64];
    struct error err = {0};
    open_secure(&old);
    struct identity second = identity_make("second", &authority);
    identity_save(&second, cert, NULL); /* without its key */
    assert_int_equal(tls_server_reload(tls, &err), KELP_E_INVALID);
    open_secure(&c);
    name_of_server(&c, name);
    assert_string_equal(name, "first");
    client_close(&c);
    identity_save(&second, cert, key);
    assert_int_equal(tls_server_reload(tls, NULL), 0);
    open_secure(&c);
    name_of_server(&c, name);
    assert_string_equal(name, "second");
    client_close(&c);
    client_say(&old, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    client_expect(&old, 200, "hello");
    client_close(&old);
    identity_free(&second);
}

static void bad_rules_are_refused_by_name(void **state)
{
    set_up(state);
    struct error err = {0};
    struct tls_server_config config = {
        .cert = cert, .key = key, .ca = "", .min_version = "", .max_version = "", .cipher_suites = ""};
    struct tls_server *server;
    config.min_version = "1.2";
    assert_int_equal(tls_server_create(&server, &config, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "tls.min_version"));
    config.min_version = "";
    config.cipher_suites = "TLS_NONSENSE";
    assert_int_equal(tls_server_create(&server, &config, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "TLS_NONSENSE"));
    config.cipher_suites = "";
    config.ca = key;
    assert_int_equal(tls_server_create(&server, &config, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, key));
    config.ca = "";
    config.cert = "/nowhere/cert.pem";
    assert_int_equal(tls_server_create(&server, &config, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "/nowhere/cert.pem"));
}

#define STARTED(test) cmocka_unit_test_setup_teardown(test, set_up_and_start, tear_down)
#define BARE(test)    cmocka_unit_test_teardown(test, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STARTED(requests_are_answered_and_the_end_is_said),
        STARTED(bodies_of_all_sizes_come_back),
        STARTED(streams_and_chunks_arrive_whole),
        STARTED(single_bytes_make_a_request),
        STARTED(early_refusal_is_read_before_the_end),
        STARTED(aborted_body_does_not_look_complete),
        STARTED(client_that_leaves_amid_a_body_harms_nobody),
        STARTED(http_11_is_what_is_agreed_on),
        STARTED(plain_http_is_told_so),
        STARTED(garbage_ends_the_connection),
        BARE(stalled_handshake_runs_out_of_time),
        BARE(strangers_without_certificate_are_refused),
        BARE(versions_and_suites_are_kept_to),
        STARTED(old_versions_need_to_be_asked_for),
        STARTED(renewed_certificate_is_served_and_a_bad_one_is_not),
        BARE(bad_rules_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
