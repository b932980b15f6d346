/* Files in, texts out; OpenSSL says whether they are what they should be. */
#include "common/certificate.h"

#include "common/check.h"
#include "common/os.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1u << 20)

static int read_text(const char *path, char **ret, struct error *err)
{
    size_t size;
    struct error cause;
    if (os_read_file(os_real(), path, FILE_MAX, ret, &size, &cause) != 0)
        return error_set(err, KELP_E_INVALID, "%s; check the path and who may read it", cause.message);
    return 0;
}

/* Nobody is at hand to type it. */
static int no_password(char *text, int size, int is_writing, void *ctx) { return 0; }

/* The number of certificates, or of those before the first that does not parse, negative. */
static int count_certificates(const char *text)
{
    BIO *bio = must(BIO_new_mem_buf(text, -1));
    int count = 0;
    X509 *one;
    while ((one = PEM_read_bio_X509(bio, NULL, no_password, NULL))) {
        X509_free(one);
        count++;
    }
    bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    ERR_clear_error();
    BIO_free(bio);
    return is_end ? count : -1 - count;
}

static int check_certificates(const char *text, const char *path, struct error *err)
{
    int count = count_certificates(text);
    if (count > 0)
        return 0;
    if (count == 0)
        return error_set(err, KELP_E_INVALID, "%s holds no certificate; it must be a PEM file", path);
    return error_set(err, KELP_E_INVALID, "%s: certificate %d is damaged; copy the file again", path,
                     -count);
}

static int check_pair(const struct certificate_pair *pair, const char *cert_path,
                      const char *key_path, struct error *err)
{
    int code = check_certificates(pair->cert, cert_path, err);
    if (code != 0)
        return code;
    BIO *cert_bio = must(BIO_new_mem_buf(pair->cert, -1));
    BIO *key_bio = must(BIO_new_mem_buf(pair->key, -1));
    X509 *cert = PEM_read_bio_X509(cert_bio, NULL, no_password, NULL);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, no_password, NULL);
    if (!key)
        code = error_set(err, KELP_E_INVALID,
                         "%s holds no private key that can be read; it must be a PEM file without a "
                         "password",
                         key_path);
    else if (X509_check_private_key(cert, key) != 1)
        code = error_set(err, KELP_E_INVALID,
                         "%s is not the key of %s; name the two that were made together", key_path,
                         cert_path);
    ERR_clear_error();
    EVP_PKEY_free(key);
    X509_free(cert);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    return code;
}

int certificate_pair_read(struct certificate_pair *ret, const char *cert_path, const char *key_path,
                          struct error *err)
{
    struct certificate_pair pair = {0};
    int code = read_text(cert_path, &pair.cert, err);
    if (code == 0)
        code = read_text(key_path, &pair.key, err);
    if (code == 0)
        code = check_pair(&pair, cert_path, key_path, err);
    if (code != 0)
        certificate_pair_fini(&pair);
    else
        *ret = pair;
    return code;
}

void certificate_pair_fini(struct certificate_pair *pair)
{
    if (pair->key)
        OPENSSL_cleanse(pair->key, strlen(pair->key));
    free(pair->cert);
    free(pair->key);
    *pair = (struct certificate_pair){0};
}

int certificate_read_authorities(char **ret, const char *path, struct error *err)
{
    char *text;
    int code = read_text(path, &text, err);
    if (code != 0)
        return code;
    code = check_certificates(text, path, err);
    if (code != 0)
        free(text);
    else
        *ret = text;
    return code;
}
