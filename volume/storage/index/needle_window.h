/* Ordered walks over a kind of index that can list its entries by key only. */
#pragma once

#include "volume/storage/index/needle_index.h"

/* The live entries of an index by key, again and again the same. */
struct needle_source {
    int (*rewind)(struct needle_source *, struct error *err);
    /* 1: there is one; 0: the end. */
    int (*next)(struct needle_source *, struct needle_entry *ret, struct error *err);
    void (*close)(struct needle_source *);
};

/* The source passes to the cursor; on failure it is closed. */
int needle_window_create(struct needle_cursor **ret, struct needle_source *source,
                         enum needle_index_order order, uint64_t offset_limit, struct error *err);
