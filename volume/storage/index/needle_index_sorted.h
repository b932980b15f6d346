/* The needle index of kind "sorted": the .sdx file of a volume that takes no more writes.
 * Source: spec/storage-format.md 9.3.
 *
 *   live entries by key, each as an index row (index_file.h) of the volume's width; -1 as the size: deleted
 *   since the file was made
 *
 * It costs no memory but what the page cache lends, and the peer reads and writes the same file. */
#pragma once

#include "common/os.h"
#include "volume/storage/index/needle_index.h"

struct needle_index_sorted_config {
    struct os *os;
    const char *path;
    uint8_t offset_bytes; /* of a row, 4 or 5 */
    uint8_t version;      /* of the records */
};

/* Opens the file if it says what `source` does, a complete index of the volume; else makes it anew first,
 * through a temporary name. The counters are the source's. */
int needle_index_sorted_open(struct needle_index **ret, const struct needle_index_sorted_config *config,
                             struct needle_index *source, struct error *err);
bool needle_index_is_sorted(const struct needle_index *index);
