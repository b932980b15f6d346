/* Plain growing arrays; see the header. */
#include "master/location_update.h"

#include "common/check.h"

#include <string.h>

void id_list_add(struct id_list *list, uint32_t id)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 8;
        list->ids = must(realloc(list->ids, list->capacity * sizeof(*list->ids)));
    }
    list->ids[list->count++] = id;
}

bool id_list_contains(const struct id_list *list, uint32_t id)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->ids[i] == id)
            return true;
    return false;
}

static int compare_ids(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void id_list_sort_unique(struct id_list *list)
{
    if (list->count < 2)
        return;
    qsort(list->ids, list->count, sizeof(*list->ids), compare_ids);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++)
        if (list->ids[i] != list->ids[kept - 1])
            list->ids[kept++] = list->ids[i];
    list->count = kept;
}

void id_list_fini(struct id_list *list)
{
    free(list->ids);
    *list = (struct id_list){0};
}

void location_update_init(struct location_update *u) { *u = (struct location_update){0}; }

void location_update_fini(struct location_update *u)
{
    free(u->url);
    free(u->public_url);
    free(u->data_center);
    id_list_fini(&u->new_vids);
    id_list_fini(&u->deleted_vids);
    id_list_fini(&u->new_ec_vids);
    id_list_fini(&u->deleted_ec_vids);
    id_list_fini(&u->remote_vids);
    id_list_fini(&u->read_only_vids);
    id_list_fini(&u->read_only_can_delete_vids);
    *u = (struct location_update){0};
}

void location_update_clear(struct location_update *u) { location_update_fini(u); }

bool location_update_is_empty(const struct location_update *u)
{
    return u->new_vids.count == 0 && u->deleted_vids.count == 0 && u->new_ec_vids.count == 0 &&
           u->deleted_ec_vids.count == 0;
}

void location_updates_init(struct location_updates *list) { *list = (struct location_updates){0}; }

void location_updates_fini(struct location_updates *list)
{
    for (size_t i = 0; i < list->count; i++)
        location_update_fini(&list->items[i]);
    free(list->items);
    *list = (struct location_updates){0};
}

struct location_update *location_updates_add(struct location_updates *list)
{
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? list->capacity * 2 : 4;
        list->items = must(realloc(list->items, list->capacity * sizeof(*list->items)));
    }
    location_update_init(&list->items[list->count]);
    return &list->items[list->count++];
}
