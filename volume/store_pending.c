/* Volumes that were found on the disks and are not loaded yet. Loading a volume may take long (a large
 * .idx, a repair that scans the .dat), and the others must not wait for it: so each is served as soon as it
 * is ready, and until then it is here, where lookups tell it from one that is not on this server.
 *
 * A volume that somebody asks for is loaded next. Here is the list alone; store_settle.c loads what is on
 * it. */
#include "volume/store_internal.h"

#include <string.h>

void store_pending_add(struct store *store, struct store_pending *pending)
{
    pthread_rwlock_wrlock(&store->table_lock);
    struct store_pending *head;
    HASH_FIND(hh, store->pending, &pending->id, sizeof(pending->id), head);
    if (head) { /* of the same id on another disk */
        pending->next_copy = head->next_copy;
        head->next_copy = pending;
    } else {
        HASH_ADD(hh, store->pending, id, sizeof(pending->id), pending);
    }
    pending->disk->pending_count++;
    pthread_rwlock_unlock(&store->table_lock);
}

void store_pending_remove(struct store *store, struct store_pending *pending)
{
    pthread_rwlock_wrlock(&store->table_lock);
    struct store_pending *head;
    HASH_FIND(hh, store->pending, &pending->id, sizeof(pending->id), head);
    if (head == pending) {
        HASH_DEL(store->pending, head);
        if (pending->next_copy)
            HASH_ADD(hh, store->pending, id, sizeof(pending->id), pending->next_copy);
    } else {
        while (head && head->next_copy != pending)
            head = head->next_copy;
        if (head)
            head->next_copy = pending->next_copy;
    }
    pending->next_copy = NULL;
    pending->disk->pending_count--;
    pthread_rwlock_unlock(&store->table_lock);
}

/* table_lock held, for reading at least. */
static struct store_pending *find(struct store *store, uint32_t id)
{
    struct store_pending *head;
    HASH_FIND(hh, store->pending, &id, sizeof(id), head);
    return head;
}

struct store_pending *store_pending_find(struct store *store, uint32_t id)
{
    pthread_rwlock_rdlock(&store->table_lock);
    struct store_pending *pending = find(store, id);
    pthread_rwlock_unlock(&store->table_lock);
    return pending;
}

bool store_pending_find_collection(struct store *store, const char *collection, uint32_t *ret_id)
{
    bool is_any = false;
    pthread_rwlock_rdlock(&store->table_lock);
    for (struct store_pending *head = store->pending; head && !is_any; head = head->hh.next)
        for (struct store_pending *p = head; p && !is_any; p = p->next_copy) {
            is_any = strcmp(p->collection, collection) == 0;
            *ret_id = p->id;
        }
    pthread_rwlock_unlock(&store->table_lock);
    return is_any;
}

bool store_pending_want(struct store *store, uint32_t id)
{
    struct store_pending *pending = find(store, id);
    if (!pending)
        return false;
    for (; pending; pending = pending->next_copy)
        atomic_store(&pending->is_wanted, true);
    atomic_store(&store->has_wanted, true);
    return true;
}

size_t store_pending_count(struct store *store, const struct store_disk *disk)
{
    size_t count = 0;
    pthread_rwlock_rdlock(&store->table_lock);
    for (size_t i = 0; i < store->disk_count; i++)
        if (!disk || disk == &store->disks[i])
            count += store->disks[i].pending_count;
    pthread_rwlock_unlock(&store->table_lock);
    return count;
}
