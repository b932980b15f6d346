/* Which volumes the page shows, and in which order. */
#include "volume/volume_page_view.h"

#include "common/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define GARBAGE_SHOWN 0.3
#define PAGES_MAX     1000000u

static const char *const show_names[VOLUME_PAGE_SHOWS] = {
    [VOLUME_PAGE_ALL] = "all",         [VOLUME_PAGE_WRITABLE] = "writable",
    [VOLUME_PAGE_READ_ONLY] = "read-only", [VOLUME_PAGE_GARBAGE] = "garbage",
    [VOLUME_PAGE_DAMAGED] = "damaged", [VOLUME_PAGE_VACUUM] = "vacuum",
};
static const char *const sort_names[VOLUME_PAGE_SORTS] = {
    [VOLUME_PAGE_BY_ID] = "id",
    [VOLUME_PAGE_BY_SIZE] = "size",
    [VOLUME_PAGE_BY_GARBAGE] = "garbage",
    [VOLUME_PAGE_BY_FILES] = "files",
    [VOLUME_PAGE_BY_CHANGE] = "changed",
};

const char *volume_page_show_name(enum volume_page_show show) { return show_names[show]; }
const char *volume_page_sort_name(enum volume_page_sort sort) { return sort_names[sort]; }

/* 0, the first, when it is none of them. */
static unsigned find_name(const char *const *names, unsigned count, struct slice name)
{
    for (unsigned i = 0; i < count; i++)
        if (slice_equals(name, slice_cstr(names[i])))
            return i;
    return 0;
}

void volume_page_read_query(struct volume_page_query *ret, struct slice text, struct slice show,
                            struct slice sort, struct slice page)
{
    *ret = (struct volume_page_query){0};
    if (text.len < sizeof(ret->text) && text.len > 0)
        memcpy(ret->text, text.ptr, text.len);
    ret->show = find_name(show_names, VOLUME_PAGE_SHOWS, show);
    ret->sort = find_name(sort_names, VOLUME_PAGE_SORTS, sort);
    size_t number = 0;
    for (size_t i = 0; i < page.len && page.ptr[i] >= '0' && page.ptr[i] <= '9'; i++) {
        number = number * 10 + (size_t)(page.ptr[i] - '0');
        if (number > PAGES_MAX)
            number = PAGES_MAX;
    }
    ret->page = number > 0 ? number - 1 : 0;
}

static bool is_shown(const struct volume_page_volume *volume, enum volume_page_show show)
{
    switch (show) {
    case VOLUME_PAGE_WRITABLE:
        return volume->stat.read_only == 0;
    case VOLUME_PAGE_READ_ONLY:
        return volume->stat.read_only != 0;
    case VOLUME_PAGE_GARBAGE:
        return volume->stat.garbage_ratio >= GARBAGE_SHOWN;
    case VOLUME_PAGE_DAMAGED:
        return volume->stat.damaged_count > 0;
    case VOLUME_PAGE_VACUUM:
        return volume->vacuum.state != VACUUM_IDLE;
    default:
        return true;
    }
}

static bool matches(const struct volume_page_volume *volume, const char *text)
{
    char id[12];
    if (text[0] == '\0')
        return true;
    snprintf(id, sizeof(id), "%" PRIu32, volume->id);
    return strcmp(id, text) == 0 || strncmp(volume->collection, text, strlen(text)) == 0;
}

/* The greatest first. */
static uint64_t rank(const struct volume_page_volume *volume, enum volume_page_sort sort)
{
    switch (sort) {
    case VOLUME_PAGE_BY_SIZE:
        return volume->stat.dat_bytes;
    case VOLUME_PAGE_BY_GARBAGE:
        return (uint64_t)(volume->stat.garbage_ratio * 1e9);
    case VOLUME_PAGE_BY_FILES:
        return volume->stat.live_count;
    case VOLUME_PAGE_BY_CHANGE:
        return volume->stat.modified_at_second;
    default:
        return 0;
    }
}

static int compare(const void *left, const void *right, void *sort)
{
    const struct volume_page_volume *a = left, *b = right;
    enum volume_page_sort by = *(const enum volume_page_sort *)sort;
    uint64_t x = rank(a, by), y = rank(b, by);
    if (x != y)
        return x > y ? -1 : 1;
    if (a->id != b->id)
        return a->id < b->id ? -1 : 1;
    return a->disk < b->disk ? -1 : a->disk > b->disk;
}

size_t volume_page_select(struct volume_page_view *view)
{
    struct volume_page_query *query = &view->query;
    size_t count = 0;
    for (size_t i = 0; i < view->volume_count; i++) {
        struct volume_page_volume volume = view->volumes[i];
        if (!is_shown(&volume, query->show) || !matches(&volume, query->text))
            continue;
        view->volumes[i] = view->volumes[count];
        view->volumes[count++] = volume;
    }
    if (count > 0)
        qsort_r(view->volumes, count, sizeof(*view->volumes), compare, &query->sort);
    size_t last = count > 0 ? (count - 1) / VOLUME_PAGE_ROWS : 0;
    if (query->page > last)
        query->page = last;
    return count;
}
