/* Sorted once, searched by halves: however the rows were garbled, each question costs little. */
#include "volume/storage/index_old_rows.h"

#include <stdlib.h>
#include <string.h>

static int add_entry(struct needle_entry **list, size_t *count, size_t *capacity,
                     const struct needle_entry *entry)
{
    if (*count == *capacity) {
        size_t grown = *capacity ? *capacity * 2 : 1024;
        struct needle_entry *more = realloc(*list, grown * sizeof(*more));
        if (!more)
            return KELP_E_NO_MEMORY;
        *list = more;
        *capacity = grown;
    }
    (*list)[(*count)++] = *entry;
    return 0;
}

static int collect_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct index_old_rows *old = ctx;
    if (entry->offset == 0 && entry->size != NEEDLE_TOMBSTONE)
        return 0; /* zeros, or torn: nobody writes that */
    if (entry->offset == 0)
        return add_entry(&old->cut_deletes, &old->cut_count, &old->cut_capacity, entry);
    return add_entry(&old->entries, &old->count, &old->capacity, entry);
}

static int by_offset(const void *a, const void *b)
{
    uint64_t x = ((const struct needle_entry *)a)->offset;
    uint64_t y = ((const struct needle_entry *)b)->offset;
    return x < y ? -1 : x > y;
}

int index_old_rows_load(struct index_old_rows *old, struct index_file *file, struct error *err)
{
    int code = index_file_walk(file, 0, UINT64_MAX, collect_row, old, err);
    if (code == KELP_E_NO_MEMORY)
        return error_set(err, code, "no memory to repair %s", file->path);
    if (code == 0 && old->count > 0)
        qsort(old->entries, old->count, sizeof(*old->entries), by_offset);
    return code;
}

void index_old_rows_fini(struct index_old_rows *old)
{
    free(old->entries);
    free(old->by_key);
    free(old->cut_deletes);
    *old = (struct index_old_rows){0};
}

size_t index_old_rows_from(const struct index_old_rows *old, uint64_t offset)
{
    size_t low = 0, high = old->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (old->entries[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct needle_entry *index_old_rows_find(const struct index_old_rows *old, uint64_t offset,
                                               uint64_t key)
{
    for (size_t i = index_old_rows_from(old, offset); i < old->count && old->entries[i].offset == offset; i++)
        if (old->entries[i].key == key)
            return &old->entries[i];
    return NULL;
}

const struct needle_entry *index_old_rows_rival(const struct index_old_rows *old, uint64_t offset,
                                                const struct needle_header *header)
{
    for (size_t i = index_old_rows_from(old, offset);
         i < old->count && old->entries[i].offset == offset; i++)
        if (old->entries[i].key != header->key &&
            (old->entries[i].size > 0 ? old->entries[i].size : 0) == header->size &&
            !index_row_is_gap(&old->entries[i]))
            return &old->entries[i];
    return NULL;
}

static int by_key_and_offset(const void *a, const void *b)
{
    const struct needle_entry *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The first of by_key whose key is not below this one. */
static size_t first_of_key(const struct index_old_rows *old, uint64_t key)
{
    size_t low = 0, high = old->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (old->by_key[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int index_old_rows_is_elsewhere(struct index_old_rows *old, const struct needle_entry *row, bool *ret,
                                struct error *err)
{
    if (!old->by_key) {
        old->by_key = malloc(old->count * sizeof(*old->by_key));
        if (!old->by_key)
            return error_set(err, KELP_E_NO_MEMORY, "no memory to sort %zu index rows", old->count);
        memcpy(old->by_key, old->entries, old->count * sizeof(*old->by_key));
        qsort(old->by_key, old->count, sizeof(*old->by_key), by_key_and_offset);
    }
    size_t first = first_of_key(old, row->key);
    size_t after = row->key == UINT64_MAX ? old->count : first_of_key(old, row->key + 1);
    *ret = old->by_key[first].offset != row->offset || old->by_key[after - 1].offset != row->offset;
    return 0;
}
