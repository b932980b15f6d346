/* Two ways in, multipart and raw, which the peer tells apart by method and Content-Type; the
 * rules below are its rules, down to the empty name that is stored as an empty name. One is not:
 * a urlencoded body is stored as it is, where the peer would store nothing and take it for
 * parameters. */
#include "volume/blob_upload.h"

#include "common/content_disposition.h"
#include "common/crc32c.h"
#include "common/gzip.h"
#include "common/http_multipart.h"
#include "common/md5.h"
#include "common/media_type.h"
#include "common/mime.h"
#include "common/url.h"
#include "volume/blob_path.h"
#include "volume/image_service.h"

#include <stdlib.h>
#include <ctype.h>

#define STORED_TEXT_MAX 255 /* names and types beyond are left out */
#define PAIRS_MAX       65535
#define UNPACKED_MAX    (2ull << 30) /* declared gzip is measured up to here */
#define FAST_BYTES      (64u << 10)  /* compression and MD5 on the loop */
#define FAST_CRC_BYTES  (8u << 20)   /* a mere CRC on the loop */

/* ---- the form ---- */

static uint64_t parse_seconds(struct slice text)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9' || value > UINT64_MAX / 10 - 1)
            return 0;
        value = value * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    return value;
}

static void parse_query(struct blob_call *call, struct blob_upload *upload)
{
    struct http_request *request = call->request;
    struct needle *needle = &upload->needle;
    upload->is_replicate = blob_call_query_is(call, "type", "replicate");
    upload->is_durable = blob_call_query_is(call, "fsync", "true");
    uint64_t seconds = parse_seconds(http_request_query(request, "ts"));
    if (seconds != 0)
        needle->last_modified = seconds;
    if (blob_call_query_flag(call, "cm"))
        needle->flags |= NEEDLE_IS_CHUNK_MANIFEST;
    struct slice ttl = http_request_query(request, "ttl");
    if (ttl.len > 0 && ttl_parse(ttl, &needle->ttl, NULL) == 0 && ttl_is_set(needle->ttl))
        needle->flags |= NEEDLE_HAS_TTL;
    else
        needle->ttl = (struct ttl){0};
}

/* "image/png": nothing to parse, as nearly always. */
static bool is_plain_type(struct slice type)
{
    size_t slashes = 0;
    for (size_t i = 0; i < type.len; i++) {
        char c = type.ptr[i];
        if (c == '/')
            slashes++;
        else if (!isalnum((unsigned char)c) && c != '-' && c != '.' && c != '+')
            return false;
    }
    return slashes == 1 && type.ptr[0] != '/' && type.ptr[type.len - 1] != '/';
}

int blob_upload_parse_form(struct blob_call *call, struct blob_upload *ret, struct error *err)
{
    struct http_request *request = call->request;
    *ret = (struct blob_upload){0};
    if (call->http->config.turns_upright)
        ret->turns_upright = call->http->images;
    ret->needle.flags = NEEDLE_HAS_LAST_MODIFIED;
    ret->needle.last_modified = (uint64_t)(blob_call_now_ns(call) / 1000000000);
    int code = request->query.len > 0 ? url_query_check(request->query, err) : 0;
    struct slice content_type = http_request_header(request, "Content-Type");
    struct media_type unused;
    if (code == 0 && content_type.len > 0 && !is_plain_type(content_type))
        code = media_type_parse(request->arena, content_type, &unused, err);
    if (code == 0 && request->query.len > 0)
        parse_query(call, ret);
    return code;
}

/* ---- name and type ---- */

static struct slice guess_type(struct arena *arena, struct slice name)
{
    ptrdiff_t dot = slice_find_last(name, '.');
    if (dot <= 0)
        return SLICE("");
    struct slice extension = slice_from(name, (size_t)dot);
    char *lower = arena_strndup(arena, extension.ptr, extension.len);
    for (size_t i = 0; i < extension.len; i++)
        lower[i] = (char)tolower((unsigned char)lower[i]);
    return mime_by_extension(slice_of(lower, extension.len));
}

/* `initial`: the type before the rules, `given`: what the client said. */
static struct slice decide_type(struct arena *arena, struct slice name, struct slice initial,
                                struct slice given)
{
    static const struct slice octets = {"application/octet-stream", 24};
    struct slice guess = guess_type(arena, name);
    bool has_guess = guess.len > 0;
    if (given.len > 0 && !slice_equals(given, octets) && !(has_guess && slice_equals(given, guess)))
        return given;
    if (has_guess && !slice_equals(guess, octets) && initial.len == 0)
        return guess;
    return initial;
}

