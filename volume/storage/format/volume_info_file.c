/* Reading and writing .vif documents. See the header. May block.
 *
 * The peer rejects a document with a key that it does not know, so none of our own may ever be written. It
 * replaces the file in place; we rename a finished one over it. */
#include "volume/storage/format/volume_info_file.h"

#include "common/buffer.h"
#include "common/check.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DOCUMENT_MAX (1u << 20)

void volume_info_fini(struct volume_info *info)
{
    for (size_t i = 0; i < info->file_count; i++) {
        free(info->files[i].backend_type);
        free(info->files[i].backend_id);
        free(info->files[i].key);
        free(info->files[i].extension);
        free(info->files[i].foreign);
    }
    free(info->files);
    free(info->foreign);
    *info = (struct volume_info){0};
}

/* A member under any of its spellings; NULL when absent or null. */
static struct json_object *member(struct json_object *object, const char *camel, const char *other)
{
    struct json_object *value = NULL;
    if (!json_object_object_get_ex(object, camel, &value) && other)
        json_object_object_get_ex(object, other, &value);
    return value;
}

/* The peer prints 64-bit numbers as strings; both forms are taken. */
static int number(struct json_object *object, const char *camel, const char *other, uint64_t *ret,
                  struct error *err)
{
    struct json_object *value = member(object, camel, other);
    if (!value)
        return 0;
    if (json_object_is_type(value, json_type_int)) {
        *ret = json_object_get_int64(value) < 0 ? (uint64_t)json_object_get_int64(value)
                                                : json_object_get_uint64(value);
        return 0;
    }
    if (json_object_is_type(value, json_type_string)) {
        const char *text = json_object_get_string(value);
        char *end;
        errno = 0;
        uint64_t n = text[0] == '-' ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
        if (errno == 0 && end != text && *end == '\0') {
            *ret = n;
            return 0;
        }
    }
    return error_set(err, KELP_E_CORRUPT, "%s is not a number", camel);
}

