/* Who is mounted: id -> entries, one per disk. Lookups take the table's lock for reading, for a few
 * instructions; a volume in use cannot go away, so the way from it to its entry needs no lock. See
 * store_internal.h for the locks. */
#include "volume/store_internal.h"

#include "common/check.h"

#include <errno.h>
#include <time.h>

/* Beside the count of users, in one word, so that whoever leaves cannot miss that he is waited for. */
#define IS_LEAVING (SIZE_MAX / 2 + 1)

/* How often a thread that waits for the last user looks whether it should cancel a vacuum. */
#define LEAVE_LOOK_MS 100

void store_table_add(struct store *store, struct store_disk *disk, struct volume *volume)
{
    struct store_entry *entry = must(calloc(1, sizeof(*entry)));
    entry->id = volume_id(volume);
    entry->volume = volume;
    entry->disk = disk;
    atomic_init(&entry->uses, 0);
    volume_set_keeper(volume, entry);

    pthread_rwlock_wrlock(&store->table_lock);
    struct store_entry *head;
    HASH_FIND(hh, store->table, &entry->id, sizeof(entry->id), head);
    if (!head) {
        HASH_ADD(hh, store->table, id, sizeof(entry->id), entry);
    } else if (disk < head->disk) {
        /* The first disk's copy is the one that lookups see. */
        HASH_DEL(store->table, head);
        entry->next_copy = head;
        HASH_ADD(hh, store->table, id, sizeof(entry->id), entry);
    } else {
        struct store_entry **link = &head->next_copy;
        while (*link && (*link)->disk < disk)
            link = &(*link)->next_copy;
        CHECK(head->disk != disk && (!*link || (*link)->disk != disk));
        entry->next_copy = *link;
        *link = entry;
    }
    disk->volume_count++;
    store->volume_count++;
    pthread_rwlock_unlock(&store->table_lock);
}

static struct store_entry *find_copies(struct store *store, uint32_t id)
{
    struct store_entry *head;
    HASH_FIND(hh, store->table, &id, sizeof(id), head);
    return head;
}

struct store_entry *store_table_use(struct store *store, uint32_t id, const struct store_disk *disk)
{
    pthread_rwlock_rdlock(&store->table_lock);
    struct store_entry *entry = find_copies(store, id);
    while (entry && disk && entry->disk != disk)
        entry = entry->next_copy;
    if (entry)
        atomic_fetch_add_explicit(&entry->uses, 1, memory_order_relaxed);
    pthread_rwlock_unlock(&store->table_lock);
    return entry;
}

/* Without a lock, unless somebody waits. The entry is there until the count has gone down, and is
 * not looked at afterwards. */
void store_entry_release(struct store *store, struct store_entry *entry)
{
    size_t uses = atomic_load_explicit(&entry->uses, memory_order_relaxed);
    while (!(uses & IS_LEAVING))
        if (atomic_compare_exchange_weak_explicit(&entry->uses, &uses, uses - 1,
                                                  memory_order_release, memory_order_relaxed))
            return;
    pthread_mutex_lock(&store->leave_lock);
    if (atomic_fetch_sub(&entry->uses, 1) == (IS_LEAVING | 1))
        pthread_cond_broadcast(&store->leave_idle);
    pthread_mutex_unlock(&store->leave_lock);
}

/* The entry of a volume that the caller uses. */
static struct store_entry *entry_of(const struct volume *volume)
{
    struct store_entry *entry = volume_keeper(volume);
    CHECK(entry && entry->volume == volume);
    return entry;
}

struct volume *store_acquire(struct store *store, uint32_t volume_id)
{
    struct store_entry *entry = store_table_use(store, volume_id, NULL);
    return entry ? entry->volume : NULL;
}

int store_find(struct store *store, uint32_t volume_id, struct volume **ret, struct error *err)
{
    pthread_rwlock_rdlock(&store->table_lock);
    struct store_entry *entry = find_copies(store, volume_id);
    if (entry)
        atomic_fetch_add_explicit(&entry->uses, 1, memory_order_relaxed);
    bool is_pending = !entry && store_pending_want(store, volume_id);
    pthread_rwlock_unlock(&store->table_lock);
    if (is_pending)
        return error_set(err, KELP_E_UNAVAILABLE, "volume %u is still being loaded, try again",
                         volume_id);
    if (!entry)
        return error_set(err, KELP_E_NOT_FOUND, "volume %u not found", volume_id);
    *ret = entry->volume;
    return 0;
}

void store_release(struct store *store, struct volume *volume)
{
    if (volume)
        store_entry_release(store, entry_of(volume));
}

bool store_is_leaving(struct store *store, struct volume *volume)
{
    return (atomic_load(&entry_of(volume)->uses) & IS_LEAVING) != 0;
}

