/* gRPC with certificates: who is let in, and what a renewal does. */
#include "common/rpc_tls.h"

#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "tests/proto/rpc_fixture.h"
#include "tests/unit/common/identity.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define UNARY "/echo.Echo/Unary"

static char folder[64], ca[80], cert[80], key[80], client_cert[80], client_key[80];
static struct identity authority;
static struct rpc_tls *server_tls, *client_tls;
static struct rpc_fixture *f; /* its server is with TLS, its client each test's */

static struct rpc_tls *make_tls(const char *cert_path, const char *key_path, const char *names,
                                const char *domain)
{
    struct rpc_tls *tls;
    struct error err = {0};
    struct rpc_tls_config config = {
        .ca = ca, .cert = cert_path, .key = key_path, .client_cert = "", .client_key = "",
        .allowed_names = names, .allowed_domain = domain,
        .min_version = "", .max_version = "", .cipher_suites = ""};
    if (rpc_tls_create(&tls, &config, &err) != 0)
        fail_msg("%s", err.message);
    return tls;
}

static void start(const char *names, const char *domain)
{
    struct error err = {0};
    server_tls = make_tls(cert, key, names, domain);
    echo_service_init(&f->service);
    struct rpc_server_config config = {.bind_address = "127.0.0.1", .tls = server_tls,
                                       .services = &f->service.rpc, .service_count = 1};
    if (rpc_server_create(&f->server, &config, &err) != 0)
        fail_msg("%s", err.message);
    snprintf(f->address, sizeof(f->address), "127.0.0.1:%u", rpc_server_port(f->server));
}