static bool boolean(struct json_object *object, const char *camel, const char *other)
{
    struct json_object *value = member(object, camel, other);
    return value && json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

static char *text(struct json_object *object, const char *camel, const char *other)
{
    struct json_object *value = member(object, camel, other);
    bool is_text = value && json_object_is_type(value, json_type_string);
    return must(strdup(is_text ? json_object_get_string(value) : ""));
}

/* Each key in both spellings; then those of the legacy shape. */
static const char *const root_keys[] = {
    "files", "version", "replication", "bytesOffset", "bytes_offset", "datFileSize", "dat_file_size",
    "expireAtSec", "expire_at_sec", "readOnly", "read_only", "ecShardConfig", "ec_shard_config",
    "readOnlyCanDelete", "read_only_can_delete", "BytesOffset", "DestroyTime", NULL,
};
static const char *const file_keys[] = {
    "backendType", "backend_type", "backendId", "backend_id", "key", "offset", "fileSize",
    "file_size", "modifiedTime", "modified_time", "extension", NULL,
};

/* The members whose names are in no list, each as `"name": value`, with commas between. */
static char *foreign_members(struct json_object *object, const char *const *known)
{
    struct buffer members = BUFFER_INIT;
    json_object_object_foreach(object, name, value) {
        size_t i = 0;
        while (known[i] && strcmp(known[i], name) != 0)
            i++;
        if (known[i])
            continue;
        struct json_object *quoted = must(json_object_new_string(name));
        const int plain = JSON_C_TO_STRING_NOSLASHESCAPE;
        buffer_printf(&members, "%s%s: ", members.length ? ", " : "",
                      json_object_to_json_string_ext(quoted, plain));
        buffer_append_text(&members, json_object_to_json_string_ext(value, plain));
        json_object_put(quoted);
    }
    char *text = members.length ? must(strdup(buffer_cstr(&members))) : NULL;
    buffer_fini(&members);
    return text;
}

static int parse_files(struct json_object *root, struct volume_info *info, struct error *err)
{
    struct json_object *list = member(root, "files", NULL);
    if (!list)
        return 0;
    if (!json_object_is_type(list, json_type_array))
        return error_set(err, KELP_E_CORRUPT, "files is not a list");
    size_t count = json_object_array_length(list);
    info->files = must(calloc(count ? count : 1, sizeof(*info->files)));
    for (size_t i = 0; i < count; i++) {
        struct json_object *item = json_object_array_get_idx(list, i);
        if (!json_object_is_type(item, json_type_object))
            return error_set(err, KELP_E_CORRUPT, "an element of files is not an object");
        struct volume_info_remote *file = &info->files[info->file_count++];
        file->backend_type = text(item, "backendType", "backend_type");
        file->backend_id = text(item, "backendId", "backend_id");
        file->key = text(item, "key", NULL);
        file->extension = text(item, "extension", NULL);
        file->foreign = foreign_members(item, file_keys);
        int code = number(item, "offset", NULL, &file->offset, err);
        if (code == 0)
            code = number(item, "fileSize", "file_size", &file->file_size, err);
        if (code == 0)
            code = number(item, "modifiedTime", "modified_time", &file->modified_time, err);
        if (code != 0)
            return code;
    }
    return 0;
}

static int parse_ec(struct json_object *root, struct volume_info *info, struct error *err)
{
    struct json_object *config = member(root, "ecShardConfig", "ec_shard_config");
    if (!config || !json_object_is_type(config, json_type_object))
        return 0;
    uint64_t data = 0, parity = 0, encoded = 0;
    int code = number(config, "dataShards", "data_shards", &data, err);
    if (code == 0)
        code = number(config, "parityShards", "parity_shards", &parity, err);
    if (code == 0)
        code = number(config, "encodeTsNs", "encode_ts_ns", &encoded, err);
    if (code != 0)
        return code;
    info->has_ec = true;
    info->ec_data_shards = (uint32_t)data;
    info->ec_parity_shards = (uint32_t)parity;
    info->ec_encoded_at_ns = (int64_t)encoded;
    return 0;
}

static int parse_root(struct json_object *root, struct volume_info *info, struct error *err)
{
    uint64_t version = 0, bytes_offset = 0;
    int code = parse_files(root, info, err);
    if (code == 0)
        code = number(root, "version", NULL, &version, err);
    if (code == 0) /* the legacy shape: BytesOffset, DestroyTime */
        code = number(root, "BytesOffset", NULL, &bytes_offset, err);
    if (code == 0)
        code = number(root, "bytesOffset", "bytes_offset", &bytes_offset, err);
    if (code == 0)
        code = number(root, "datFileSize", "dat_file_size", &info->dat_file_size, err);
    if (code == 0)
        code = number(root, "DestroyTime", NULL, &info->expire_at_second, err);
    if (code == 0)
        code = number(root, "expireAtSec", "expire_at_sec", &info->expire_at_second, err);
    if (code == 0)
        code = parse_ec(root, info, err);
    if (code != 0)
        return code;
    struct json_object *replication = member(root, "replication", NULL);
    if (replication && json_object_is_type(replication, json_type_string)) {
        const char *digits = json_object_get_string(replication);
        size_t length = strlen(digits);
        if (length > 3 || strspn(digits, "0123456789") != length)
            return error_set(err, KELP_E_CORRUPT, "replication \"%.16s\" is not three digits", digits);
        memcpy(info->replication, digits, length + 1);
    }
    if (bytes_offset != 0 && bytes_offset != 4 && bytes_offset != 5)
        return error_set(err, KELP_E_CORRUPT, "bytesOffset is %" PRIu64 ", not 4 or 5", bytes_offset);
    info->version = (uint32_t)version;
    info->bytes_offset = (uint32_t)bytes_offset;
    info->is_read_only = boolean(root, "readOnly", "read_only");
    info->can_delete = boolean(root, "readOnlyCanDelete", "read_only_can_delete");
    info->foreign = foreign_members(root, root_keys);
    return 0;
}

int volume_info_file_load(struct os *os, const char *path, struct volume_info *ret,
                          struct error *err)
{
    char *data;
    size_t size;
    int code = os_read_file(os, path, DOCUMENT_MAX, &data, &size, err);
    if (code == KELP_E_TOO_LARGE)
        return error_set(err, KELP_E_CORRUPT, "%s is too large for a volume info", path);
    if (code != 0)
        return code;
    if (size == 0) {
        free(data);
        return error_set(err, KELP_E_NOT_FOUND, "%s is empty", path);
    }
    struct volume_info info = {0};
    size_t end = size;
    while (end > 0 && strchr(" \t\r\n", data[end - 1]))
        end--;
    /* Strict as the peer is, and a number like 01e would not come out as it went in. */
    struct json_tokener *tokener = must(json_tokener_new());
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *root = json_tokener_parse_ex(tokener, data, (int)end);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        !json_object_is_type(root, json_type_object)) {
        code = error_set(err, KELP_E_CORRUPT, "%s is not a JSON object", path);
    } else {
        code = parse_root(root, &info, err);
        if (code != 0)
            error_prefix(err, "%s", path);
    }
    json_object_put(root);
    json_tokener_free(tokener);
    free(data);
    if (code != 0) {
        volume_info_fini(&info);
        return code;
    }
    *ret = info;
    return 0;
}

