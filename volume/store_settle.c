/* Loading what is pending: in its turn by the threads of the start, or at once by whoever is about to change
 * it (mount, delete ...), on his own thread. Blocks. */
#include "volume/store_internal.h"

#include "common/log.h"

int store_settle_one(struct store *store, struct store_pending *pending, bool announce)
{
    if (pending->is_done)
        return 0;
    struct error err = {0};
    int code = 0;
    struct store_entry *mounted = store_table_use(store, pending->id, pending->disk);
    if (mounted)
        store_entry_release(store, mounted);
    else
        code = store_load_volume(store, pending->disk, pending->collection, pending->id, announce,
                                 &err);
    if (code == KELP_E_CANCELLED)
        log_info("volume not loaded", "volume=%u why=\"the server stops\"", pending->id);
    else if (code)
        log_error("volume not loaded", "volume=%u collection=\"%s\" directory=%s error=\"%s\"",
                  pending->id, pending->collection,
                  disk_location_directory(pending->disk->location), err.message);
    pending->is_done = true;
    if (pending->is_listed)
        store_pending_remove(store, pending);
    return code;
}

void store_settle(struct store *store, uint32_t id)
{
    struct store_pending *pending;
    /* Only this thread, which changes the id, takes it out. */
    while ((pending = store_pending_find(store, id)))
        store_settle_one(store, pending, true);
}

void store_settle_collection(struct store *store, const char *collection)
{
    uint32_t id;
    while (store_pending_find_collection(store, collection, &id)) {
        struct store_change change;
        store_begin_change(store, &change, id);
        store_settle(store, id);
        store_end_change(store, &change);
    }
}
