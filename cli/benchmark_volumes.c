/* Where the volumes of a list of file ids are. Built on the main thread, then read by all. */
#include "cli/benchmark.h"
#include "common/check.h"

#include <stdlib.h>

static uint32_t volume_of(const char *fid)
{
    return (uint32_t)strtoul(fid, NULL, 10);
}

static int by_id(const void *a, const void *b)
{
    const struct benchmark_volume *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static void add(struct benchmark_volumes *volumes, struct blob_client *client, const char *fid)
{
    struct benchmark_volume *volume;
    volumes->items = must(realloc(volumes->items, (volumes->count + 1) * sizeof(*volumes->items)));
    volume = &volumes->items[volumes->count++];
    *volume = (struct benchmark_volume){.id = volume_of(fid)};
    blob_client_locate(client, fid, &volume->replicas, &volume->err);
    qsort(volumes->items, volumes->count, sizeof(*volumes->items), by_id);
}

const struct benchmark_volume *benchmark_volumes_find(const struct benchmark_volumes *volumes,
                                                      const char *fid)
{
    struct benchmark_volume key;
    key.id = volume_of(fid);
    return volumes->count == 0 ? NULL
                               : bsearch(&key, volumes->items, volumes->count, sizeof(key), by_id);
}

void benchmark_volumes_init(struct benchmark_volumes *volumes, struct blob_client *client,
                            const struct fid_list *list)
{
    *volumes = (struct benchmark_volumes){0};
    for (size_t i = 0; i < list->count; i++)
        if (!benchmark_volumes_find(volumes, list->items[i]))
            add(volumes, client, list->items[i]);
}

void benchmark_volumes_fini(struct benchmark_volumes *volumes)
{
    free(volumes->items);
    *volumes = (struct benchmark_volumes){0};
}
