/* Members of a JSON object by name. What is absent, or in an object that is NULL, is NULL, 0, "".
 * Any thread. */
#pragma once

#include <json-c/json.h>

/* Both are borrowed from the object. */
struct json_object *json_member(struct json_object *object, const char *key);
const char *json_text(struct json_object *object, const char *key);
uint64_t json_number(struct json_object *object, const char *key);
