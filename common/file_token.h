/* Tokens for one file id: JSON web tokens with an HMAC. Source: spec/volume-http.md 6.2,
 * spec/master-http.md 12. Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

/* Tokens that are longer are refused unread, and no longer one is made. */
#define FILE_TOKEN_MAX 4096u

/* {"fid":"3,01637037d6","exp":1700000010} with HS256, byte for byte as the peer makes it;
 * `expires_s` is unix time, 0 or less: never. Terminated. KELP_E_TOO_LARGE when fid is too long. */
int file_token_sign(struct slice key, struct slice fid, int64_t expires_s, char ret[FILE_TOKEN_MAX],
                     struct error *err);

/* 0 when the token was signed with the key by HS256, HS384 or HS512, is valid now (exp and nbf, where
 * present, without leeway) and its claim `fid` is the one given, byte for byte. Else
 * KELP_E_UNAUTHENTICATED and why; clients are not told. An empty key is refused. */
int file_token_verify(struct slice key, struct slice token, struct slice fid, int64_t now_ns,
                       struct error *err);
