/* Opening, counting and closing generations, and reading a record out of one. Any thread. */
#include "volume/storage/volume_generation.h"

#include "common/check.h"
#include "volume/storage/index/needle_index_leveldb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* NULL, and err says so, when memory is gone. */
static struct volume_generation *allocate(struct os *os, const struct volume_generation_owner *owner,
                                          const char *dat_path, const char *idx_path,
                                          struct error *err)
{
    struct volume_generation *generation = calloc(1, sizeof(*generation));
    if (!generation) {
        error_set(err, KELP_E_NO_MEMORY, "no memory to open %s", dat_path);
        return NULL;
    }
    static atomic_uint_fast64_t serials;
    generation->serial = atomic_fetch_add(&serials, 1) + 1;
    atomic_init(&generation->references, 1);
    CHECK(pthread_mutex_init(&generation->sync_lock, NULL) == 0);
    generation->os = os;
    generation->volume_id = owner->volume_id;
    generation->index_store = owner->index_store;
    generation->collection = must(strdup(owner->collection ? owner->collection : ""));
    generation->dat_fd = -1;
    generation->idx.fd = -1;
    generation->owned_paths[0] = must(strdup(dat_path));
    generation->owned_paths[1] = must(strdup(idx_path));
    atomic_init(&generation->dat_path, generation->owned_paths[0]);
    generation->idx.path = generation->owned_paths[1];
    return generation;
}

static void close_generation(struct volume_generation *generation)
{
    if (generation->dat_fd >= 0)
        os_close(generation->os, generation->dat_fd);
    index_file_close(&generation->idx);
    needle_index_destroy(generation->index);
    for (size_t i = 0; i < sizeof(generation->owned_paths) / sizeof(char *); i++)
        free(generation->owned_paths[i]);
    free(generation->collection);
    void (*on_close)(void *) = generation->on_close;
    void *ctx = generation->on_close_ctx;
    pthread_mutex_destroy(&generation->sync_lock);
    free(generation);
    if (on_close)
        on_close(ctx);
}

void volume_generation_ref(struct volume_generation *generation)
{
    atomic_fetch_add_explicit(&generation->references, 1, memory_order_relaxed);
}

void volume_generation_unref(struct volume_generation *generation)
{
    if (generation &&
        atomic_fetch_sub_explicit(&generation->references, 1, memory_order_acq_rel) == 1)
        close_generation(generation);
}

int volume_generation_make_index(const struct volume_generation *generation, uint64_t expected,
                                 struct needle_index **ret, struct error *err)
{
    struct needle_index_config config = {
        .store = generation->index_store,
        .collection = generation->collection,
        .volume_id = generation->volume_id,
        .compact_revision = generation->super_block.compact_revision,
        .version = generation->version,
        .seed = os_random(generation->os),
        .expected = expected,
    };
    return config.store ? needle_index_leveldb_create(ret, &config, err)
                        : needle_index_memory_create(ret, &config, err);
}

void volume_generation_mark_place(struct volume_generation *generation,
                                  struct index_mark_place *ret)
{
    *ret = (struct index_mark_place){
        .volume_id = generation->volume_id,
        .compact_revision = generation->super_block.compact_revision,
        .version = generation->version,
        .first = super_block_end(&generation->super_block),
        .dat_end = volume_generation_end(generation),
        .idx = &generation->idx,
    };
}

void volume_generation_begin_mark(struct volume_generation *generation, bool is_marked)
{
    struct index_mark_place place;
    volume_generation_mark_place(generation, &place);
    index_mark_begin(&generation->mark, &place);
    generation->is_marked = is_marked;
    generation->checkpoint_end = 0;
}

bool volume_generation_seal_mark(struct volume_generation *generation)
{
    struct index_mark_place place;
    struct error ignored;
    volume_generation_mark_place(generation, &place);
    return generation->is_marked &&
           place.dat_end <= index_row_limit(generation->offset_bytes) && /* else the rows wrap */
           index_mark_advance(&generation->mark, &place, UINT64_MAX, &ignored) == 0 &&
           index_walk_is_whole(&generation->mark.walk) &&
           generation->mark.walk.records_end == place.dat_end &&
           index_mark_seal(&generation->mark, &place, generation->index,
                           atomic_load(&generation->synced_rows) == generation->mark.walk.idx_length,
                           &ignored) == 0;
}

int volume_generation_keep_mark(struct volume_generation *generation, uint64_t rows,
                                struct error *err)
{
    uint64_t at = generation->mark.walk.idx_length;
    if (!generation->is_marked || !needle_index_is_kept(generation->index) ||
        index_file_end(&generation->idx) < at + rows * index_row_size(generation->offset_bytes) ||
        !volume_generation_seal_mark(generation))
        return 0;
    return needle_index_keep(generation->index, &generation->mark, err);
}

