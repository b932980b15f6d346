/* A hash of texts; see the header. */
#include "master/name_pool.h"

#include "common/check.h"

#include <string.h>
#include <uthash.h>

struct name {
    UT_hash_handle hh;
    char text[];
};

void name_pool_init(struct name_pool *pool) { pool->names = NULL; }

void name_pool_fini(struct name_pool *pool)
{
    struct name *name, *next;
    HASH_ITER (hh, pool->names, name, next) {
        HASH_DEL(pool->names, name);
        free(name);
    }
}

const char *name_pool_find(const struct name_pool *pool, const char *text)
{
    struct name *name;
    if (!text)
        text = "";
    HASH_FIND_STR(pool->names, text, name);
    return name ? name->text : NULL;
}

const char *name_pool_intern(struct name_pool *pool, const char *text)
{
    if (!text)
        text = "";
    const char *known = name_pool_find(pool, text);
    if (known)
        return known;
    size_t length = strlen(text);
    struct name *name = must(malloc(sizeof(*name) + length + 1));
    memcpy(name->text, text, length + 1);
    HASH_ADD_STR(pool->names, text, name);
    return name->text;
}
