/* Tokens. libjwt takes a token apart and checks its HMAC; what it leaves to its caller is done here:
 * the algorithm (it would take "none", and whatever a key can be read as), exp and nbf.
 *
 * Making one is done by hand, because libjwt writes the members in another order, and a token is to
 * be the peer's to the byte:
 *
 *   base64url({"alg":"HS256","typ":"JWT"}) . base64url({"fid":"...","exp":n}) . base64url(HMAC)
 */
#include "common/file_token.h"

#include "common/base64.h"
#include "common/buffer.h"
#include "common/json_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <jwt.h>
#include <math.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

/* ---- making ---- */

static void append_base64url(struct buffer *out, struct slice data)
{
    size_t start = out->length;
    base64_encode(out, data);
    while (out->length > start && out->data[out->length - 1] == '=')
        out->length--;
    for (size_t i = start; i < out->length; i++) {
        if (out->data[i] == '+')
            out->data[i] = '-';
        else if (out->data[i] == '/')
            out->data[i] = '_';
    }
}

static void append_claims(struct buffer *out, struct slice fid, int64_t expires_s)
{
    struct buffer claims = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &claims, false);
    json_writer_begin_object(&w);
    json_writer_member_string(&w, "fid", fid);
    if (expires_s > 0)
        json_writer_member_uint(&w, "exp", (uint64_t)expires_s);
    json_writer_end_object(&w);
    append_base64url(out, buffer_slice(&claims));
    buffer_fini(&claims);
}

int file_token_sign(struct slice key, struct slice fid, int64_t expires_s, char ret[FILE_TOKEN_MAX],
                     struct error *err)
{
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned mac_size = 0;
    struct buffer token = BUFFER_INIT;
    /* A byte may become six of JSON, and three bytes four of base64. */
    if (fid.len > FILE_TOKEN_MAX / 9 || key.len > INT32_MAX)
        return error_set(err, KELP_E_TOO_LARGE, "a file id of %zu bytes is too long for a token",
                         fid.len);
    append_base64url(&token, SLICE("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"));
    buffer_append_char(&token, '.');
    append_claims(&token, fid, expires_s);
    if (!HMAC(EVP_sha256(), key.ptr, (int)key.len, (const unsigned char *)token.data, token.length,
              mac, &mac_size)) {
        buffer_fini(&token);
        return error_set(err, KELP_E_INTERNAL, "a token could not be signed");
    }
    buffer_append_char(&token, '.');
    append_base64url(&token, slice_of(mac, mac_size));
    memcpy(ret, buffer_cstr(&token), token.length + 1);
    buffer_fini(&token);
    return 0;
}

/* ---- checking ---- */

static int refuse(struct error *err, const char *why)
{
    return error_set(err, KELP_E_UNAUTHENTICATED, "%s", why);
}

/* A claim that is a time: 0 and *ret_has, or a refusal when it is something else. Fractions are cut
 * off, as the peer's library does. */
static int read_time(jwt_t *jwt, const char *claim, bool *ret_has, double *ret_s, struct error *err)
{
    char *json = jwt_get_grants_json(jwt, claim), *end;
    int code = 0;
    *ret_has = json != NULL && strcmp(json, "null") != 0;
    if (*ret_has) {
        *ret_s = trunc(strtod(json, &end));
        if (end == json || *end || !isfinite(*ret_s))
            code = refuse(err, "exp or nbf is no number");
    }
    free(json);
    return code;
}

static int check_claims(jwt_t *jwt, struct slice fid, int64_t now_ns, struct error *err)
{
    bool has_end, has_start;
    double end_s, start_s, now_s = (double)(now_ns / 1000000000); /* whole, as they are */
    int code = read_time(jwt, "exp", &has_end, &end_s, err);
    if (code == 0)
        code = read_time(jwt, "nbf", &has_start, &start_s, err);
    if (code != 0)
        return code;
    if (has_end && now_s >= end_s)
        return refuse(err, "the token has expired");
    if (has_start && now_s < start_s)
        return refuse(err, "the token is not valid yet");
    const char *claim = jwt_get_grant(jwt, "fid");
    if (!claim || !slice_equals(slice_cstr(claim), fid))
        return refuse(err, "the token is for another file id");
    return 0;
}

static bool is_hmac(jwt_alg_t algorithm)
{
    return algorithm == JWT_ALG_HS256 || algorithm == JWT_ALG_HS384 || algorithm == JWT_ALG_HS512;
}

int file_token_verify(struct slice key, struct slice token, struct slice fid, int64_t now_ns,
                       struct error *err)
{
    char text[FILE_TOKEN_MAX];
    jwt_t *jwt = NULL;
    if (key.len == 0 || key.len > INT32_MAX)
        return refuse(err, "there is no key to check it with");
    if (token.len == 0 || token.len >= sizeof(text) || memchr(token.ptr, '\0', token.len))
        return refuse(err, token.len == 0 ? "there is no token" : "the token is too long");
    memcpy(text, token.ptr, token.len);
    text[token.len] = '\0';
    if (jwt_decode(&jwt, text, (const unsigned char *)key.ptr, (int)key.len) != 0)
        return refuse(err, "the token does not parse, or was signed with another key");
    int code = is_hmac(jwt_get_alg(jwt)) ? check_claims(jwt, fid, now_ns, err)
                                         : refuse(err, "the token's algorithm is not accepted");
    jwt_free(jwt);
    return code;
}