static int set_up(void **state)
{
    strcpy(folder, "/tmp/kelp-rpc-tls-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    snprintf(client_cert, sizeof(client_cert), "%s/client.pem", folder);
    snprintf(client_key, sizeof(client_key), "%s/client.key", folder);
    authority = identity_make("authority", NULL);
    struct identity server = identity_make("some.where.else", &authority);
    identity_save(&authority, ca, NULL);
    identity_save(&server, cert, key);
    identity_free(&server);
    f = must(calloc(1, sizeof(*f)));
    return 0;
}

static int tear_down(void **state)
{
    rpc_server_destroy(f->server, 0);
    rpc_tls_destroy(server_tls);
    echo_service_fini(&f->service);
    free(f);
    identity_free(&authority);
    const char *const paths[] = {ca, cert, key, client_cert, client_key};
    for (size_t i = 0; i < 5; i++)
        unlink(paths[i]);
    return rmdir(folder);
}

/* What a client with this certificate is told; NULL: one that speaks plainly. */
static enum rpc_status call_as(const struct identity *identity, char text[ERROR_MESSAGE_MAX])
{
    struct error err = {0};
    enum rpc_status status;
    ProtobufCMessage *answer = NULL;
    client_tls = NULL;
    if (identity) {
        identity_save(identity, client_cert, client_key);
        client_tls = make_tls(client_cert, client_key, "", "");
    }
    assert_int_equal(rpc_client_create_tls(&f->client, client_tls, &err), 0);
    if (rpc_fixture_call(f, UNARY, "", "words", &answer, &status, &err) == 0)
        protobuf_c_message_free_unpacked(answer, NULL);
    rpc_client_destroy(f->client);
    rpc_tls_destroy(client_tls);
    if (text)
        snprintf(text, ERROR_MESSAGE_MAX, "%s", err.message);
    return status;
}

static enum rpc_status call_named(const char *name, int size)
{
    struct identity client = identity_make_sized(name, size, &authority);
    enum rpc_status status = call_as(&client, NULL);
    identity_free(&client);
    return status;
}

static void any_certificate_of_the_authority_is_good(void **state)
{
    start("", "");
    struct identity foreign = identity_make("authority", NULL);
    struct identity stranger = identity_make("somebody", &foreign);
    assert_int_equal(call_named("somebody", 8), RPC_OK);
    assert_int_equal(call_named("", 0), RPC_OK);
    assert_int_equal(call_as(&stranger, NULL), RPC_UNAVAILABLE);
    assert_int_equal(call_as(NULL, NULL), RPC_UNAVAILABLE);
    identity_free(&stranger);
    identity_free(&foreign);
}

static void names_are_taken_whole(void **state)
{
    start("node, shell", "");
    assert_int_equal(call_named("node", 4), RPC_OK);
    assert_int_equal(call_named("shell", 5), RPC_OK);
    assert_int_equal(call_named("nodes", 5), RPC_PERMISSION_DENIED);
    assert_int_equal(call_named("nod", 3), RPC_PERMISSION_DENIED);
    assert_int_equal(call_named("node, shell", 11), RPC_PERMISSION_DENIED);
    assert_int_equal(call_named("node\0.evil", 10), RPC_PERMISSION_DENIED);
    assert_int_equal(call_named("", 0), RPC_PERMISSION_DENIED);
    char told[ERROR_MESSAGE_MAX];
    struct identity evil = identity_make("evil", &authority);
    assert_int_equal(call_as(&evil, told), RPC_PERMISSION_DENIED);
    assert_non_null(strstr(told, "\"evil\""));
    assert_non_null(strstr(told, "allowed_commonNames"));
    identity_free(&evil);
}

static void a_domain_is_what_names_end_with(void **state)
{
    start("", ".kelp.example");
    assert_int_equal(call_named("a.kelp.example", 14), RPC_OK);
    assert_int_equal(call_named("kelp.example", 12), RPC_PERMISSION_DENIED);
    assert_int_equal(call_named("a.kelp.example.evil", 19), RPC_PERMISSION_DENIED);
    assert_int_equal(call_named("", 0), RPC_PERMISSION_DENIED); /* the peer takes it */
}

static void servers_of_another_authority_are_not_trusted(void **state)
{
    struct identity foreign = identity_make("authority", NULL);
    struct identity server = identity_make("server", &foreign);
    start("", "");
    rpc_server_destroy(f->server, 0);
    rpc_tls_destroy(server_tls);
    echo_service_fini(&f->service);
    identity_save(&server, cert, key);
    start("", "");
    assert_int_equal(call_named("somebody", 8), RPC_UNAVAILABLE);
    identity_free(&server);
    identity_free(&foreign);
}

/* ---- renewals ---- */

struct callers {
    struct rpc_tls *tls;
    atomic_bool is_over;
    atomic_uint good, bad;
};

/* A connection a call, so that handshakes meet the renewals. */
static void *call_without_end(void *ctx)
{
    struct callers *callers = ctx;
    while (!atomic_load(&callers->is_over)) {
        struct rpc_client *client;
        struct error err = {0};
        RPC_FIXTURE_MESSAGE m = rpc_fixture_say("", "words");
        CHECK(rpc_client_create_tls(&client, callers->tls, &err) == 0);
        int code = rpc_client_call(client, f->address, UNARY, &m.base, RPC_FIXTURE_DESCRIPTOR,
                                   RPC_FIXTURE_TIMEOUT_MS, NULL, NULL, &err);
        atomic_fetch_add(code == 0 ? &callers->good : &callers->bad, 1);
        rpc_client_destroy(client);
    }
    return NULL;
}

static void renewals_disturb_nobody(void **state)
{
    start("", "");
    struct identity client = identity_make("somebody", &authority);
    identity_save(&client, client_cert, client_key);
    struct callers callers = {.tls = make_tls(client_cert, client_key, "", "")};
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_without_end, &callers), 0);
    for (unsigned i = 0; i < 10; i++) {
        struct identity renewed = identity_make("renewed", &authority);
        identity_save(&renewed, cert, key);
        identity_free(&renewed);
        assert_int_equal(rpc_tls_reload(server_tls, NULL), 0);
        assert_int_equal(rpc_tls_reload(callers.tls, NULL), 0);
        unsigned before = atomic_load(&callers.good);
        while (atomic_load(&callers.good) < before + 4 && atomic_load(&callers.bad) == 0)
            sched_yield();
    }
    atomic_store(&callers.is_over, true);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(callers.bad, 0);
    rpc_tls_destroy(callers.tls);
    identity_free(&client);
}

