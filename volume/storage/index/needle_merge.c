/* Two lists by key, merged. See the header. Any thread. */
#include "volume/storage/index/needle_merge.h"

#include <stdlib.h>

struct merge_source {
    struct needle_source base;
    struct index_scan *scan; /* NULL: nothing is stored */
    struct needle_entry *rows, stored;
    size_t count, at;
    int has_stored; /* 1, 0: the end */
};

static int merge_rewind(struct needle_source *base, struct error *err)
{
    struct merge_source *source = (struct merge_source *)base;
    source->at = 0;
    source->has_stored = 0;
    if (!source->scan)
        return 0;
    index_scan_rewind(source->scan);
    source->has_stored = index_scan_next(source->scan, &source->stored, err);
    return source->has_stored < 0 ? source->has_stored : 0;
}

static int merge_next(struct needle_source *base, struct needle_entry *ret, struct error *err)
{
    struct merge_source *source = (struct merge_source *)base;
    for (;;) {
        bool has_row = source->at < source->count;
        if (!has_row && source->has_stored != 1)
            return 0;
        bool takes_row = has_row && (source->has_stored != 1 ||
                                     source->rows[source->at].key <= source->stored.key);
        bool takes_stored = source->has_stored == 1 &&
                            (!takes_row || source->rows[source->at].key == source->stored.key);
        *ret = takes_row ? source->rows[source->at++] : source->stored;
        if (takes_stored)
            source->has_stored = index_scan_next(source->scan, &source->stored, err);
        if (source->has_stored < 0)
            return source->has_stored;
        if (ret->size >= 0)
            return 1;
    }
}

static void merge_close(struct needle_source *base)
{
    struct merge_source *source = (struct merge_source *)base;
    index_scan_close(source->scan);
    free(source->rows);
    free(source);
}

int needle_merge_create(struct needle_source **ret, struct index_scan *scan, struct needle_entry *rows,
                        size_t count, struct error *err)
{
    struct merge_source *source = calloc(1, sizeof(*source));
    if (!source) {
        index_scan_close(scan);
        free(rows);
        return error_set(err, KELP_E_NO_MEMORY, "no memory to list needles");
    }
    *source = (struct merge_source){
        .base = {merge_rewind, merge_next, merge_close}, .scan = scan, .rows = rows, .count = count};
    int code = merge_rewind(&source->base, err);
    if (code != 0) {
        merge_close(&source->base);
        return code;
    }
    *ret = &source->base;
    return 0;
}
