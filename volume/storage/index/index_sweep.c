/* Removing what nobody needs any more: one thread, number by number, in small steps, so that writers of
 * the same database do not wait for long. What it had not come to when the database was closed is found
 * again when it is opened: no catalogue entry names it. */
#include "volume/storage/index/index_store_internal.h"

#include "common/bytes.h"
#include "common/check.h"

#include <stdlib.h>
#include <string.h>

#define STEP_ROWS    2000u
#define COMPACT_ROWS 200000u /* so many deleted rows are worth having their space back at once */

void index_sweep_add(struct index_store *store, uint32_t number)
{
    if (store->rubbish_count == store->rubbish_capacity) {
        store->rubbish_capacity = store->rubbish_capacity ? store->rubbish_capacity * 2 : 16;
        store->rubbish =
            must(realloc(store->rubbish, store->rubbish_capacity * sizeof(*store->rubbish)));
    }
    store->rubbish[store->rubbish_count++] = number;
    pthread_cond_broadcast(&store->changed);
}

static bool is_closing(struct index_store *store)
{
    pthread_mutex_lock(&store->lock);
    bool is = store->is_closing;
    pthread_mutex_unlock(&store->lock);
    return is;
}

/* Deletes up to STEP_ROWS rows; how many, and the last one's key. 0: none is left, or the database fails;
 * then they stay until it is opened again. */
static size_t sweep_step(struct index_store *store, leveldb_iterator_t *it, uint32_t number,
                         char ret_last[INDEX_ROW_KEY_SIZE])
{
    leveldb_writebatch_t *batch = leveldb_writebatch_create();
    char *message = NULL;
    size_t rows = 0, key_size;
    for (; rows < STEP_ROWS && leveldb_iter_valid(it); leveldb_iter_next(it)) {
        const char *key = leveldb_iter_key(it, &key_size);
        if (key_size != INDEX_ROW_KEY_SIZE || load_be32(key) != number)
            break;
        leveldb_writebatch_delete(batch, key, key_size);
        memcpy(ret_last, key, key_size);
        rows++;
    }
    if (rows > 0)
        leveldb_write(store->db, store->write, batch, &message);
    leveldb_writebatch_destroy(batch);
    return index_store_check(store, message, "remove rows from", NULL) == 0 ? rows : 0;
}

static void sweep_number(struct index_store *store, uint32_t number)
{
    char from[INDEX_ROW_KEY_SIZE] = {0}, last[INDEX_ROW_KEY_SIZE];
    uint64_t rows = 0;
    size_t step = 1;
    store_be32(from, number);
    leveldb_iterator_t *it = leveldb_create_iterator(store->db, store->walk);
    leveldb_iter_seek(it, from, 4);
    while (step > 0 && !is_closing(store)) {
        rows += step = sweep_step(store, it, number, last);
        if (rows < COMPACT_ROWS)
            continue;
        leveldb_compact_range(store->db, from, sizeof(from), last, sizeof(last));
        memcpy(from, last, sizeof(from));
        rows = 0;
    }
    leveldb_iter_destroy(it);
}

static void *sweep(void *arg)
{
    struct index_store *store = arg;
    pthread_mutex_lock(&store->lock);
    for (;;) {
        while (store->rubbish_count == 0 && !store->is_closing)
            pthread_cond_wait(&store->changed, &store->lock);
        if (store->is_closing)
            break;
        uint32_t number = store->rubbish[--store->rubbish_count];
        store->is_sweeping = true;
        pthread_mutex_unlock(&store->lock);
        sweep_number(store, number);
        pthread_mutex_lock(&store->lock);
        store->is_sweeping = false;
        pthread_cond_broadcast(&store->changed);
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

int index_sweep_start(struct index_store *store, struct error *err)
{
    int result = pthread_create(&store->sweeper, NULL, sweep, store);
    if (result != 0)
        return error_set_errno(err, result, "start a thread for %s", store->path);
    store->has_sweeper = true;
    return 0;
}

void index_sweep_stop(struct index_store *store)
{
    pthread_mutex_lock(&store->lock);
    store->is_closing = true;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
    if (store->has_sweeper)
        pthread_join(store->sweeper, NULL);
    store->has_sweeper = false;
}

void index_store_settle(struct index_store *store)
{
    pthread_mutex_lock(&store->lock);
    while (store->rubbish_count > 0 || store->is_sweeping)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
}