static void half_a_renewal_leaves_the_old_pair_in_use(void **state)
{
    start("", "");
    struct error err = {0};
    struct identity renewed = identity_make("renewed", &authority);
    identity_save(&renewed, cert, NULL);
    assert_int_equal(rpc_tls_reload(server_tls, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "is not the key of"));
    assert_int_equal(call_named("somebody", 8), RPC_OK);
    identity_save(&renewed, cert, key);
    assert_int_equal(rpc_tls_reload(server_tls, &err), 0);
    assert_int_equal(call_named("somebody", 8), RPC_OK);
    identity_free(&renewed);
}

static void a_client_calls_with_what_it_was_renewed_to(void **state)
{
    start("second", "");
    struct identity first = identity_make("first", &authority);
    struct identity second = identity_make("second", &authority);
    enum rpc_status status;
    struct error err;
    identity_save(&first, client_cert, client_key);
    client_tls = make_tls(client_cert, client_key, "", "");
    assert_int_equal(rpc_client_create_tls(&f->client, client_tls, NULL), 0);
    rpc_fixture_call(f, UNARY, "", "words", NULL, &status, &err);
    assert_int_equal(status, RPC_PERMISSION_DENIED);
    identity_save(&second, client_cert, client_key);
    assert_int_equal(rpc_tls_reload(client_tls, NULL), 0);
    rpc_fixture_call(f, UNARY, "", "words", NULL, &status, &err);
    assert_int_equal(status, RPC_OK);
    rpc_client_destroy(f->client);
    rpc_tls_destroy(client_tls);
    identity_free(&first);
    identity_free(&second);
}

static void values_that_cannot_be_honoured_are_refused(void **state)
{
    struct rpc_tls *tls;
    static const struct {
        struct rpc_tls_config config;
        const char *told;
    } rows[] = {
        {{.cert = cert, .key = ""}, "cert and key belong together"},
        {{.cert = cert, .key = key, .client_cert = "x"}, "client_cert and client_key"},
        {{.cert = cert, .key = key, .ca = ""}, "without grpc.ca"},
        {{.cert = cert, .key = key, .min_version = "1.3"}, "write TLS 1.0"},
        {{.cert = cert, .key = key, .max_version = "TLS 1.2"}, "tls.max_version"},
        {{.cert = cert, .key = key, .cipher_suites = "NONSUCH"}, "NONSUCH"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct error err = {0};
        struct rpc_tls_config config = rows[i].config;
        const char **texts[] = {&config.client_cert, &config.client_key, &config.allowed_names,
                                &config.allowed_domain, &config.min_version, &config.max_version,
                                &config.cipher_suites};
        for (size_t t = 0; t < sizeof(texts) / sizeof(texts[0]); t++)
            *texts[t] = *texts[t] ? *texts[t] : "";
        config.ca = config.ca ? config.ca : ca;
        assert_int_equal(rpc_tls_create(&tls, &config, &err), KELP_E_INVALID);
        if (!strstr(err.message, rows[i].told))
            fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].told);
    }
    start("", ""); /* for the tear down */
    assert_false(rpc_tls_has_server(NULL));
    rpc_tls_destroy(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(any_certificate_of_the_authority_is_good),
        TEST(names_are_taken_whole),
        TEST(a_domain_is_what_names_end_with),
        TEST(servers_of_another_authority_are_not_trusted),
        TEST(renewals_disturb_nobody),
        TEST(half_a_renewal_leaves_the_old_pair_in_use),
        TEST(a_client_calls_with_what_it_was_renewed_to),
        TEST(values_that_cannot_be_honoured_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
