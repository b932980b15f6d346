/* Who has which number: the catalogue in memory, one entry in the database for each revision that is
 * kept, and the tenants. See index_store.h. */
#include "volume/storage/index/index_store_internal.h"

#include "common/bytes.h"
#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define VALUE_SIZE (4u + INDEX_MARK_SIZE)

size_t index_catalogue_key(char ret[INDEX_CATALOGUE_KEY_MAX], const char *collection,
                           uint32_t volume_id, uint16_t revision)
{
    size_t length = strlen(collection);
    CHECK(length <= INDEX_CATALOGUE_KEY_MAX - 10);
    store_be32(ret, 0);
    store_be32(ret + 4, volume_id);
    store_be16(ret + 8, revision);
    memcpy(ret + 10, collection, length);
    return 10 + length;
}

/* lock held. Makes it if it is not there. */
static struct index_volume *find_volume(struct index_store *store, const char *collection,
                                        size_t length, uint32_t id, bool makes_it)
{
    char key[INDEX_CATALOGUE_KEY_MAX];
    CHECK(length <= sizeof(key) - 4);
    store_be32(key, id);
    memcpy(key + 4, collection, length);
    struct index_volume *volume;
    HASH_FIND(hh, store->volumes, key, 4 + length, volume);
    if (volume || !makes_it)
        return volume;
    volume = must(calloc(1, sizeof(*volume) + 4 + length));
    volume->id = id;
    volume->key_size = 4 + length;
    memcpy(volume->key, key, volume->key_size);
    HASH_ADD_KEYPTR(hh, store->volumes, volume->key, volume->key_size, volume);
    return volume;
}

static struct index_kept **find_kept(struct index_volume *volume, uint16_t revision)
{
    struct index_kept **at = &volume->kept;
    while (*at && (*at)->revision != revision)
        at = &(*at)->next;
    return at;
}

bool index_store_has_tenant(struct index_store *store, uint32_t number)
{
    for (struct index_tenant *t = store->tenants; t; t = t->next)
        if (t->number == number)
            return true;
    return false;
}

static void drop_number(struct index_store *store, uint32_t number)
{
    if (number != 0 && !index_store_has_tenant(store, number))
        index_sweep_add(store, number);
}

void index_catalogue_set(struct index_store *store, const char *collection, uint32_t volume_id,
                         uint16_t revision, uint32_t number)
{
    struct index_volume *volume =
        find_volume(store, collection, strlen(collection), volume_id, number != 0);
    if (!volume)
        return;
    struct index_kept **at = find_kept(volume, revision), *kept = *at;
    uint32_t old = kept ? kept->number : 0;
    volume->is_used = true;
    if (number != 0 && !kept) {
        kept = *at = must(calloc(1, sizeof(*kept)));
        kept->revision = revision;
    }
    if (number != 0) {
        kept->number = number;
    } else if (kept) {
        *at = kept->next;
        free(kept);
    }
    if (old != number)
        drop_number(store, old);
}

/* ---- loading ---- */

