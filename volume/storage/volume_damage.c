/* What is known to be wrong with a volume: records that failed their check, and why it was quarantined.
 *
 * The list of records is short and kept in memory only: it is for whoever looks at the volume's status,
 * to fetch the blob from a replica; a scrub finds all there are. An entry holds as long as the index
 * points at the place where the damage was seen, so a delete or a new put of the key ends it without
 * anybody having to say so. A vacuum carries damaged records over as they are; at its swap the entries
 * follow them to their new places.
 *
 * Any thread. damage_lock is held for a few instructions, never across a look at the index. */
#include "volume/storage/volume_internal.h"

#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct volume_damage_list {
    size_t count;
    struct volume_damage items[VOLUME_DAMAGE_MAX]; /* the oldest first */
};

static void remove_at(struct volume_damage_list *list, size_t i)
{
    list->count--;
    memmove(&list->items[i], &list->items[i + 1], (list->count - i) * sizeof(list->items[0]));
}

void volume_note_damage(struct volume *volume, uint64_t key, uint64_t offset, const char *reason)
{
    struct volume_damage found = {key, offset, os_now_ns(volume->os), ""};
    snprintf(found.reason, sizeof(found.reason), "%s", reason);
    atomic_fetch_add(&volume->damaged_count, 1);
    pthread_mutex_lock(&volume->damage_lock);
    if (!volume->damage)
        volume->damage = must(calloc(1, sizeof(*volume->damage)));
    struct volume_damage_list *list = volume->damage;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].key == key) {
            remove_at(list, i);
            break;
        }
    if (list->count == VOLUME_DAMAGE_MAX)
        remove_at(list, 0);
    list->items[list->count++] = found;
    pthread_mutex_unlock(&volume->damage_lock);
}

static size_t copy_list(struct volume *volume, struct volume_damage ret[VOLUME_DAMAGE_MAX])
{
    size_t count = 0;
    pthread_mutex_lock(&volume->damage_lock);
    if (volume->damage) {
        count = volume->damage->count;
        memcpy(ret, volume->damage->items, count * sizeof(ret[0]));
    }
    pthread_mutex_unlock(&volume->damage_lock);
    return count;
}

/* Unless it was found anew meanwhile. */
static void forget(struct volume *volume, const struct volume_damage *gone)
{
    pthread_mutex_lock(&volume->damage_lock);
    struct volume_damage_list *list = volume->damage;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].key == gone->key && list->items[i].offset == gone->offset &&
            list->items[i].found_at_ns == gone->found_at_ns) {
            remove_at(list, i);
            break;
        }
    pthread_mutex_unlock(&volume->damage_lock);
}

static void move(struct volume *volume, const struct volume_damage *from, uint64_t offset)
{
    pthread_mutex_lock(&volume->damage_lock);
    struct volume_damage_list *list = volume->damage;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].key == from->key)
            list->items[i].offset = offset;
    pthread_mutex_unlock(&volume->damage_lock);
}

/* Whether the key still lies where the damage was seen. What the index cannot tell holds. */
static bool is_there(struct volume_generation *generation, const struct volume_damage *damage)
{
    struct needle_entry entry;
    uint64_t limit = index_row_limit(generation->offset_bytes); /* an entry may have wrapped */
    int code = needle_index_get(generation->index, damage->key, &entry, NULL);
    if (code != 0)
        return code != KELP_E_NOT_FOUND;
    return entry.size >= 0 && entry.offset % limit == damage->offset % limit;
}

size_t volume_damaged(struct volume *volume, struct volume_damage ret[VOLUME_DAMAGE_MAX])
{
    size_t count = copy_list(volume, ret), kept = 0;
    if (count == 0)
        return 0;
    struct volume_generation *generation = volume_get_generation(volume);
    for (size_t i = 0; i < count; i++) {
        struct volume_damage damage = ret[i];
        if (is_there(generation, &damage))
            ret[kept++] = damage;
        else
            forget(volume, &damage);
    }
    volume_generation_unref(generation);
    return kept;
}

void volume_damage_follow(struct volume *volume, struct volume_generation *old,
                          struct volume_generation *next)
{
    struct volume_damage list[VOLUME_DAMAGE_MAX];
    size_t count = copy_list(volume, list);
    for (size_t i = 0; i < count; i++) {
        struct needle_entry entry;
        if (!is_there(old, &list[i])) {
            forget(volume, &list[i]);
            continue;
        }
        int code = needle_index_get(next->index, list[i].key, &entry, NULL);
        if (code == 0 && entry.size >= 0)
            move(volume, &list[i], entry.offset);
        else
            forget(volume, &list[i]);
    }
}

/* ---- quarantine ---- */

void volume_quarantine(struct volume *volume, const char *why)
{
    pthread_mutex_lock(&volume->damage_lock);
    if (!(atomic_load(&volume->read_only) & VOLUME_RO_IO_ERROR)) /* the first cause is the cause */
        snprintf(volume->fault, sizeof(volume->fault), "%s", why);
    atomic_fetch_or(&volume->read_only, (unsigned)VOLUME_RO_IO_ERROR);
    pthread_mutex_unlock(&volume->damage_lock);
}

void volume_fault(struct volume *volume, char ret[VOLUME_FAULT_MAX])
{
    pthread_mutex_lock(&volume->damage_lock);
    unsigned reasons = atomic_load(&volume->read_only);
    bool has_fault = (reasons & (VOLUME_RO_IO_ERROR | VOLUME_RO_CORRUPT)) != 0;
    memcpy(ret, has_fault ? volume->fault : "", has_fault ? VOLUME_FAULT_MAX : 1);
    pthread_mutex_unlock(&volume->damage_lock);
}
