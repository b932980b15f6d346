/* Interned names: one copy of each text, so that equal names are equal pointers. Collections, disk types,
 * storage tiers, data centers and racks repeat over a million records; a pointer costs eight bytes.
 * Names live until the pool ends: they are few, and a pointer kept somewhere never dangles.
 * One thread at a time. */
#pragma once

struct name;

struct name_pool {
    struct name *names; /* hash by text */
};

void name_pool_init(struct name_pool *pool);
void name_pool_fini(struct name_pool *pool);
const char *name_pool_intern(struct name_pool *pool, const char *text); /* NULL reads as "" */
/* NULL when it was never interned. */
const char *name_pool_find(const struct name_pool *pool, const char *text);
