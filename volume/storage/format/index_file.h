/* The .idx file: an append-only log of index rows. Source: spec/storage-format.md 8.
 *
 *   offset  len     field
 *   0       8       key
 *   8       4 or 5  offset / 8: b3 b2 b1 b0, and with 5 bytes then b4, the highest
 *   12, 13  4       size, signed; -1 is a delete
 *
 * A row with an offset and a size >= 0 is a put, any other a delete; the last row of a key wins.
 *
 * Our own use of that: (0, offset, -1) says that no record begins at the offset, up to the next row's.
 * A repair leaves it where bytes between records are not to be understood, so that the next start need
 * not look at them again. No file id has key 0; for everybody else it deletes nothing.
 *
 * Threads: one appends (the holder of the volume's append lock); index_file_end from any. */
#pragma once

#include "common/os.h"
#include "volume/storage/format/needle.h"

#include <stdatomic.h>

#define INDEX_ROW_MAX 17u

static inline size_t index_row_size(uint8_t offset_bytes) { return 12u + offset_bytes; }
/* The first byte position that such a row cannot address: 32 GiB or 8 TiB. */
static inline uint64_t index_row_limit(uint8_t offset_bytes)
{
    return (uint64_t)NEEDLE_ALIGNMENT << (8u * offset_bytes);
}
/* An offset beyond the limit wraps, as the peer's does. */
void index_row_store(uint8_t *row, const struct needle_entry *entry, uint8_t offset_bytes);
/* Here, as index loads call it for each of millions. */
static inline void index_row_load(const uint8_t *row, struct needle_entry *ret, uint8_t offset_bytes)
{
    uint64_t units = load_be32(row + 8);
    if (offset_bytes == 5)
        units |= (uint64_t)row[12] << 32;
    ret->key = load_be64(row);
    ret->offset = units * NEEDLE_ALIGNMENT;
    ret->size = (int32_t)load_be32(row + 8 + offset_bytes);
}

static inline bool index_row_is_put(const struct needle_entry *entry)
{
    return entry->offset != 0 && entry->size >= 0;
}

static inline bool index_row_is_gap(const struct needle_entry *entry)
{
    return entry->key == 0 && entry->size == NEEDLE_TOMBSTONE && entry->offset != 0;
}

struct index_file {
    struct os *os;
    const char *path; /* for messages; the caller's, must live as long as the file is open */
    int fd;           /* -1: not open */
    uint8_t offset_bytes;
    _Atomic uint64_t end; /* where the next row goes; whole rows only */
    _Atomic uint32_t cuts; /* how often rows were taken back */
};

/* Opens with these flags (O_RDWR | O_CREAT | O_EXCL ...; mode 0644). A partial last row is not counted
 * in `end` and stays on disk until the next append overwrites it. */
int index_file_open(struct index_file *file, struct os *os, const char *path, int flags,
                    uint8_t offset_bytes, struct error *err);
void index_file_close(struct index_file *file); /* takes a file that never opened (fd -1) too */
static inline uint64_t index_file_end(const struct index_file *file)
{
    return atomic_load_explicit(&file->end, memory_order_acquire);
}

static inline uint32_t index_file_cuts(const struct index_file *file)
{
    return atomic_load(&file->cuts);
}

/* Writes whole rows at the end. On failure the file is cut back; *ret_is_cut (may be NULL) tells
 * whether that worked. */
int index_file_append(struct index_file *file, const void *rows, size_t size, bool *ret_is_cut,
                      struct error *err);
/* Sets the end back to `end` (a row boundary) and truncates. */
int index_file_truncate(struct index_file *file, uint64_t end, struct error *err);
int index_file_sync(struct index_file *file, struct error *err);

/* Called for each row in file order; `position` is the row's own byte position. Non-zero ends the walk
 * and is returned. */
typedef int index_file_visitor(void *ctx, const struct needle_entry *entry, uint64_t position);
/* Walks the whole rows in [from, to); `to` is cut to the end. */
int index_file_walk(struct index_file *file, uint64_t from, uint64_t to, index_file_visitor *visit,
                    void *ctx, struct error *err);
