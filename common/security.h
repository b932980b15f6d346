/* Who may do what: security.toml as a running server sees it. White list, keys for tokens, pages.
 * Source: spec/volume-http.md 6, spec/master-flags.md 4, spec/master-http.md 1.2 and 12.
 *
 * One object for a process, shared by the servers in it; a reload changes it under them. Everything
 * but creating, reloading and destroying is for any thread; what is asked on every request costs one
 * relaxed load when nothing is configured. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"
#include "common/file_token.h"
#include "common/http_client.h"
#include "common/settings.h"

struct os;
struct security;

enum security_key {
    SECURITY_WRITE, /* jwt.signing.key: POST, PUT, DELETE */
    SECURITY_READ,  /* jwt.signing.read.key: GET, HEAD */
    SECURITY_KEYS,
};

/* `settings` (NULL: none) is borrowed. `white_list` is the flag's, copied; guard.white_list adds to it.
 * A bad entry or value is KELP_E_INVALID. `os` is for the clock; NULL: the real one. */
int security_create(struct security **ret, struct settings *settings, const char *white_list,
                    struct os *os, struct error *err);
/* Reads the file anew (SIGHUP): white list, keys, lifetimes. On failure all stays as it was. */
int security_reload(struct security *security, struct error *err);
void security_destroy(struct security *security); /* NULL is fine */

/* `ip` without port and brackets. An empty list admits everybody, with keys as without. */
bool security_has_white_list(const struct security *security);
bool security_admits(struct security *security, const char *ip);

bool security_wants_token(const struct security *security, enum security_key key);
/* Is the token good for this file id? `fid` is the part behind the comma and may end in "_N". True
 * when there is no key. */
bool security_check_token(struct security *security, enum security_key key, struct slice token,
                          struct slice vid, struct slice fid);
/* A token for "3,01637037d6"; "" when there is no key. Returns ret. */
const char *security_make_token(struct security *security, enum security_key key, struct slice fid,
                                char ret[FILE_TOKEN_MAX]);

/* How requests to other servers travel, by https.client: NULL is plain HTTP. Decided at start; `security`
 * may be NULL. */
const struct http_client_tls *security_client_tls(const struct security *security);
/* "http://" or "https://", accordingly. */
const char *security_client_scheme(const struct security *security);

/* Whether /ui/index.html is there: hidden by a key for writing unless access.ui says otherwise.
 * Decided at start. */
bool security_shows_pages(const struct security *security);