static int load_entry(struct index_store *store, const char *key, size_t key_size, const char *value,
                      size_t value_size)
{
    if (key_size < 10 || key_size > INDEX_CATALOGUE_KEY_MAX || value_size != VALUE_SIZE)
        return KELP_E_CORRUPT;
    uint32_t number = load_be32(value);
    if (number == 0)
        return KELP_E_CORRUPT;
    struct index_volume *volume =
        find_volume(store, key + 10, key_size - 10, load_be32(key + 4), true);
    struct index_kept *kept = must(calloc(1, sizeof(*kept)));
    kept->revision = load_be16(key + 8);
    kept->number = number;
    kept->next = volume->kept;
    volume->kept = kept;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* The numbers that entries name, sorted. */
static uint32_t *list_numbers(struct index_store *store, size_t *ret_count)
{
    size_t count = 0;
    for (struct index_volume *v = store->volumes; v; v = v->hh.next)
        for (struct index_kept *k = v->kept; k; k = k->next)
            count++;
    uint32_t *numbers = must(malloc((count + 1) * sizeof(*numbers)));
    *ret_count = 0;
    for (struct index_volume *v = store->volumes; v; v = v->hh.next)
        for (struct index_kept *k = v->kept; k; k = k->next)
            numbers[(*ret_count)++] = k->number;
    qsort(numbers, *ret_count, sizeof(*numbers), compare_numbers);
    return numbers;
}

/* Goes from number to number, not from row to row. */
static int find_rubbish(struct index_store *store, leveldb_iterator_t *it)
{
    size_t count, key_size;
    uint32_t *numbers = list_numbers(store, &count);
    char from[4];
    int code = 0;
    if (count > 0)
        store->next_number = numbers[count - 1] + 1;
    store_be32(from, 1);
    for (leveldb_iter_seek(it, from, 4); leveldb_iter_valid(it); leveldb_iter_seek(it, from, 4)) {
        const char *key = leveldb_iter_key(it, &key_size);
        if (key_size != INDEX_ROW_KEY_SIZE || load_be32(key) == UINT32_MAX) {
            code = KELP_E_CORRUPT;
            break;
        }
        uint32_t number = load_be32(key);
        if (number >= store->next_number)
            store->next_number = number + 1;
        if (!bsearch(&number, numbers, count, sizeof(*numbers), compare_numbers))
            index_sweep_add(store, number);
        store_be32(from, number + 1);
    }
    free(numbers);
    return code;
}

int index_catalogue_load(struct index_store *store, struct error *err)
{
    char zero[4] = {0};
    char *message = NULL;
    size_t key_size, value_size;
    int code = 0;
    leveldb_iterator_t *it = leveldb_create_iterator(store->db, store->walk);
    for (leveldb_iter_seek(it, zero, 4); code == 0 && leveldb_iter_valid(it); leveldb_iter_next(it)) {
        const char *key = leveldb_iter_key(it, &key_size);
        const char *value = leveldb_iter_value(it, &value_size);
        if (key_size < 4 || load_be32(key) != 0)
            break;
        code = load_entry(store, key, key_size, value, value_size);
    }
    if (code == 0)
        code = find_rubbish(store, it);
    leveldb_iter_get_error(it, &message);
    leveldb_iter_destroy(it);
    if (code != 0)
        error_set(err, code, "what is in it is not ours");
    if (message) {
        code = error_set(err, KELP_E_CORRUPT, "%s", message);
        leveldb_free(message);
    }
    return code;
}

void index_catalogue_free(struct index_store *store)
{
    struct index_volume *volume, *next;
    HASH_ITER(hh, store->volumes, volume, next) {
        HASH_DEL(store->volumes, volume);
        while (volume->kept) {
            struct index_kept *kept = volume->kept;
            volume->kept = kept->next;
            free(kept);
        }
        free(volume);
    }
    store->rubbish_count = 0;
    store->next_number = 1;
}

/* ---- tenants ---- */

void index_store_join(struct index_store *store, struct index_tenant *tenant,
                      const char *collection, uint32_t volume_id, uint16_t revision)
{
    *tenant = (struct index_tenant){
        .store = store,
        .collection = must(strdup(collection ? collection : "")),
        .volume_id = volume_id,
        .revision = revision,
    };
    pthread_mutex_lock(&store->lock);
    find_volume(store, tenant->collection, strlen(tenant->collection), volume_id, true)->is_used = true;
    tenant->next = store->tenants;
    if (tenant->next)
        tenant->next->previous = tenant;
    store->tenants = tenant;
    pthread_mutex_unlock(&store->lock);
}

/* lock held. Takes the entry out of the database; fails silently: what it leaves behind is a mark that is
 * held against an .idx before anybody believes it. */
static void delete_entry(struct index_store *store, const char *collection, uint32_t volume_id,
                         uint16_t revision)
{
    char key[INDEX_CATALOGUE_KEY_MAX];
    char *message = NULL;
    size_t size = index_catalogue_key(key, collection, volume_id, revision);
    leveldb_delete(store->db, store->write, key, size, &message);
    leveldb_free(message);
    index_catalogue_set(store, collection, volume_id, revision, 0);
}

static uint32_t listed_number(struct index_store *store, const struct index_tenant *tenant)
{
    struct index_volume *volume = find_volume(store, tenant->collection, strlen(tenant->collection),
                                              tenant->volume_id, false);
    struct index_kept *kept = volume ? *find_kept(volume, tenant->revision) : NULL;
    return kept ? kept->number : 0;
}

static void unlink_tenant(struct index_tenant *tenant)
{
    struct index_store *store = tenant->store;
    if (tenant->next)
        tenant->next->previous = tenant->previous;
    if (tenant->previous)
        tenant->previous->next = tenant->next;
    else
        store->tenants = tenant->next;
}

/* lock held. What the tenant has stored is no longer of use to anybody. */
static void drop_stored(struct index_tenant *tenant)
{
    struct index_store *store = tenant->store;
    uint32_t number = tenant->number;
    tenant->number = 0;
    tenant->is_listed = false;
    if (number == 0)
        return;
    if (listed_number(store, tenant) == number)
        delete_entry(store, tenant->collection, tenant->volume_id, tenant->revision);
    else
        drop_number(store, number);
}

void index_store_leave(struct index_tenant *tenant)
{
    struct index_store *store = tenant->store;
    pthread_mutex_lock(&store->lock);
    unlink_tenant(tenant);
    if (tenant->is_retired || listed_number(store, tenant) != tenant->number)
        drop_stored(tenant);
    pthread_cond_broadcast(&store->changed);
    free(tenant->collection);
    pthread_mutex_unlock(&store->lock);
}

void index_store_retire(struct index_tenant *tenant)
{
    pthread_mutex_lock(&tenant->store->lock);
    tenant->is_retired = true;
    pthread_mutex_unlock(&tenant->store->lock);
}

/* lock held. What is kept of other revisions, and is not in use. */
static void drop_other_revisions(struct index_store *store, const struct index_tenant *tenant)
{
    struct index_volume *volume = find_volume(store, tenant->collection, strlen(tenant->collection),
                                              tenant->volume_id, false);
    struct index_kept *next;
    for (struct index_kept *kept = volume ? volume->kept : NULL; kept; kept = next) {
        next = kept->next;
        if (kept->revision != tenant->revision && !index_store_has_tenant(store, kept->number))
            delete_entry(store, tenant->collection, tenant->volume_id, kept->revision);
    }
}

static int read_mark(struct index_tenant *tenant, uint32_t number, struct index_mark *ret,
                     struct error *err)
{
    struct index_store *store = tenant->store;
    char key[INDEX_CATALOGUE_KEY_MAX];
    char *message = NULL;
    size_t value_size = 0;
    size_t size =
        index_catalogue_key(key, tenant->collection, tenant->volume_id, tenant->revision);
    char *value = leveldb_get(store->db, store->read, key, size, &value_size, &message);
    int code = index_store_check(store, message, "read a mark of", err);
    if (code == 0 && (!value || value_size != VALUE_SIZE || load_be32(value) != number ||
                      index_mark_load((const uint8_t *)value + 4, ret, NULL) != 0))
        code = error_set(err, KELP_E_NOT_FOUND, "there is no mark");
    leveldb_free(value);
    return code;
}

int index_store_attach(struct index_tenant *tenant, struct index_mark *ret, struct error *err)
{
    struct index_store *store = tenant->store;
    struct index_mark mark;
    CHECK(tenant->number == 0);
    pthread_mutex_lock(&store->lock);
    drop_other_revisions(store, tenant);
    uint32_t number = listed_number(store, tenant);
    int code = 0;
    if (number == 0 || index_store_has_tenant(store, number))
        code = error_set(err, KELP_E_NOT_FOUND, "nothing is kept of this volume");
    else
        code = read_mark(tenant, number, &mark, err);
    if (code == 0) {
        tenant->number = number;
        tenant->is_listed = true;
    }
    pthread_mutex_unlock(&store->lock);
    if (code == 0)
        *ret = mark;
    return code;
}

int index_store_detach(struct index_tenant *tenant, struct error *err)
{
    pthread_mutex_lock(&tenant->store->lock);
    drop_stored(tenant);
    pthread_mutex_unlock(&tenant->store->lock);
    return 0;
}

/* lock held */
static void forget_volume(struct index_store *store, struct index_volume *volume)
{
    char collection[INDEX_CATALOGUE_KEY_MAX];
    size_t length = volume->key_size - 4;
    memcpy(collection, volume->key + 4, length);
    collection[length] = '\0';
    for (struct index_tenant *t = store->tenants; t; t = t->next)
        if (t->volume_id == volume->id && strcmp(t->collection, collection) == 0)
            t->is_retired = true;
    while (volume->kept)
        delete_entry(store, collection, volume->id, volume->kept->revision);
}

void index_store_forget(struct index_store *store, const char *collection, uint32_t volume_id)
{
    pthread_mutex_lock(&store->lock);
    struct index_volume *volume =
        find_volume(store, collection, strlen(collection), volume_id, false);
    if (volume) {
        forget_volume(store, volume);
        HASH_DEL(store->volumes, volume);
        free(volume);
    }
    pthread_mutex_unlock(&store->lock);
}

void index_store_forget_unused(struct index_store *store)
{
    struct index_volume *volume, *next;
    pthread_mutex_lock(&store->lock);
    HASH_ITER(hh, store->volumes, volume, next) {
        if (volume->is_used)
            continue;
        forget_volume(store, volume);
        HASH_DEL(store->volumes, volume);
        free(volume);
    }
    pthread_mutex_unlock(&store->lock);
}
