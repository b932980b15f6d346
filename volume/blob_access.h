/* May this request have this blob? Tokens for reading and writing, in the places where the peer's
 * clients put them. Source: spec/volume-http.md 6. Loop thread. */
#pragma once

#include "volume/blob_call.h"
#include "volume/blob_path.h"

/* From the query (`jwt`), the Authorization header, or the cookie AT: the first that is not empty.
 * Valid as long as the request. */
struct slice blob_access_token(struct http_request *request);

/* True when the call may go on; else it has been answered with 401. Does next to nothing when there is
 * no key. */
bool blob_access_check(struct blob_call *call, enum security_key key, const struct blob_path *path);

/* The same for a write, before its body has come in; answers nothing. */
bool blob_access_admits_write(struct security *security, struct http_request *request,
                              const struct blob_path *path);

/* A token of this server's own for a request to another one about this blob ("3,01637037d6", what
 * follows the last '_' does not count), in the arena; empty when there is no key. */
struct slice blob_access_own_token(struct blob_call *call, enum security_key key, struct slice file_id);
