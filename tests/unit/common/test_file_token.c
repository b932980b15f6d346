/* Tokens for file ids: made, and taken apart. */
#include "common/file_token.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/cmocka_all.h"

#define NOW_S  1700000000
#define NOW_NS (NOW_S * INT64_C(1000000000))
#define KEY    SLICE("secret")
#define FID    SLICE("3,01637037d6")

static void append_base64url(char *out, const void *data, size_t size)
{
    char text[2048];
    EVP_EncodeBlock((unsigned char *)text, data, (int)size);
    text[strcspn(text, "=")] = '\0';
    for (char *p = text; *p; p++)
        *p = *p == '+' ? '-' : *p == '/' ? '_' : *p;
    strcat(out, text);
}

/* Any header and claims, signed as asked; "" without a digest leaves the signature out. */
static void make(char token[4096], const char *header, const char *claims, const EVP_MD *digest,
                 const char *key)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size;
    token[0] = '\0';
    append_base64url(token, header, strlen(header));
    strcat(token, ".");
    append_base64url(token, claims, strlen(claims));
    if (digest)
        HMAC(digest, key, (int)strlen(key), (unsigned char *)token, strlen(token), mac, &size);
    strcat(token, ".");
    if (digest)
        append_base64url(token, mac, size);
}

static int verify(const char *token)
{
    return file_token_verify(KEY, slice_cstr(token), FID, NOW_NS, NULL);
}

static int verify_claims(const char *claims)
{
    char token[4096];
    make(token, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", claims, EVP_sha256(), "secret");
    return verify(token);
}

static void token_is_the_peers_to_the_byte(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX];
    assert_int_equal(file_token_sign(KEY, FID, 1700000010, token, NULL), 0);
    assert_string_equal(token, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
                               "eyJmaWQiOiIzLDAxNjM3MDM3ZDYiLCJleHAiOjE3MDAwMDAwMTB9."
                               "VVoj6G1DeFaZVZKODUc29TXtdYfGQe3mQ6VOJkauKto");
    assert_int_equal(file_token_sign(KEY, FID, 0, token, NULL), 0);
    assert_string_equal(token, "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9."
                               "eyJmaWQiOiIzLDAxNjM3MDM3ZDYifQ."
                               "mCmUPrYwoQ4EKdjSpO0zLS02AF4eeSvbLDP2IMyOSDc");
    assert_int_equal(verify(token), 0);
}

static void expiry_has_no_leeway(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX];
    assert_int_equal(file_token_sign(KEY, FID, NOW_S + 1, token, NULL), 0);
    assert_int_equal(verify(token), 0);
    assert_int_equal(file_token_verify(KEY, slice_cstr(token), FID, NOW_NS + 999999999, NULL), 0);
    assert_int_equal(file_token_verify(KEY, slice_cstr(token), FID, NOW_NS + 1000000000, NULL),
                     KELP_E_UNAUTHENTICATED);
}

static void start_is_kept_to(void **state)
{
    (void)state;
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"nbf\":1700000000}"), 0);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"nbf\":1700000001}"),
                     KELP_E_UNAUTHENTICATED);
}

static void times_may_have_fractions_but_must_be_numbers(void **state)
{
    (void)state;
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":1700000001.9}"), 0);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":1700000000.9}"),
                     KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":null}"), 0);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":\"1800000000\"}"),
                     KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":true}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":{}}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\",\"exp\":1e999}"), KELP_E_UNAUTHENTICATED);
}

