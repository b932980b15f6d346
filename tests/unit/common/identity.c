/* See identity.h. */
#include "tests/unit/common/identity.h"

#include "tests/unit/cmocka_all.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct identity identity_make_sized(const char *name, int size, const struct identity *issuer)
{
    struct identity identity = {EVP_EC_gen("P-256"), X509_new()};
    X509_NAME *subject = X509_get_subject_name(identity.cert);
    X509_set_version(identity.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(identity.cert), 1 + rand());
    X509_gmtime_adj(X509_getm_notBefore(identity.cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(identity.cert), 3600);
    if (size > 0)
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, size,
                                   -1, 0);
    else
        X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const unsigned char *)"nameless", -1,
                                   -1, 0);
    X509_set_issuer_name(identity.cert, issuer ? X509_get_subject_name(issuer->cert) : subject);
    X509_set_pubkey(identity.cert, identity.key);
    if (!issuer) {
        X509_EXTENSION *is_ca =
            X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, "critical,CA:TRUE");
        X509_add_ext(identity.cert, is_ca, -1);
        X509_EXTENSION_free(is_ca);
    }
    assert_true(X509_sign(identity.cert, issuer ? issuer->key : identity.key, EVP_sha256()) > 0);
    return identity;
}

struct identity identity_make(const char *name, const struct identity *issuer)
{
    return identity_make_sized(name, (int)strlen(name), issuer);
}

void identity_free(struct identity *identity)
{
    EVP_PKEY_free(identity->key);
    X509_free(identity->cert);
}

void identity_save(const struct identity *identity, const char *cert_path, const char *key_path)
{
    char aside[160];
    snprintf(aside, sizeof(aside), "%s.new", cert_path);
    FILE *file = fopen(aside, "w");
    PEM_write_X509(file, identity->cert);
    fclose(file);
    assert_int_equal(rename(aside, cert_path), 0);
    if (!key_path)
        return;
    file = fopen(key_path, "w");
    PEM_write_PrivateKey(file, identity->key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
}
