/* What an index on disk has stored and what waits to be, as one source of live entries by key. */
#pragma once

#include "volume/storage/index/index_store.h"
#include "volume/storage/index/needle_window.h"

/* `rows`: malloc'd, by key; of two rows of a key they win. `scan`: NULL when nothing is stored. Both pass to
 * the source, also on failure. */
int needle_merge_create(struct needle_source **ret, struct index_scan *scan, struct needle_entry *rows,
                        size_t count, struct error *err);