static void other_file_ids_are_refused(void **state)
{
    (void)state;
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037d6\"}"), 0);
    assert_int_equal(verify_claims("{\"fid\":\"3,01637037D6\"}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":\"3,1637037d6\"}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":\"\"}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{\"fid\":3}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("{}"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify_claims("[]"), KELP_E_UNAUTHENTICATED);
}

static void all_three_hmacs_are_taken(void **state)
{
    (void)state;
    char token[4096];
    const char *claims = "{\"fid\":\"3,01637037d6\"}";
    make(token, "{\"alg\":\"HS384\",\"typ\":\"JWT\"}", claims, EVP_sha384(), "secret");
    assert_int_equal(verify(token), 0);
    make(token, "{\"alg\":\"HS512\"}", claims, EVP_sha512(), "secret");
    assert_int_equal(verify(token), 0);
    make(token, "{\"alg\":\"HS512\"}", claims, EVP_sha256(), "secret");
    assert_int_equal(verify(token), KELP_E_UNAUTHENTICATED);
}

static void unsigned_token_is_refused(void **state)
{
    (void)state;
    char token[4096];
    const char *claims = "{\"fid\":\"3,01637037d6\"}";
    static const char *const headers[] = {"{\"alg\":\"none\",\"typ\":\"JWT\"}", "{\"alg\":\"None\"}",
                                          "{\"alg\":\"NONE\"}", "{\"alg\":\"\"}", "{\"typ\":\"JWT\"}",
                                          "{\"alg\":\"RS256\"}", "{\"alg\":\"ES256\"}", "{}"};
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        make(token, headers[i], claims, NULL, "");
        assert_int_equal(verify(token), KELP_E_UNAUTHENTICATED);
        make(token, headers[i], claims, EVP_sha256(), "secret");
        assert_int_equal(verify(token), KELP_E_UNAUTHENTICATED);
    }
}

static void empty_key_checks_nothing_and_so_refuses(void **state)
{
    (void)state;
    char token[4096];
    make(token, "{\"alg\":\"none\"}", "{\"fid\":\"3,01637037d6\"}", NULL, "");
    assert_int_equal(file_token_verify(SLICE(""), slice_cstr(token), FID, NOW_NS, NULL),
                     KELP_E_UNAUTHENTICATED);
    make(token, "{\"alg\":\"HS256\"}", "{\"fid\":\"3,01637037d6\"}", EVP_sha256(), "");
    assert_int_equal(file_token_verify(SLICE(""), slice_cstr(token), FID, NOW_NS, NULL),
                     KELP_E_UNAUTHENTICATED);
}

static void changed_and_broken_tokens_are_refused(void **state)
{
    (void)state;
    char good[FILE_TOKEN_MAX], token[FILE_TOKEN_MAX];
    assert_int_equal(file_token_sign(KEY, FID, 0, good, NULL), 0);
    size_t size = strlen(good);
    for (size_t i = 0; i + 1 < size; i++) { /* the last character carries spare bits */
        strcpy(token, good);
        token[i] = token[i] == 'A' ? 'B' : 'A';
        assert_int_equal(verify(token), KELP_E_UNAUTHENTICATED);
        assert_int_equal(file_token_verify(KEY, slice_of(good, i), FID, NOW_NS, NULL),
                         KELP_E_UNAUTHENTICATED);
    }
    assert_int_equal(verify("a.b"), KELP_E_UNAUTHENTICATED);
    assert_int_equal(verify("..."), KELP_E_UNAUTHENTICATED);
    assert_int_equal(file_token_verify(SLICE("Secret"), slice_cstr(good), FID, NOW_NS, NULL),
                     KELP_E_UNAUTHENTICATED);
}

static void overlong_tokens_are_refused(void **state)
{
    (void)state;
    char token[FILE_TOKEN_MAX + 1], fid[1000];
    memset(token, 'a', sizeof(token));
    assert_int_equal(file_token_verify(KEY, slice_of(token, sizeof(token)), FID, NOW_NS, NULL),
                     KELP_E_UNAUTHENTICATED);
    memset(fid, '"', sizeof(fid));
    assert_int_equal(file_token_sign(KEY, slice_of(fid, sizeof(fid)), 0, token, NULL),
                     KELP_E_TOO_LARGE);
    memset(fid, '\1', sizeof(fid));
    assert_int_equal(file_token_sign(KEY, slice_of(fid, FILE_TOKEN_MAX / 9), 1, token, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_is_the_peers_to_the_byte),
        cmocka_unit_test(expiry_has_no_leeway),
        cmocka_unit_test(start_is_kept_to),
        cmocka_unit_test(times_may_have_fractions_but_must_be_numbers),
        cmocka_unit_test(other_file_ids_are_refused),
        cmocka_unit_test(all_three_hmacs_are_taken),
        cmocka_unit_test(unsigned_token_is_refused),
        cmocka_unit_test(empty_key_checks_nothing_and_so_refuses),
        cmocka_unit_test(changed_and_broken_tokens_are_refused),
        cmocka_unit_test(overlong_tokens_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
