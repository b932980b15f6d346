/* The database of each disk that holds its needle indexes, where the flag asks for one. It lies in the
 * index directory; one that several disks share has one for each, told apart by the disk's id. */
#include "volume/store_internal.h"

#include "common/check.h"
#include "common/log.h"
#include "volume/storage/index/index_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *database_path(const struct disk_location *location)
{
    const char *directory = disk_location_index_directory(location);
    char *path = NULL;
    int n = strcmp(directory, disk_location_directory(location)) == 0
                ? asprintf(&path, "%s/kelp.ldb", directory)
                : asprintf(&path, "%s/kelp-%s.ldb", directory, disk_location_uuid(location));
    CHECK(n >= 0);
    return path;
}

void store_open_index(struct store *store, struct store_disk *disk, enum store_index kind)
{
    static const enum index_store_size sizes[] = {
        [STORE_INDEX_LEVELDB] = INDEX_STORE_SMALL,
        [STORE_INDEX_LEVELDB_MEDIUM] = INDEX_STORE_MEDIUM,
        [STORE_INDEX_LEVELDB_LARGE] = INDEX_STORE_LARGE,
    };
    if (kind == STORE_INDEX_MEMORY)
        return;
    struct error err = {0};
    char *note = NULL, *path = database_path(disk->location);
    if (index_store_open(&disk->index_store, store->os, path, sizes[kind], &note, &err))
        log_error("needle indexes are in memory", "directory=%s error=\"%s\"",
                  disk_location_directory(disk->location), err.message);
    else if (note)
        log_warning("needle indexes are built anew", "path=%s why=\"%s\"", path, note);
    free(note);
    free(path);
}

void store_close_index(struct store_disk *disk)
{
    index_store_close(disk->index_store);
    disk->index_store = NULL;
}

void store_tidy_indexes(struct store *store)
{
    for (size_t i = 0; i < store->disk_count; i++)
        if (store->disks[i].index_store)
            index_store_forget_unused(store->disks[i].index_store);
}
