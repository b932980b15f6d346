/* One volume of a disk: opened and served, or what is left of it removed. Blocks; worker threads and those
 * that load. */
#include "volume/store_internal.h"

#include "common/log.h"
#include "volume/storage/format/volume_files.h"

#include <stdlib.h>

int store_sweep_volume(struct store *store, struct store_disk *disk, const char *collection,
                       uint32_t id, struct error *err)
{
    struct volume_files files = {0};
    int code = volume_files_init(&files, store->os, disk_location_directory(disk->location),
                                 disk_location_index_directory(disk->location), collection, id,
                                 err);
    if (!code)
        code = volume_files_remove(&files, store->os, err);
    volume_files_fini(&files);
    return code;
}

int store_load_volume(struct store *store, struct store_disk *disk, const char *collection,
                      uint32_t id, bool announce, struct error *err)
{
    struct volume_place place = {
        .os = store->os,
        .data_dir = disk_location_directory(disk->location),
        .index_dir = disk_location_index_directory(disk->location),
        .collection = collection,
        .id = id,
        .index_store = disk->index_store,
        .foreground = disk->foreground,
        .is_stopping = &store->is_load_stopping,
    };
    struct volume *volume;
    char *note = NULL;
    int code = volume_open(&volume, &place, &note, err);
    if (code)
        return code;
    if (note)
        log_warning("volume repaired", "volume=%u directory=%s what=\"%s\"", id, place.data_dir,
                    note);
    free(note);
    store_table_add(store, disk, volume);
    store_tell_space(disk, volume);
    if (announce && store->on_volume_added)
        store->on_volume_added(store->ctx, disk->location, volume);
    return 0;
}