int volume_generation_create(struct volume_generation **ret, struct os *os,
                             const struct volume_generation_owner *owner, const char *dat_path,
                             const char *idx_path, const struct super_block *super_block,
                             uint8_t offset_bytes, uint64_t expected, struct error *err)
{
    struct volume_generation *generation = allocate(os, owner, dat_path, idx_path, err);
    if (!generation)
        return KELP_E_NO_MEMORY;
    int code;
    generation->super_block = *super_block;
    generation->super_block.extra_size = 0; /* nobody writes one, and the peer cannot read it */
    generation->version = super_block->version;
    generation->offset_bytes = offset_bytes;
    generation->is_writable = true;

    int fd = os_open(os, dat_path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) {
        code = error_set_errno(err, -fd, "open %s", dat_path);
        goto failed;
    }
    generation->dat_fd = fd;
    uint8_t bytes[SUPER_BLOCK_SIZE];
    super_block_store(bytes, &generation->super_block);
    struct iovec iov = {bytes, sizeof(bytes)};
    code = os_write_full(os, fd, dat_path, &iov, 1, 0, err);
    if (code != 0)
        goto failed;
    atomic_store(&generation->dat_end, SUPER_BLOCK_SIZE);
    code = index_file_open(&generation->idx, os, generation->owned_paths[1],
                           O_RDWR | O_CREAT | O_TRUNC, offset_bytes, err);
    if (code != 0)
        goto failed;
    code = volume_generation_make_index(generation, expected, &generation->index, err);
    if (code != 0)
        goto failed;
    volume_generation_begin_mark(generation, true);
    *ret = generation;
    return 0;
failed:
    close_generation(generation);
    return code;
}

static int read_super_block(struct volume_generation *generation, const char *path,
                            struct error *err)
{
    struct os_stat st;
    int result = os_fstat(generation->os, generation->dat_fd, &st);
    if (result < 0)
        return error_set_errno(err, -result, "fstat %s", path);
    if (st.size < SUPER_BLOCK_SIZE)
        return error_set(err, KELP_E_CORRUPT,
                         "%s has %llu bytes, a super block needs %u: fetch the volume from a replica",
                         path, (unsigned long long)st.size, SUPER_BLOCK_SIZE);
    uint8_t bytes[SUPER_BLOCK_SIZE];
    int code = os_read_full(generation->os, generation->dat_fd, path, bytes, sizeof(bytes), 0, err);
    if (code != 0)
        return code;
    code = super_block_load(bytes, &generation->super_block, err);
    if (code != 0) {
        error_prefix(err, "%s", path);
        return code;
    }
    generation->version = generation->super_block.version;
    atomic_store(&generation->dat_end,
                 (st.size + NEEDLE_ALIGNMENT - 1) & ~(uint64_t)(NEEDLE_ALIGNMENT - 1));
    atomic_store(&generation->synced_end, volume_generation_end(generation));
    return 0;
}

int volume_generation_open(struct volume_generation **ret, struct os *os,
                           const struct volume_generation_owner *owner, const char *dat_path,
                           const char *idx_path, bool is_writable, uint8_t offset_bytes,
                           struct error *err)
{
    struct volume_generation *generation = allocate(os, owner, dat_path, idx_path, err);
    if (!generation)
        return KELP_E_NO_MEMORY;
    int code;
    int access = is_writable ? O_RDWR : O_RDONLY;
    generation->offset_bytes = offset_bytes;
    generation->is_writable = is_writable;
    int fd = os_open(os, dat_path, access, 0);
    if (fd < 0) {
        code = error_set_errno(err, -fd, "open %s", dat_path);
        goto failed;
    }
    generation->dat_fd = fd;
    code = read_super_block(generation, dat_path, err);
    if (code != 0)
        goto failed;
    code = index_file_open(&generation->idx, os, generation->owned_paths[1], access, offset_bytes,
                           err);
    if (code != 0)
        goto failed;
    *ret = generation;
    return 0;
failed:
    close_generation(generation);
    return code;
}

void volume_generation_set_paths(struct volume_generation *generation, const char *dat_path,
                                 const char *idx_path)
{
    CHECK(!generation->owned_paths[2]);
    generation->owned_paths[2] = must(strdup(dat_path));
    generation->owned_paths[3] = must(strdup(idx_path));
    atomic_store(&generation->dat_path, generation->owned_paths[2]);
    generation->idx.path = generation->owned_paths[3]; /* only appenders look at it */
}

/* ---- syncs ---- */

static int begin_sync(struct volume_generation *generation, struct error *err)
{
    pthread_mutex_lock(&generation->sync_lock);
    if (!generation->has_sync_failed)
        return 0;
    return error_set(err, KELP_E_IO,
                     "an earlier sync of %s failed: check the disk, then mark the volume writable",
                     atomic_load(&generation->dat_path));
}

static int end_sync(struct volume_generation *generation, int code)
{
    generation->has_sync_failed = code != 0;
    pthread_mutex_unlock(&generation->sync_lock);
    return code;
}