static void set_name_and_type(struct blob_upload *upload, struct slice name, struct slice type)
{
    struct needle *needle = &upload->needle;
    upload->type = type;
    if (name.len <= STORED_TEXT_MAX) {
        needle->name = name;
        needle->flags |= NEEDLE_HAS_NAME;
    }
    if (type.len <= STORED_TEXT_MAX) {
        needle->mime = type;
        needle->flags |= NEEDLE_HAS_MIME;
    }
}

/* ---- the two parsers ---- */

static int parse_multipart(struct blob_call *call, struct slice content_type,
                           struct blob_upload *upload, struct error *err)
{
    struct http_request *request = call->request;
    struct http_multipart_part part;
    int code = http_multipart_parse(request->arena, content_type, request->body, &part, err);
    if (code != 0)
        return code;
    bool is_manifest = (upload->needle.flags & NEEDLE_IS_CHUNK_MANIFEST) != 0;
    struct slice none = {0};
    upload->needle.data = part.data;
    upload->is_gzip_given = part.is_gzip;
    if (upload->content_md5.len == 0)
        upload->content_md5 = part.content_md5;
    set_name_and_type(upload, part.filename,
                      is_manifest ? none
                                  : decide_type(request->arena, part.filename, none,
                                                part.content_type));
    return 0;
}

static void parse_raw(struct blob_call *call, struct slice content_type, struct blob_upload *upload)
{
    struct http_request *request = call->request;
    upload->needle.data = request->body;
    upload->is_gzip_given =
        slice_equals(http_request_header(request, "Content-Encoding"), SLICE("gzip"));
    struct slice name = {0}, disposition = http_request_header(request, "Content-Disposition");
    if (disposition.len > 0)
        name = content_disposition_raw_name(request->arena, disposition);
    if (name.len == 0)
        name = blob_path_last_segment(request->path);
    bool is_manifest = (upload->needle.flags & NEEDLE_IS_CHUNK_MANIFEST) != 0;
    set_name_and_type(upload, name,
                      is_manifest ? content_type
                                  : decide_type(request->arena, name, content_type, content_type));
}

/* ---- pairs ---- */

static const struct slice pair_prefix = {"Seaweed-", 8};

/* "seaweed-foo-bar" -> "Foo-Bar" */
static struct slice pair_name(struct arena *arena, struct slice header)
{
    char *name = arena_strndup(arena, header.ptr + pair_prefix.len, header.len - pair_prefix.len);
    bool is_start = true;
    for (char *p = name; *p; p++) {
        *p = (char)(is_start ? toupper((unsigned char)*p) : tolower((unsigned char)*p));
        is_start = *p == '-';
    }
    return slice_cstr(name);
}

static int compare_pairs(const void *a, const void *b)
{
    const struct http_header *x = a, *y = b;
    return strcmp(x->name.ptr, y->name.ptr);
}

static void add_pairs(struct blob_call *call, size_t count, struct blob_upload *upload)
{
    struct http_request *request = call->request;
    struct http_header *pairs = arena_alloc(request->arena, count * sizeof(*pairs));
    size_t found = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (!slice_equals_nocase(slice_until(header->name, pair_prefix.len), pair_prefix))
            continue;
        struct slice name = pair_name(request->arena, header->name);
        bool is_new = true;
        for (size_t j = 0; j < found; j++)
            is_new = is_new && !slice_equals(pairs[j].name, name);
        if (is_new)
            pairs[found++] = (struct http_header){name, header->value};
    }
    qsort(pairs, found, sizeof(*pairs), compare_pairs);
    struct json_writer w;
    struct buffer *text = blob_call_scratch(call);
    json_writer_init(&w, text, false);
    json_writer_begin_object(&w);
    for (size_t i = 0; i < found; i++) {
        json_writer_key_slice(&w, pairs[i].name);
        json_writer_string(&w, pairs[i].value);
    }
    json_writer_end_object(&w);
    if (text->length > PAIRS_MAX)
        return;
    upload->needle.pairs = arena_slice(request->arena, buffer_slice(text));
    upload->needle.flags |= NEEDLE_HAS_PAIRS;
}

static size_t count_pairs(const struct http_request *request)
{
    size_t count = 0;
    for (size_t i = 0; i < request->header_count; i++)
        count += slice_equals_nocase(slice_until(request->headers[i].name, pair_prefix.len),
                                     pair_prefix);
    return count;
}

/* ---- all of it ---- */

static bool is_form_data(struct slice content_type)
{
    return content_type.len == 0 ||
           memmem(content_type.ptr, content_type.len, "form-data", 9) != NULL;
}

