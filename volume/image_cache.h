/* Pictures that have been made, the ones asked for last, bounded by their bytes.
 *
 * The key holds all that a picture depends on, so that one of a blob that has changed is never
 * found again; image_cache_forget lets go of its memory, too. Whoever finds an entry holds it
 * until he lets go, also when it has left the cache meanwhile. Any thread; one short lock. */
#pragma once

#include "volume/image_plan.h"

struct image_key {
    uint64_t needle;
    uint32_t volume_id, cookie;
    uint64_t last_modified;
    uint32_t checksum, is_assembled; /* from the chunks of a manifest */
    uint64_t source_size;
    struct image_request request; /* settled */
};

/* Compared as bytes: there is no room between the members. */
_Static_assert(sizeof(struct image_key) == 40 + sizeof(struct image_request) &&
                   sizeof(struct image_request) == 32,
               "a key without padding");

struct image_entry {
    const char *bytes;
    size_t size; /* 0: the picture stays as it is */
};

struct image_cache;

struct image_cache *image_cache_create(size_t limit_bytes);
/* Entries that are held live on. NULL is fine. */
void image_cache_destroy(struct image_cache *cache);

/* NULL: not there. */
const struct image_entry *image_cache_find(struct image_cache *cache, const struct image_key *key);
/* Takes the malloc'd bytes (NULL with size 0), and keeps them unless they are too many; the entry
 * is the caller's to release. Where the key is there already, its entry is replaced. */
const struct image_entry *image_cache_add(struct image_cache *cache, const struct image_key *key,
                                          char *bytes, size_t size);
void image_entry_release(const struct image_entry *entry); /* NULL is fine */

/* Drops what was made of this blob; next to nothing when the cache is empty. */
void image_cache_forget(struct image_cache *cache, uint32_t volume_id, uint64_t needle);

struct image_cache_facts {
    uint64_t bytes, entries;
};
void image_cache_look(struct image_cache *cache, struct image_cache_facts *ret);