int volume_generation_sync(struct volume_generation *generation, struct error *err)
{
    int code = begin_sync(generation, err);
    uint64_t end = volume_generation_end(generation), rows = index_file_end(&generation->idx);
    int result = code == 0 ? os_fsync(generation->os, generation->dat_fd) : 0;
    if (result < 0)
        code = error_set_errno(err, -result, "fsync %s", atomic_load(&generation->dat_path));
    if (code == 0)
        atomic_store(&generation->synced_end, end);
    if (code == 0)
        code = index_file_sync(&generation->idx, err);
    if (code == 0)
        atomic_store(&generation->synced_rows, rows);
    return end_sync(generation, code);
}

int volume_generation_sync_records(struct volume_generation *generation, struct error *err)
{
    int code = begin_sync(generation, err);
    uint64_t end = volume_generation_end(generation);
    int result = code == 0 ? os_fdatasync(generation->os, generation->dat_fd) : 0;
    if (result < 0)
        code = error_set_errno(err, -result, "fdatasync %s", atomic_load(&generation->dat_path));
    if (code == 0)
        atomic_store(&generation->synced_end, end);
    return end_sync(generation, code);
}

int volume_generation_sync_rows(struct volume_generation *generation, struct error *err)
{
    int code = begin_sync(generation, err);
    if (code == 0)
        code = index_file_sync(&generation->idx, err);
    return end_sync(generation, code);
}

void volume_generation_forget_failed_sync(struct volume_generation *generation)
{
    pthread_mutex_lock(&generation->sync_lock);
    generation->has_sync_failed = false;
    pthread_mutex_unlock(&generation->sync_lock);
}

void volume_generation_inherit_syncs(struct volume_generation *next, struct volume_generation *old)
{
    pthread_mutex_lock(&old->sync_lock);
    next->has_sync_failed = old->has_sync_failed;
    atomic_store(&next->synced_end, atomic_load(&old->synced_end));
    pthread_mutex_unlock(&old->sync_lock);
    volume_generation_promise(next, atomic_load(&old->promised_end));
}

/* ---- reading ---- */

/* The last record may lack some of its padding, which the logical end counts (spec 11.3) and a file that
 * is not ours to write does not get. It reads as zeros. False when that is not what is missing. */
static bool read_without_padding(struct volume_generation *generation, void *buf, size_t n,
                                 uint64_t offset)
{
    struct os_stat st;
    uint64_t end = volume_generation_end(generation);
    if (offset + n > end || os_fstat(generation->os, generation->dat_fd, &st) < 0 ||
        st.size >= end || end - st.size >= NEEDLE_ALIGNMENT || st.size < offset)
        return false;
    size_t there = (size_t)(st.size - offset);
    if (there >= n || os_read_full(generation->os, generation->dat_fd, "", buf, there, offset, NULL) != 0)
        return false;
    memset((uint8_t *)buf + there, 0, n - there);
    return true;
}

int volume_generation_pread(struct volume_generation *generation, void *buf, size_t n,
                            uint64_t offset, bool nowait, struct error *err)
{
    if (!nowait) {
        struct error reason;
        int code = os_read_full(generation->os, generation->dat_fd,
                                atomic_load_explicit(&generation->dat_path, memory_order_acquire),
                                buf, n, offset, &reason);
        if (code == KELP_E_CORRUPT && read_without_padding(generation, buf, n, offset))
            return 0;
        if (code != 0 && err)
            *err = reason;
        return code;
    }
    /* Whatever is wrong, the read that may wait will find it again and say it. */
    ssize_t got = os_pread_nowait(generation->os, generation->dat_fd, buf, n, offset);
    return got == (ssize_t)n ? 0 : KELP_E_AGAIN;
}

static int read_at(struct volume_generation *generation, const struct needle_entry *entry,
                   uint64_t offset, uint8_t *buf, size_t size, bool nowait, struct needle *ret,
                   struct error *err)
{
    int code = volume_generation_pread(generation, buf, size, offset, nowait, err);
    if (code != 0)
        return code;
    struct needle needle;
    code = needle_parse(buf, size, generation->version, entry->size, &needle, err);
    if (code == 0 && needle.key != entry->key)
        code = error_set(err, KELP_E_CORRUPT, "needle %llx: the record is of needle %llx",
                         (unsigned long long)entry->key, (unsigned long long)needle.key);
    if (code == 0)
        *ret = needle;
    return code;
}

int volume_generation_read(struct volume_generation *generation, const struct needle_entry *entry,
                           void *buf, bool nowait, struct needle *ret, struct error *err)
{
    uint64_t offset = entry->offset;
    uint64_t size = needle_record_size(generation->version, entry->size);
    uint64_t limit = index_row_limit(generation->offset_bytes);
    struct error first;
    int code = read_at(generation, entry, offset, buf, size, nowait, ret, &first);
    if (code == KELP_E_CORRUPT && offset + limit + size <= volume_generation_end(generation) &&
        read_at(generation, entry, offset + limit, buf, size, nowait, ret, NULL) == 0)
        return 0;
    if (code == KELP_E_AGAIN)
        return code;
    if (code != 0)
        error_set(err, code, "%s at %llu: %s",
                  atomic_load_explicit(&generation->dat_path, memory_order_acquire),
                  (unsigned long long)offset, first.message);
    return code;
}