/* ---- writing ---- */

static void append_quoted(struct buffer *b, const char *name, const char *value)
{
    struct json_object *string = must(json_object_new_string(value));
    buffer_printf(b, "      \"%s\": %s,\n", name,
                  json_object_to_json_string_ext(string, JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(string);
}

static void append_files(struct buffer *b, const struct volume_info *info)
{
    if (info->file_count == 0) {
        buffer_append_text(b, "  \"files\": [],\n");
        return;
    }
    buffer_append_text(b, "  \"files\": [\n");
    for (size_t i = 0; i < info->file_count; i++) {
        const struct volume_info_remote *file = &info->files[i];
        buffer_append_text(b, "    {\n");
        append_quoted(b, "backendType", file->backend_type);
        append_quoted(b, "backendId", file->backend_id);
        append_quoted(b, "key", file->key);
        buffer_printf(b, "      \"offset\": \"%" PRIu64 "\",\n", file->offset);
        buffer_printf(b, "      \"fileSize\": \"%" PRIu64 "\",\n", file->file_size);
        buffer_printf(b, "      \"modifiedTime\": \"%" PRIu64 "\",\n", file->modified_time);
        append_quoted(b, "extension", file->extension);
        if (file->foreign)
            buffer_printf(b, "      %s", file->foreign);
        else
            b->length -= 2; /* no comma after the last member */
        buffer_printf(b, "\n    }%s\n", i + 1 < info->file_count ? "," : "");
    }
    buffer_append_text(b, "  ],\n");
}

static void format_info(struct buffer *b, const struct volume_info *info)
{
    buffer_append_text(b, "{\n");
    append_files(b, info);
    buffer_printf(b, "  \"version\": %" PRIu32 ",\n", info->version);
    buffer_printf(b, "  \"replication\": \"%s\",\n", info->replication);
    buffer_printf(b, "  \"bytesOffset\": %" PRIu32 ",\n", info->bytes_offset);
    buffer_printf(b, "  \"datFileSize\": \"%" PRIu64 "\",\n", info->dat_file_size);
    buffer_printf(b, "  \"expireAtSec\": \"%" PRIu64 "\",\n", info->expire_at_second);
    buffer_printf(b, "  \"readOnly\": %s,\n", info->is_read_only ? "true" : "false");
    if (info->has_ec)
        buffer_printf(b,
                      "  \"ecShardConfig\": {\n    \"dataShards\": %" PRIu32
                      ",\n    \"parityShards\": %" PRIu32 ",\n    \"encodeTsNs\": \"%" PRId64
                      "\"\n  },\n",
                      info->ec_data_shards, info->ec_parity_shards, info->ec_encoded_at_ns);
    else
        buffer_append_text(b, "  \"ecShardConfig\": null,\n");
    buffer_printf(b, "  \"readOnlyCanDelete\": %s", info->can_delete ? "true" : "false");
    if (info->foreign)
        buffer_printf(b, ",\n  %s", info->foreign);
    buffer_append_text(b, "\n}");
}

int volume_info_file_save(struct os *os, const char *path, const struct volume_info *info,
                          struct error *err)
{
    struct os_stat st;
    if (os_stat(os, path, &st) >= 0 && !(st.mode & S_IWUSR))
        return error_set(err, KELP_E_DENIED, "%s is not writable: chmod u+w it", path);
    struct buffer document = BUFFER_INIT;
    format_info(&document, info);
    int code = os_replace_file(os, path, document.data, document.length, err);
    buffer_fini(&document);
    return code;
}
