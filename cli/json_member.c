/* Thin over json-c. */
#include "cli/json_member.h"

struct json_object *json_member(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(object, key, &value);
    return value;
}

uint64_t json_number(struct json_object *object, const char *key)
{
    return json_object_get_uint64(json_member(object, key));
}

const char *json_text(struct json_object *object, const char *key)
{
    const char *value = json_object_get_string(json_member(object, key));
    return value ? value : "";
}
