/* The inside of the store of indexes, for its files: index_store.c (opening, closing), index_catalogue.c
 * (who has which number), index_rows.c (writing and reading rows), index_sweep.c (removal).
 *
 * `lock` guards what is marked with it; no call into LevelDB is made under it but for single catalogue
 * writes, which keep the catalogue in memory and the one on disk in step. */
#pragma once

#include "volume/storage/index/index_store.h"

#include <leveldb/c.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#define INDEX_ROW_KEY_SIZE   12u
#define INDEX_ROW_VALUE_SIZE 9u
#define INDEX_CATALOGUE_KEY_MAX 512u

/* What is kept of one revision of a volume. */
struct index_kept {
    uint16_t revision;
    uint32_t number;
    struct index_kept *next;
};

struct index_volume {
    struct index_kept *kept;
    bool is_used; /* somebody opened it since the database was */
    uint32_t id;
    size_t key_size;
    UT_hash_handle hh;
    char key[]; /* volume id, collection */
};

struct index_store {
    struct os *os;
    char *path, *damaged_path;
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *read, *walk; /* `walk`: leaves the cache alone */
    leveldb_writeoptions_t *write;
    atomic_bool is_damaged; /* a checksum was wrong */

    pthread_mutex_t lock;
    struct index_volume *volumes;  /* (lock) */
    struct index_tenant *tenants;  /* (lock) */
    uint32_t next_number;          /* (lock) */
    uint32_t *rubbish;             /* (lock) numbers to be removed */
    size_t rubbish_count, rubbish_capacity;
    bool is_closing, is_sweeping;  /* (lock) */
    pthread_cond_t changed;        /* with lock: rubbish, is_closing, is_sweeping */
    pthread_t sweeper;
    bool has_sweeper;
};

/* What was found cannot be right: from now on nothing is written, and the database is made anew when it is
 * opened next. */
void index_store_note_damage(struct index_store *store);
/* Takes LevelDB's malloc'd message, if there is one, into err and frees it; notes a wrong checksum. */
int index_store_check(struct index_store *store, char *message, const char *what, struct error *err);

/* ---- index_catalogue.c ---- */

/* Fills the catalogue in memory from the database, and notes what nobody names as rubbish. */
int index_catalogue_load(struct index_store *store, struct error *err);
void index_catalogue_free(struct index_store *store);
/* Size of the key. */
size_t index_catalogue_key(char ret[INDEX_CATALOGUE_KEY_MAX], const char *collection,
                           uint32_t volume_id, uint16_t revision);
/* lock held. After a write that listed, or with number 0 delisted, this revision: the number that was
 * listed before and now is rubbish, unless a tenant has it. */
void index_catalogue_set(struct index_store *store, const char *collection, uint32_t volume_id,
                         uint16_t revision, uint32_t number);
bool index_store_has_tenant(struct index_store *store, uint32_t number); /* lock held */

/* ---- index_sweep.c ---- */

int index_sweep_start(struct index_store *store, struct error *err);
void index_sweep_stop(struct index_store *store);
void index_sweep_add(struct index_store *store, uint32_t number); /* lock held */