int blob_upload_parse_body(struct blob_call *call, struct blob_upload *upload, struct error *err)
{
    struct http_request *request = call->request;
    struct slice content_type = http_request_header(request, "Content-Type");
    upload->content_md5 = http_request_header(request, "Content-Md5");
    if (call->kind == BLOB_CALL_POST && is_form_data(content_type)) {
        int code = parse_multipart(call, content_type, upload, err);
        if (code != 0)
            return code;
    } else {
        parse_raw(call, content_type, upload);
    }
    uint64_t limit = call->http->config.file_size_limit_bytes;
    if (upload->needle.data.len > limit)
        return error_set(err, KELP_E_INVALID, "file over the limited %llu bytes",
                         (unsigned long long)limit);
    size_t pairs = count_pairs(request);
    if (pairs > 0)
        add_pairs(call, pairs, upload);
    return 0;
}

static bool is_to_compress(const struct blob_upload *upload)
{
    const struct needle *needle = &upload->needle;
    if (upload->is_gzip_given || upload->is_replicate || needle->data.len == 0)
        return false;
    return mime_is_compressible(upload->type, needle->name, needle->data);
}

/* One that the client compressed stays as it is, like with the peer. */
static bool may_be_turned(const struct blob_upload *upload)
{
    const struct needle *needle = &upload->needle;
    return upload->turns_upright && !upload->is_gzip_given &&
           !(needle->flags & NEEDLE_IS_CHUNK_MANIFEST) &&
           (slice_equals(needle->mime, SLICE("image/jpeg")) ||
            image_format_of(blob_path_extension(needle->name)) == IMAGE_JPEG);
}

bool blob_upload_is_slow(const struct blob_upload *upload)
{
    size_t size = upload->needle.data.len;
    if (may_be_turned(upload))
        return true;
    if (size <= FAST_BYTES && !upload->is_gzip_given)
        return false;
    return size > FAST_CRC_BYTES || upload->is_gzip_given || upload->content_md5.len > 0 ||
           is_to_compress(upload);
}

static int check_md5(const struct blob_upload *upload, struct slice plain, struct error *err)
{
    char got[MD5_BASE64_SIZE];
    if (upload->content_md5.len == 0)
        return 0;
    md5_base64(plain, got);
    if (slice_equals(upload->content_md5, slice_cstr(got)))
        return 0;
    return error_set(err, KELP_E_INVALID,
                     "Content-MD5 did not match md5 of file data expected [%.*s] received [%s] "
                     "size %zu",
                     (int)(upload->content_md5.len < 128 ? upload->content_md5.len : 128),
                     upload->content_md5.ptr, got, plain.len);
}

/* Data that the client compressed: its length and MD5 are those of what is inside. */
static int digest_given_gzip(struct blob_upload *upload, struct error *err)
{
    struct slice data = upload->needle.data;
    upload->needle.flags |= NEEDLE_IS_GZIP;
    upload->original_size = data.len;
    if (upload->content_md5.len == 0) {
        uint64_t size;
        if (gzip_measure(data, UNPACKED_MAX, &size, NULL) == 0)
            upload->original_size = size;
        return 0;
    }
    char *plain = NULL;
    size_t size = 0;
    int code = gzip_decompress(data, UNPACKED_MAX, &plain, &size, NULL);
    if (code == 0)
        upload->original_size = size;
    code = check_md5(upload, code == 0 ? slice_of(plain, size) : data, err);
    free(plain);
    return code;
}

static int digest_plain(struct blob_upload *upload, struct error *err)
{
    struct slice data = upload->needle.data;
    upload->original_size = data.len;
    int code = check_md5(upload, data, err);
    if (code != 0 || !is_to_compress(upload))
        return code;
    char *packed;
    size_t size;
    /* Without memory for it, it is stored as it came. */
    if (gzip_compress(data, &packed, &size, NULL) != 0)
        return 0;
    if (size * 10 < data.len * 9) {
        upload->packed = packed;
        upload->needle.data = slice_of(packed, size);
        upload->needle.flags |= NEEDLE_IS_GZIP;
    } else {
        free(packed);
    }
    return 0;
}

static void turn(struct blob_upload *upload)
{
    size_t size;
    if ((upload->needle.flags & NEEDLE_IS_GZIP) ||
        !image_service_turn_upright(upload->turns_upright, upload->needle.data, &upload->packed,
                                    &size))
        return;
    upload->needle.data = slice_of(upload->packed, size);
    upload->is_turned = true;
}

int blob_upload_digest(struct blob_upload *upload, struct error *err)
{
    int code = upload->is_gzip_given ? digest_given_gzip(upload, err) : digest_plain(upload, err);
    if (code == 0 && may_be_turned(upload))
        turn(upload);
    if (code == 0)
        upload->needle.checksum = crc32c(0, upload->needle.data.ptr, upload->needle.data.len);
    return code;
}

void blob_upload_fini(struct blob_upload *upload)
{
    free(upload->packed);
    upload->packed = NULL;
}
