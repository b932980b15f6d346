/* Two tables: of entries by key, of blobs by id; a blob heads the list of its entries. The table
 * of entries keeps their order, oldest first, as finding one puts it last again. */
#include "volume/image_cache.h"

#include "common/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>
#include <utlist.h>

/* What an entry costs beside its bytes, near enough. */
#define ENTRY_OVERHEAD 512u
/* One picture must not drive all others out. */
#define SHARE 8u

struct blob_id {
    uint64_t needle, volume_id;
};

struct cached_blob {
    struct blob_id id;
    struct cached_entry *entries;
    UT_hash_handle hh;
};

struct cached_entry {
    struct image_entry entry; /* first: callers hold this */
    char *bytes;
    atomic_uint holders;
    struct image_key key;
    struct cached_blob *blob;
    struct cached_entry *prev, *next; /* of the blob */
    UT_hash_handle hh;
};

struct image_cache {
    pthread_mutex_t lock;
    size_t limit_bytes, bytes;
    struct cached_entry *entries;
    struct cached_blob *blobs;
    atomic_size_t count;
};

struct image_cache *image_cache_create(size_t limit_bytes)
{
    struct image_cache *cache = must(calloc(1, sizeof(*cache)));
    pthread_mutex_init(&cache->lock, NULL);
    cache->limit_bytes = limit_bytes;
    return cache;
}

static size_t cost_of(const struct cached_entry *entry)
{
    return entry->entry.size + ENTRY_OVERHEAD;
}

void image_entry_release(const struct image_entry *held)
{
    struct cached_entry *entry = (struct cached_entry *)(uintptr_t)held;
    if (!entry || atomic_fetch_sub(&entry->holders, 1) != 1)
        return;
    free(entry->bytes);
    free(entry);
}

/* ---- under the lock ---- */

static struct cached_blob *find_blob(struct image_cache *cache, uint32_t volume_id, uint64_t needle)
{
    struct blob_id id = {needle, volume_id};
    struct cached_blob *blob;
    HASH_FIND(hh, cache->blobs, &id, sizeof(id), blob);
    return blob;
}

static void drop(struct image_cache *cache, struct cached_entry *entry)
{
    struct cached_blob *blob = entry->blob;
    HASH_DEL(cache->entries, entry);
    DL_DELETE(blob->entries, entry);
    if (!blob->entries) {
        HASH_DEL(cache->blobs, blob);
        free(blob);
    }
    cache->bytes -= cost_of(entry);
    atomic_fetch_sub(&cache->count, 1);
    image_entry_release(&entry->entry);
}

static struct cached_entry *find_entry(struct image_cache *cache, const struct image_key *key)
{
    struct cached_entry *entry;
    HASH_FIND(hh, cache->entries, key, sizeof(*key), entry);
    return entry;
}

static bool is_same_content(const struct image_key *a, const struct image_key *b)
{
    return a->cookie == b->cookie && a->last_modified == b->last_modified &&
           a->checksum == b->checksum && a->source_size == b->source_size;
}

static void keep(struct image_cache *cache, struct cached_entry *entry)
{
    const struct image_key *key = &entry->key;
    struct cached_blob *blob = find_blob(cache, key->volume_id, key->needle);
    if (!blob) {
        blob = must(calloc(1, sizeof(*blob)));
        blob->id = (struct blob_id){key->needle, key->volume_id};
        HASH_ADD(hh, cache->blobs, id, sizeof(blob->id), blob);
    }
    entry->blob = blob;
    DL_APPEND(blob->entries, entry);
    HASH_ADD(hh, cache->entries, key, sizeof(entry->key), entry);
    atomic_fetch_add(&entry->holders, 1);
    atomic_fetch_add(&cache->count, 1);
    cache->bytes += cost_of(entry);
    /* The blob has changed: nobody will ask for these again. */
    struct cached_entry *other, *next;
    DL_FOREACH_SAFE(blob->entries, other, next)
    {
        if (!is_same_content(&other->key, key))
            drop(cache, other);
    }
    while (cache->bytes > cache->limit_bytes)
        drop(cache, cache->entries);
}

/* ---- for callers ---- */

const struct image_entry *image_cache_find(struct image_cache *cache, const struct image_key *key)
{
    pthread_mutex_lock(&cache->lock);
    struct cached_entry *entry = find_entry(cache, key);
    if (entry) {
        HASH_DEL(cache->entries, entry);
        HASH_ADD(hh, cache->entries, key, sizeof(entry->key), entry);
        atomic_fetch_add(&entry->holders, 1);
    }
    pthread_mutex_unlock(&cache->lock);
    return entry ? &entry->entry : NULL;
}

const struct image_entry *image_cache_add(struct image_cache *cache, const struct image_key *key,
                                          char *bytes, size_t size)
{
    struct cached_entry *entry = must(calloc(1, sizeof(*entry)));
    entry->entry = (struct image_entry){bytes, size};
    entry->bytes = bytes;
    entry->key = *key;
    atomic_init(&entry->holders, 1);
    pthread_mutex_lock(&cache->lock);
    struct cached_entry *old = find_entry(cache, key);
    if (old)
        drop(cache, old);
    if (cost_of(entry) <= cache->limit_bytes / SHARE)
        keep(cache, entry);
    pthread_mutex_unlock(&cache->lock);
    return &entry->entry;
}

void image_cache_forget(struct image_cache *cache, uint32_t volume_id, uint64_t needle)
{
    if (atomic_load_explicit(&cache->count, memory_order_relaxed) == 0)
        return;
    pthread_mutex_lock(&cache->lock);
    struct cached_blob *blob = find_blob(cache, volume_id, needle);
    if (blob) {
        /* The blob goes with its last entry. */
        struct cached_entry *entry = blob->entries, *next;
        for (; entry; entry = next) {
            next = entry->next;
            drop(cache, entry);
        }
    }
    pthread_mutex_unlock(&cache->lock);
}

void image_cache_look(struct image_cache *cache, struct image_cache_facts *ret)
{
    pthread_mutex_lock(&cache->lock);
    *ret = (struct image_cache_facts){cache->bytes, atomic_load(&cache->count)};
    pthread_mutex_unlock(&cache->lock);
}

void image_cache_destroy(struct image_cache *cache)
{
    if (!cache)
        return;
    while (cache->entries)
        drop(cache, cache->entries);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}
