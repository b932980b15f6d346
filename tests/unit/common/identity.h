/* Certificates for tests, made in place. */
#pragma once

#include <openssl/x509.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

/* A common name of `size` bytes, or none; signed by `issuer`, which NULL makes an authority. */
struct identity identity_make_sized(const char *name, int size, const struct identity *issuer);
struct identity identity_make(const char *name, const struct identity *issuer);
void identity_free(struct identity *identity);
/* Written aside and renamed, as those who renew certificates do. key_path may be NULL. */
void identity_save(const struct identity *identity, const char *cert_path, const char *key_path);
