/* Reading the token off the request; security.c judges it. */
#include "volume/blob_access.h"

/* The value of the first cookie of that name in all Cookie headers, without quotes. */
static struct slice find_cookie(const struct http_request *request, struct slice name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct slice rest = request->headers[i].value;
        if (!slice_equals_nocase(request->headers[i].name, SLICE("Cookie")))
            continue;
        while (rest.len > 0) {
            ptrdiff_t end = slice_find(rest, ';');
            struct slice pair = end < 0 ? rest : slice_until(rest, (size_t)end);
            rest = end < 0 ? (struct slice){0} : slice_from(rest, (size_t)end + 1);
            while (pair.len > 0 && (pair.ptr[0] == ' ' || pair.ptr[0] == '\t'))
                pair = slice_from(pair, 1);
            ptrdiff_t equals = slice_find(pair, '=');
            if (equals < 0 || !slice_equals(slice_until(pair, (size_t)equals), name))
                continue;
            struct slice value = slice_from(pair, (size_t)equals + 1);
            if (value.len > 1 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"')
                value = slice_until(slice_from(value, 1), value.len - 2);
            return value;
        }
    }
    return (struct slice){0};
}

struct slice blob_access_token(struct http_request *request)
{
    struct slice token = {0};
    if (request->query.len > 0)
        token = http_request_query(request, "jwt");
    if (token.len > 0)
        return token;
    struct slice header = http_request_header(request, "Authorization");
    if (header.len > 7 && strncasecmp(header.ptr, "bearer", 6) == 0)
        return slice_from(header, 7);
    return find_cookie(request, SLICE("AT"));
}

bool blob_access_check(struct blob_call *call, enum security_key key, const struct blob_path *path)
{
    struct security *security = call->http->config.security;
    if (!security || !security_wants_token(security, key) ||
        security_check_token(security, key, blob_access_token(call->request), path->vid, path->fid))
        return true;
    blob_call_reply_error(call, 401, "wrong jwt");
    return false;
}

/* A write takes its key from another place of the path than everything else ("/3/ID/,OTHER" has both, as
 * with the peer): the token must be good for what will be written, too, or one for any blob of a volume would
 * be good for all of them. */
bool blob_access_admits_write(struct security *security, struct http_request *request,
                              const struct blob_path *path)
{
    if (!security || !security_wants_token(security, SECURITY_WRITE))
        return true;
    struct slice token = blob_access_token(request), written = blob_path_write_id(request->path);
    if (!security_check_token(security, SECURITY_WRITE, token, path->vid, path->fid))
        return false;
    return slice_find(request->path, ',') < 0 || slice_equals(written, path->fid) ||
           security_check_token(security, SECURITY_WRITE, token, path->vid, written);
}

struct slice blob_access_own_token(struct blob_call *call, enum security_key key, struct slice file_id)
{
    struct security *security = call->http->config.security;
    char token[FILE_TOKEN_MAX];
    if (!security || !security_wants_token(security, key))
        return (struct slice){0};
    ptrdiff_t suffix = slice_find_last(file_id, '_');
    if (suffix > 0)
        file_id = slice_until(file_id, (size_t)suffix);
    security_make_token(security, key, file_id, token);
    return arena_slice(call->request->arena, slice_cstr(token));
}
