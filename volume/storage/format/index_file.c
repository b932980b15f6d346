/* The .idx log: rows in, rows out. See the header for the byte table. */
#include "volume/storage/format/index_file.h"

#include "common/check.h"

#define WALK_ROWS 4096u

void index_row_store(uint8_t *row, const struct needle_entry *entry, uint8_t offset_bytes)
{
    uint64_t units = entry->offset / NEEDLE_ALIGNMENT;
    store_be64(row, entry->key);
    store_be32(row + 8, (uint32_t)units);
    if (offset_bytes == 5)
        row[12] = (uint8_t)(units >> 32);
    store_be32(row + 8 + offset_bytes, (uint32_t)entry->size);
}

int index_file_open(struct index_file *file, struct os *os, const char *path, int flags,
                    uint8_t offset_bytes, struct error *err)
{
    CHECK(offset_bytes == 4 || offset_bytes == 5);
    *file = (struct index_file){.os = os, .path = path, .fd = -1, .offset_bytes = offset_bytes};
    int fd = os_open(os, path, flags, 0644);
    if (fd < 0)
        return error_set_errno(err, -fd, "open %s", path);
    struct os_stat st;
    int result = os_fstat(os, fd, &st);
    if (result < 0) {
        os_close(os, fd);
        return error_set_errno(err, -result, "fstat %s", path);
    }
    file->fd = fd;
    atomic_store(&file->end, st.size - st.size % index_row_size(offset_bytes));
    return 0;
}

void index_file_close(struct index_file *file)
{
    if (file->fd >= 0)
        os_close(file->os, file->fd);
    file->fd = -1;
}

int index_file_append(struct index_file *file, const void *rows, size_t size, bool *ret_is_cut,
                      struct error *err)
{
    CHECK(size % index_row_size(file->offset_bytes) == 0);
    uint64_t end = index_file_end(file);
    struct iovec iov = {(void *)(uintptr_t)rows, size};
    int code = os_write_full(file->os, file->fd, file->path, &iov, 1, end, err);
    if (code != 0) {
        bool is_cut = os_ftruncate(file->os, file->fd, end) >= 0;
        if (ret_is_cut)
            *ret_is_cut = is_cut;
        return code;
    }
    atomic_store_explicit(&file->end, end + size, memory_order_release);
    return 0;
}

int index_file_truncate(struct index_file *file, uint64_t end, struct error *err)
{
    CHECK(end % index_row_size(file->offset_bytes) == 0);
    int result = os_ftruncate(file->os, file->fd, end);
    if (result < 0)
        return error_set_errno(err, -result, "truncate %s to %llu", file->path,
                               (unsigned long long)end);
    if (end < index_file_end(file))
        atomic_fetch_add(&file->cuts, 1);
    atomic_store_explicit(&file->end, end, memory_order_release);
    return 0;
}

int index_file_sync(struct index_file *file, struct error *err)
{
    int result = os_fsync(file->os, file->fd);
    return result < 0 ? error_set_errno(err, -result, "fsync %s", file->path) : 0;
}

int index_file_walk(struct index_file *file, uint64_t from, uint64_t to, index_file_visitor *visit,
                    void *ctx, struct error *err)
{
    size_t row_size = index_row_size(file->offset_bytes);
    uint64_t end = index_file_end(file);
    to = to < end ? to : end;
    to -= to % row_size;
    CHECK(from % row_size == 0);
    uint8_t *rows = malloc(WALK_ROWS * row_size);
    if (!rows)
        return error_set(err, KELP_E_NO_MEMORY, "no memory to read %s", file->path);
    int code = 0;
    while (code == 0 && from < to) {
        size_t n = to - from < WALK_ROWS * row_size ? (size_t)(to - from) : WALK_ROWS * row_size;
        code = os_read_full(file->os, file->fd, file->path, rows, n, from, err);
        for (size_t at = 0; code == 0 && at < n; at += row_size) {
            struct needle_entry entry;
            index_row_load(rows + at, &entry, file->offset_bytes);
            code = visit(ctx, &entry, from + at);
        }
        from += n;
    }
    free(rows);
    return code;
}
