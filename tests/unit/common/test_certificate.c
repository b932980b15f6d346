/* Files that are no certificates, no keys, or no pair. */
#include "common/certificate.h"

#include "tests/unit/cmocka_all.h"
#include "tests/unit/common/identity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], cert[80], key[80], other[80], text[80];
static struct identity authority, server;

static int set_up(void **state)
{
    strcpy(folder, "/tmp/kelp-certificate-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(cert, sizeof(cert), "%s/cert.pem", folder);
    snprintf(key, sizeof(key), "%s/key.pem", folder);
    snprintf(other, sizeof(other), "%s/other.pem", folder);
    snprintf(text, sizeof(text), "%s/text.pem", folder);
    authority = identity_make("authority", NULL);
    server = identity_make("server", &authority);
    identity_save(&server, cert, key);
    return 0;
}

static int tear_down(void **state)
{
    const char *const paths[] = {cert, key, other, text};
    for (size_t i = 0; i < 4; i++)
        unlink(paths[i]);
    identity_free(&authority);
    identity_free(&server);
    return rmdir(folder);
}

static void write_text(const char *words)
{
    FILE *file = fopen(text, "w");
    assert_non_null(file);
    fputs(words, file);
    assert_int_equal(fclose(file), 0);
}

static void pair_that_was_made_together_is_taken(void **state)
{
    struct certificate_pair pair = {0};
    assert_int_equal(certificate_pair_read(&pair, cert, key, NULL), 0);
    assert_non_null(strstr(pair.cert, "BEGIN CERTIFICATE"));
    assert_non_null(strstr(pair.key, "PRIVATE KEY"));
    certificate_pair_fini(&pair);
    certificate_pair_fini(&pair);
}

static void refuse_pair(const char *cert_path, const char *key_path, const char *told)
{
    struct certificate_pair pair;
    struct error err = {0};
    assert_int_equal(certificate_pair_read(&pair, cert_path, key_path, &err), KELP_E_INVALID);
    if (!strstr(err.message, told))
        fail_msg("\"%s\" does not say \"%s\"", err.message, told);
}

static void what_is_no_pair_is_refused_by_name(void **state)
{
    struct identity stranger = identity_make("stranger", &authority);
    identity_save(&stranger, text, other);
    refuse_pair(cert, other, "other.pem is not the key of");
    refuse_pair("/nowhere/cert.pem", key, "/nowhere/cert.pem");
    refuse_pair(cert, "/nowhere/key.pem", "/nowhere/key.pem");
    refuse_pair(key, key, "holds no certificate");
    refuse_pair(cert, cert, "holds no private key");
    write_text("");
    refuse_pair(text, key, "holds no certificate");
    refuse_pair(cert, text, "holds no private key");
    write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    refuse_pair(text, key, "certificate 1 is damaged");
    write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
    refuse_pair(cert, text, "without a password");
    identity_free(&stranger);
}

static void authorities_are_certificates(void **state)
{
    char *read;
    struct error err;
    identity_save(&authority, other, NULL);
    assert_int_equal(certificate_read_authorities(&read, other, NULL), 0);
    free(read);
    assert_int_equal(certificate_read_authorities(&read, key, &err), KELP_E_INVALID);
    assert_non_null(strstr(err.message, "key.pem holds no certificate"));
    assert_int_equal(certificate_read_authorities(&read, folder, &err), KELP_E_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pair_that_was_made_together_is_taken, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_pair_is_refused_by_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(authorities_are_certificates, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