struct append_queue *store_append_queue(struct store *store, struct volume *volume)
{
    return entry_of(volume)->disk->queue;
}

struct disk_location *store_location_of(struct store *store, struct volume *volume)
{
    return entry_of(volume)->disk->location;
}

struct vacuum_budget *store_vacuum_budget(struct store *store, struct volume *volume)
{
    return entry_of(volume)->disk->budget;
}

bool store_table_leave(struct store *store, struct store_entry *entry)
{
    pthread_rwlock_wrlock(&store->table_lock);
    bool is_first = !(atomic_load(&entry->uses) & IS_LEAVING);
    if (is_first) {
        struct store_entry *head = find_copies(store, entry->id);
        CHECK(head);
        if (head == entry) {
            HASH_DEL(store->table, head);
            struct store_entry *next = entry->next_copy;
            if (next)
                HASH_ADD(hh, store->table, id, sizeof(next->id), next);
        } else {
            while (head->next_copy != entry)
                head = head->next_copy;
            head->next_copy = entry->next_copy;
        }
        atomic_fetch_or(&entry->uses, IS_LEAVING);
        entry->disk->volume_count--;
        store->volume_count--;
    }
    pthread_rwlock_unlock(&store->table_lock);
    return is_first;
}

struct volume *store_table_forget(struct store *store, struct store_entry *entry)
{
    struct volume *volume = entry->volume;
    pthread_mutex_lock(&store->leave_lock);
    while (atomic_load(&entry->uses) != IS_LEAVING) {
        pthread_mutex_unlock(&store->leave_lock);
        struct volume_stat stat;
        volume_stat(volume, &stat);
        if (stat.is_compacting)
            volume_vacuum_cleanup(volume, NULL);
        pthread_mutex_lock(&store->leave_lock);
        if (atomic_load(&entry->uses) == IS_LEAVING)
            break;
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += LEAVE_LOOK_MS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&store->leave_idle, &store->leave_lock, &until);
    }
    pthread_mutex_unlock(&store->leave_lock);
    free(entry);
    return volume;
}

static int compare_entries(const void *a, const void *b)
{
    const struct store_entry *x = *(struct store_entry *const *)a;
    const struct store_entry *y = *(struct store_entry *const *)b;
    if (x->disk != y->disk)
        return x->disk < y->disk ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct store_entry **store_table_snapshot(struct store *store, size_t *ret_count)
{
    pthread_rwlock_rdlock(&store->table_lock);
    struct store_entry **list = must(calloc(store->volume_count + 1, sizeof(struct store_entry *)));
    size_t count = 0;
    for (struct store_entry *head = store->table; head; head = head->hh.next)
        for (struct store_entry *entry = head; entry; entry = entry->next_copy) {
            atomic_fetch_add_explicit(&entry->uses, 1, memory_order_relaxed);
            list[count++] = entry;
        }
    pthread_rwlock_unlock(&store->table_lock);
    qsort(list, count, sizeof(struct store_entry *), compare_entries);
    *ret_count = count;
    return list;
}

int store_for_each(struct store *store,
                   int (*visit)(void *ctx, struct disk_location *location, struct volume *volume),
                   void *ctx)
{
    size_t count;
    struct store_entry **list = store_table_snapshot(store, &count);
    int result = 0;
    for (size_t i = 0; i < count; i++) {
        if (result == 0)
            result = visit(ctx, list[i]->disk->location, list[i]->volume);
        store_entry_release(store, list[i]);
    }
    free(list);
    return result;
}

size_t store_volume_count(struct store *store)
{
    pthread_rwlock_rdlock(&store->table_lock);
    size_t count = store->volume_count;
    pthread_rwlock_unlock(&store->table_lock);
    return count;
}

size_t store_location_volume_count(struct store *store, const struct disk_location *location)
{
    pthread_rwlock_rdlock(&store->table_lock);
    size_t count = store->disks[disk_location_id(location)].volume_count;
    pthread_rwlock_unlock(&store->table_lock);
    return count;
}

/* ---- one change a volume at a time ---- */

void store_begin_change(struct store *store, struct store_change *change, uint32_t id)
{
    change->id = id;
    pthread_mutex_lock(&store->change_lock);
    for (struct store_change *other = store->changes; other;) {
        if (other->id == id) {
            pthread_cond_wait(&store->change_ended, &store->change_lock);
            other = store->changes;
        } else {
            other = other->next;
        }
    }
    change->next = store->changes;
    store->changes = change;
    pthread_mutex_unlock(&store->change_lock);
}

void store_end_change(struct store *store, struct store_change *change)
{
    pthread_mutex_lock(&store->change_lock);
    struct store_change **link = &store->changes;
    while (*link != change)
        link = &(*link)->next;
    *link = change->next;
    pthread_cond_broadcast(&store->change_ended);
    pthread_mutex_unlock(&store->change_lock);
}
