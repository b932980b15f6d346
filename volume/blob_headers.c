/* What is stored came from a client once, over HTTP or from a copied file; what is asked comes
 * from the URL. Neither may break out of its header line, so everything passes
 * blob_header_value, names are checked, and the headers that frame the message are the server's
 * alone. */
#include "volume/blob_headers.h"

#include "common/content_disposition.h"
#include "common/http_token.h"
#include "common/mime.h"
#include "common/url.h"
#include "volume/blob_manifest.h"

#include <json-c/json.h>

static bool is_framing(const char *name)
{
    static const char *const names[] = {"Content-Length", "Transfer-Encoding", "Connection", "Date",
                                        "Trailer", "Upgrade"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static void set_header(struct blob *blob, const char *name, struct slice value)
{
    http_response_set_header(blob->call->request, name, blob_header_value(blob, value));
    if (strcasecmp(name, "Content-Type") == 0)
        blob->has_type = true;
    else if (strcasecmp(name, "Content-Encoding") == 0)
        blob->has_encoding = true;
    else if (strcasecmp(name, "Content-Disposition") == 0)
        blob->has_disposition = value.len > 0;
}

static void set_pairs(struct blob *blob)
{
    struct slice pairs = blob->needle.pairs;
    struct json_tokener *tokener = json_tokener_new();
    if (!tokener)
        return;
    json_object *object = json_tokener_parse_ex(tokener, pairs.ptr, (int)pairs.len);
    if (object && json_object_is_type(object, json_type_object)) {
        json_object_object_foreach(object, name, value)
        {
            if (json_object_is_type(value, json_type_string) && http_is_token(slice_cstr(name)) && !is_framing(name))
                set_header(blob, arena_strndup(blob->call->request->arena, name, strlen(name)),
                           arena_slice(blob->call->request->arena,
                                       slice_of(json_object_get_string(value),
                                                (size_t)json_object_get_string_len(value))));
        }
    }
    json_object_put(object);
    json_tokener_free(tokener);
}

/* The URL's name counts before the stored one; a manifest's own before the needle's. */
struct slice blob_headers_file_name(const struct blob *blob)
{
    if (blob->manifest && blob->path.filename.len == 0)
        return blob->manifest->name;
    return blob->path.filename.len > 0 ? blob->path.filename : blob->needle.name;
}

void blob_headers_stored(struct blob *blob)
{
    if (blob->needle.pairs.len > 0)
        set_pairs(blob);
    struct slice mime = blob->manifest ? blob->manifest->mime : blob->needle.mime;
    if (blob->manifest)
        http_response_header(blob->call->request, "X-File-Store", SLICE("chunked"));
    if (mime.len == 0 || slice_starts(mime, SLICE("application/octet-stream")))
        mime = mime_by_extension(blob_path_extension(blob_headers_file_name(blob)));
    if (mime.len > 0) {
        set_header(blob, "Content-Type", mime);
        blob->type = blob_header_value(blob, mime);
    }
}

static void set_overrides(struct blob *blob)
{
    static const struct {
        struct slice parameter;
        const char *header;
    } overrides[] = {
        {{"response-cache-control", 22}, "Cache-Control"},
        {{"response-content-disposition", 28}, "Content-Disposition"},
        {{"response-content-encoding", 25}, "Content-Encoding"},
        {{"response-content-language", 25}, "Content-Language"},
        {{"response-content-type", 21}, "Content-Type"},
        {{"response-expires", 16}, "Expires"},
    };
    enum { COUNT = sizeof(overrides) / sizeof(overrides[0]) };
    bool is_set[COUNT] = {false};
    struct arena *arena = blob->call->request->arena;
    struct slice rest = blob->call->request->query, raw_name, raw_value, name, value;
    while (url_query_next(&rest, &raw_name, &raw_value)) {
        if (url_decode_query(arena, raw_name, &name, NULL) != 0 ||
            url_decode_query(arena, raw_value, &value, NULL) != 0)
            continue;
        for (size_t i = 0; i < COUNT; i++) {
            if (is_set[i] || !slice_equals_nocase(name, overrides[i].parameter))
                continue;
            set_header(blob, overrides[i].header, value);
            is_set[i] = true;
        }
    }
}

void blob_headers_asked(struct blob *blob)
{
    if (blob->call->request->query.len > 0)
        set_overrides(blob);
    struct slice name = blob_headers_file_name(blob);
    if (blob->has_disposition || name.len == 0)
        return;
    struct buffer *text = blob_call_scratch(blob->call);
    content_disposition_format(text, blob_call_query_flag(blob->call, "dl"), name);
    http_response_set_header(blob->call->request, "Content-Disposition", buffer_slice(text));
}
