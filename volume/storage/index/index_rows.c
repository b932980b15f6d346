/* Writing and reading the rows of one number. See index_store.h. */
#include "volume/storage/index/index_store_internal.h"

#include "common/bytes.h"
#include "common/check.h"

#include <stdlib.h>
#include <string.h>

static void make_row_key(char ret[INDEX_ROW_KEY_SIZE], uint32_t number, uint64_t key)
{
    store_be32(ret, number);
    store_be64(ret + 4, key);
}

static void make_row_value(char ret[INDEX_ROW_VALUE_SIZE], const struct needle_entry *row)
{
    uint64_t units = row->offset / NEEDLE_ALIGNMENT;
    ret[0] = (char)(units >> 32);
    store_be32(ret + 1, (uint32_t)units);
    store_be32(ret + 5, (uint32_t)row->size);
}

static bool load_row(const char *value, size_t size, uint64_t key, struct needle_entry *ret)
{
    if (size != INDEX_ROW_VALUE_SIZE)
        return false;
    uint64_t units = (uint64_t)(uint8_t)value[0] << 32 | load_be32(value + 1);
    *ret = (struct needle_entry){key, units * NEEDLE_ALIGNMENT, (int32_t)load_be32(value + 5)};
    return units != 0;
}

static int refuse_row(struct index_store *store, uint64_t key, struct error *err)
{
    index_store_note_damage(store);
    return error_set(err, KELP_E_CORRUPT, "%s: the row of needle %llx is not one", store->path,
                     (unsigned long long)key);
}

static int take_number(struct index_store *store, uint32_t *ret, struct error *err)
{
    pthread_mutex_lock(&store->lock);
    uint32_t number = store->next_number;
    if (number < UINT32_MAX)
        store->next_number++;
    pthread_mutex_unlock(&store->lock);
    if (number == UINT32_MAX)
        return error_set(err, KELP_E_LIMIT, "%s has no numbers left: remove it and restart",
                         store->path);
    *ret = number;
    return 0;
}

static void add_rows(leveldb_writebatch_t *batch, uint32_t number, const struct needle_entry *rows,
                     size_t count)
{
    char key[INDEX_ROW_KEY_SIZE], value[INDEX_ROW_VALUE_SIZE];
    for (size_t i = 0; i < count; i++) {
        make_row_key(key, number, rows[i].key);
        make_row_value(value, &rows[i]);
        leveldb_writebatch_put(batch, key, sizeof(key), value, sizeof(value));
    }
}

static void add_entry(leveldb_writebatch_t *batch, const struct index_tenant *tenant, uint32_t number,
                      const struct index_mark *mark)
{
    char key[INDEX_CATALOGUE_KEY_MAX];
    uint8_t value[4 + INDEX_MARK_SIZE];
    size_t size =
        index_catalogue_key(key, tenant->collection, tenant->volume_id, tenant->revision);
    if (mark) {
        store_be32(value, number);
        index_mark_store(value + 4, mark);
        leveldb_writebatch_put(batch, key, size, (const char *)value, sizeof(value));
    } else if (tenant->is_listed) {
        leveldb_writebatch_delete(batch, key, size);
    }
}

int index_store_write(struct index_tenant *tenant, const struct needle_entry *rows, size_t count,
                      const struct index_mark *mark, struct error *err)
{
    struct index_store *store = tenant->store;
    if (atomic_load(&store->is_damaged))
        return error_set(err, KELP_E_CORRUPT,
                         "%s is damaged: restart the server, it is made anew then", store->path);
    uint32_t number = tenant->number;
    int code = number == 0 ? take_number(store, &number, err) : 0;
    if (code != 0)
        return code;
    char *message = NULL;
    leveldb_writebatch_t *batch = leveldb_writebatch_create();
    add_rows(batch, number, rows, count);
    add_entry(batch, tenant, number, mark);
    leveldb_write(store->db, store->write, batch, &message);
    leveldb_writebatch_destroy(batch);
    code = index_store_check(store, message, "write to", err);

    pthread_mutex_lock(&store->lock);
    tenant->number = number; /* a failed write may have stored some of it */
    if (code == 0 && (mark || tenant->is_listed)) {
        index_catalogue_set(store, tenant->collection, tenant->volume_id, tenant->revision,
                            mark ? number : 0);
        tenant->is_listed = mark != NULL;
    }
    pthread_mutex_unlock(&store->lock);
    return code;
}

int index_store_get(struct index_store *store, uint32_t number, uint64_t key,
                    struct needle_entry *ret, struct error *err)
{
    char row_key[INDEX_ROW_KEY_SIZE];
    char *message = NULL;
    size_t size = 0;
    make_row_key(row_key, number, key);
    char *value = leveldb_get(store->db, store->read, row_key, sizeof(row_key), &size, &message);
    int code = index_store_check(store, message, "read", err);
    if (code == 0 && !value)
        code = KELP_E_NOT_FOUND;
    else if (code == 0 && !load_row(value, size, key, ret))
        code = refuse_row(store, key, err);
    leveldb_free(value);
    return code;
}

/* ---- walks ---- */

struct index_scan {
    struct index_store *store;
    uint32_t number;
    const leveldb_snapshot_t *snapshot;
    leveldb_readoptions_t *options;
    leveldb_iterator_t *it;
};

int index_scan_open(struct index_scan **ret, struct index_store *store, uint32_t number,
                    struct error *err)
{
    struct index_scan *scan = calloc(1, sizeof(*scan));
    if (!scan)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
    scan->store = store;
    scan->number = number;
    scan->snapshot = leveldb_create_snapshot(store->db);
    scan->options = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(scan->options, 1);
    leveldb_readoptions_set_fill_cache(scan->options, 0);
    leveldb_readoptions_set_snapshot(scan->options, scan->snapshot);
    scan->it = leveldb_create_iterator(store->db, scan->options);
    index_scan_rewind(scan);
    *ret = scan;
    return 0;
}

void index_scan_rewind(struct index_scan *scan)
{
    char key[INDEX_ROW_KEY_SIZE];
    make_row_key(key, scan->number, 0);
    leveldb_iter_seek(scan->it, key, sizeof(key));
}

int index_scan_next(struct index_scan *scan, struct needle_entry *ret, struct error *err)
{
    size_t key_size, value_size;
    if (!leveldb_iter_valid(scan->it)) {
        char *message = NULL;
        leveldb_iter_get_error(scan->it, &message);
        return index_store_check(scan->store, message, "list the rows of", err);
    }
    const char *key = leveldb_iter_key(scan->it, &key_size);
    if (key_size != INDEX_ROW_KEY_SIZE || load_be32(key) != scan->number)
        return 0;
    const char *value = leveldb_iter_value(scan->it, &value_size);
    if (!load_row(value, value_size, load_be64(key + 4), ret))
        return refuse_row(scan->store, load_be64(key + 4), err);
    leveldb_iter_next(scan->it);
    return 1;
}

void index_scan_close(struct index_scan *scan)
{
    if (!scan)
        return;
    leveldb_iter_destroy(scan->it);
    leveldb_readoptions_destroy(scan->options);
    leveldb_release_snapshot(scan->store->db, scan->snapshot);
    free(scan);
}

uint64_t index_store_count_rows(struct index_store *store)
{
    uint64_t rows = 0;
    char from[4];
    store_be32(from, 1);
    leveldb_iterator_t *it = leveldb_create_iterator(store->db, store->walk);
    for (leveldb_iter_seek(it, from, 4); leveldb_iter_valid(it); leveldb_iter_next(it))
        rows++;
    leveldb_iter_destroy(it);
    return rows;
}
