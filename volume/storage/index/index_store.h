/* One LevelDB for the needle indexes of all volumes of a disk.
 *
 *   key                                                   value
 *   00000000 | volume id 4 | revision 2 | collection      number 4 | mark 240 (index_mark.h)
 *   number 4 | needle id 8                                offset / 8: 5 | size 4
 *
 * All big-endian. A *number* stands for what one index has stored. Each index that begins anew gets a
 * number of its own, never used before, so that nothing of an earlier life can be taken for its own;
 * numbers that no catalogue entry names are rubbish, and go in the background, in small steps.
 *
 * It is a cache: what it holds can be made again from the .idx files. So nothing is synced, and a database
 * that cannot be opened, or has given a wrong checksum, is made anew. What is written in one call, rows and
 * the mark that covers them, comes back whole or not at all; with paranoid checks a log that lost a piece
 * in its middle is refused, so that what comes back is what was there at some moment.
 *
 * LevelDB opens its files itself: this is the one place of volume/storage where files are used outside of
 * the os seam. Its reads go through mmap; a medium that fails under them kills the process.
 *
 * Threads: any. Calls block. One tenant's calls by one thread at a time, but for index_store_get,
 * index_scan_* and index_store_retire. */
#pragma once

#include "common/os.h"
#include "volume/storage/index/index_mark.h"

struct index_store;

/* They differ in memory and open files only. */
enum index_store_size { INDEX_STORE_SMALL, INDEX_STORE_MEDIUM, INDEX_STORE_LARGE };

/* Opens or makes the database in the directory `path`. *ret_note (malloc'd; NULL when there is nothing to
 * say): that it was made anew, and why. KELP_E_BUSY when somebody else has it open. */
int index_store_open(struct index_store **ret, struct os *os, const char *path,
                     enum index_store_size size, char **ret_note, struct error *err);
/* Waits for the last tenant to leave. NULL is fine. */
void index_store_close(struct index_store *store);
/* Removes what is kept of a volume; what is in use goes when its tenant leaves. */
void index_store_forget(struct index_store *store, const char *collection, uint32_t volume_id);
/* Removes what is kept of volumes that nobody has opened since the database was. */
void index_store_forget_unused(struct index_store *store);
/* Waits until nothing is left to be removed in the background. For tests. */
void index_store_settle(struct index_store *store);
/* Rows of all numbers, catalogue not counted; walks everything. For tests. */
uint64_t index_store_count_rows(struct index_store *store);

/* ---- for the index that lives in it (needle_index_leveldb.c) ---- */

struct index_tenant {
    struct index_store *store;
    char *collection;
    uint32_t volume_id;
    uint16_t revision;
    uint32_t number;      /* 0: nothing is stored. Changed by the tenant's own thread alone */
    bool is_listed;       /* the catalogue names this number */
    bool is_retired;      /* store->lock */
    struct index_tenant *next, *previous; /* store->lock */
};

void index_store_join(struct index_store *store, struct index_tenant *tenant,
                      const char *collection, uint32_t volume_id, uint16_t revision);
/* What is stored stays if the catalogue names it and the tenant is not retired, else it goes. */
void index_store_leave(struct index_tenant *tenant);
void index_store_retire(struct index_tenant *tenant);
/* Takes up what is kept of this volume and revision, and drops what is kept of its other revisions.
 * KELP_E_NOT_FOUND: nothing, or its mark is not to be understood. */
int index_store_attach(struct index_tenant *tenant, struct index_mark *ret, struct error *err);
/* Drops what is stored: number 0 again. */
int index_store_detach(struct index_tenant *tenant, struct error *err);
/* Stores rows, sorted by key, each key once. With a mark it is put into the catalogue; without one the
 * catalogue forgets the number: a mark must not stand for less than what is stored. */
int index_store_write(struct index_tenant *tenant, const struct needle_entry *rows, size_t count,
                      const struct index_mark *mark, struct error *err);
/* KELP_E_NOT_FOUND leaves err as it is. */
int index_store_get(struct index_store *store, uint32_t number, uint64_t key,
                    struct needle_entry *ret, struct error *err);

/* A walk over the rows of a number by key, as they are when it begins. */
struct index_scan;
int index_scan_open(struct index_scan **ret, struct index_store *store, uint32_t number,
                    struct error *err);
void index_scan_rewind(struct index_scan *scan);
/* 1: there is one; 0: the end. */
int index_scan_next(struct index_scan *scan, struct needle_entry *ret, struct error *err);
void index_scan_close(struct index_scan *scan);
