/* Members that are missing count as empty; those that are not known are skipped. Chunks may
 * stand in any order. */
#include "volume/blob_manifest.h"

#include "common/file_id.h"

#include <json-c/json.h>
#include <stdlib.h>

static int read_text(json_object *object, const char *key, struct arena *arena, struct slice *ret,
                     struct error *err)
{
    json_object *member;
    *ret = (struct slice){"", 0};
    if (!json_object_object_get_ex(object, key, &member) || !member)
        return 0;
    if (!json_object_is_type(member, json_type_string))
        return error_set(err, KELP_E_INVALID, "chunk manifest: \"%s\" is not a string", key);
    *ret = arena_slice(arena, slice_of(json_object_get_string(member),
                                       (size_t)json_object_get_string_len(member)));
    return 0;
}

static int read_number(json_object *object, const char *key, uint64_t *ret, struct error *err)
{
    json_object *member;
    *ret = 0;
    if (!json_object_object_get_ex(object, key, &member) || !member)
        return 0;
    if (!json_object_is_type(member, json_type_int) || json_object_get_int64(member) < 0)
        return error_set(err, KELP_E_INVALID, "chunk manifest: \"%s\" is not a number", key);
    *ret = json_object_get_uint64(member);
    return 0;
}

static int read_chunk(json_object *object, struct arena *arena, struct blob_chunk *ret,
                      struct error *err)
{
    struct file_id id;
    if (!json_object_is_type(object, json_type_object))
        return error_set(err, KELP_E_INVALID, "chunk manifest: a chunk is not an object");
    int code = read_text(object, "fid", arena, &ret->fid, err);
    if (code == 0)
        code = read_number(object, "offset", &ret->offset, err);
    if (code == 0)
        code = read_number(object, "size", &ret->size, err);
    if (code == 0)
        code = file_id_parse(ret->fid, &id, err);
    if (code == 0)
        ret->volume_id = id.volume_id;
    return code;
}

static int compare_chunks(const void *a, const void *b)
{
    const struct blob_chunk *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static int read_chunks(json_object *object, struct arena *arena, struct blob_manifest *manifest,
                       struct error *err)
{
    json_object *list;
    if (!json_object_object_get_ex(object, "chunks", &list) || !list)
        return 0;
    if (!json_object_is_type(list, json_type_array))
        return error_set(err, KELP_E_INVALID, "chunk manifest: \"chunks\" is not a list");
    manifest->count = json_object_array_length(list);
    manifest->chunks = arena_calloc(arena, (manifest->count + 1) * sizeof(*manifest->chunks));
    for (size_t i = 0; i < manifest->count; i++) {
        struct blob_chunk *chunk = &manifest->chunks[i];
        int code = read_chunk(json_object_array_get_idx(list, i), arena, chunk, err);
        if (code != 0)
            return code;
        if (chunk->size > INT64_MAX - manifest->total)
            return error_set(err, KELP_E_INVALID, "chunk manifest: the chunks' sizes overflow");
        manifest->total += chunk->size;
    }
    if (manifest->count > 0)
        qsort(manifest->chunks, manifest->count, sizeof(*manifest->chunks), compare_chunks);
    return 0;
}

int blob_manifest_parse(struct arena *arena, struct slice json, struct blob_manifest *ret,
                        struct error *err)
{
    struct blob_manifest manifest = {0};
    struct json_tokener *tokener = json_tokener_new();
    if (!tokener || json.len > INT32_MAX) {
        json_tokener_free(tokener);
        return error_set(err, KELP_E_NO_MEMORY, "chunk manifest: out of memory");
    }
    json_object *object = json_tokener_parse_ex(tokener, json.ptr, (int)json.len);
    enum json_tokener_error outcome = json_tokener_get_error(tokener);
    json_tokener_free(tokener);
    int code;
    if (!json_object_is_type(object, json_type_object))
        code = error_set(err, KELP_E_INVALID, "chunk manifest: %s",
                         object ? "not an object" : json_tokener_error_desc(outcome));
    else
        code = read_text(object, "name", arena, &manifest.name, err);
    if (code == 0)
        code = read_text(object, "mime", arena, &manifest.mime, err);
    if (code == 0)
        code = read_number(object, "size", &manifest.size, err);
    if (code == 0)
        code = read_chunks(object, arena, &manifest, err);
    json_object_put(object);
    if (code == 0)
        *ret = manifest;
    return code;
}
