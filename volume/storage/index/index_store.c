/* Opening and closing the database. See the header. */
#include "volume/storage/index/index_store_internal.h"

#include "common/check.h"
#include "volume/storage/format/volume_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_THREAD__)
/* LevelDB comes without instrumentation: the atomics by which its own threads agree are not seen. Weak:
 * gRPC asks for the same (common/rpc_queue.c). */
const char *__tsan_default_options(void);
__attribute__((weak)) const char *__tsan_default_options(void)
{
    return "ignore_noninstrumented_modules=1";
}
#endif

/* The peer has these per volume, and a fraction of them: ours serve all volumes of a disk. */
static const struct {
    size_t cache_bytes, write_buffer_bytes;
    int open_files;
} sizes[] = {
    [INDEX_STORE_SMALL] = {16u << 20, 8u << 20, 128},
    [INDEX_STORE_MEDIUM] = {32u << 20, 16u << 20, 256},
    [INDEX_STORE_LARGE] = {64u << 20, 32u << 20, 512},
};

#define FILE_BYTES      (16u << 20)
#define BLOCK_BYTES     4096u
#define BLOOM_BITS      10

void index_store_note_damage(struct index_store *store)
{
    if (atomic_exchange(&store->is_damaged, true))
        return;
    /* Empty: that it is there says all. If it cannot be made, the next find tries. */
    int fd = os_open(store->os, store->damaged_path, O_WRONLY | O_CREAT, 0644);
    if (fd >= 0)
        os_close(store->os, fd);
    else
        atomic_store(&store->is_damaged, false);
}

int index_store_check(struct index_store *store, char *message, const char *what, struct error *err)
{
    if (!message)
        return 0;
    int code = KELP_E_IO;
    if (strncmp(message, "Corruption", 10) == 0) {
        code = KELP_E_CORRUPT;
        index_store_note_damage(store);
    } else if (strstr(message, "No space left")) {
        code = KELP_E_NO_SPACE;
    }
    /* LevelDB does not come back from an error by itself. */
    error_set(err, code, "%s the index database %s: %s; %s", what, store->path, message,
              code == KELP_E_CORRUPT ? "it is made anew when the server is restarted"
                                     : "when the disk is well again, restart the server");
    leveldb_free(message);
    return code;
}

static void make_options(struct index_store *store, enum index_store_size size)
{
    store->cache = leveldb_cache_create_lru(sizes[size].cache_bytes);
    store->filter = leveldb_filterpolicy_create_bloom(BLOOM_BITS);
    leveldb_options_t *o = store->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(o, 1);
    leveldb_options_set_paranoid_checks(o, 1);
    leveldb_options_set_compression(o, leveldb_no_compression);
    leveldb_options_set_cache(o, store->cache);
    leveldb_options_set_filter_policy(o, store->filter);
    leveldb_options_set_write_buffer_size(o, sizes[size].write_buffer_bytes);
    leveldb_options_set_max_open_files(o, sizes[size].open_files);
    leveldb_options_set_max_file_size(o, FILE_BYTES);
    leveldb_options_set_block_size(o, BLOCK_BYTES);
    store->read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(store->read, 1);
    store->walk = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(store->walk, 1);
    leveldb_readoptions_set_fill_cache(store->walk, 0);
    store->write = leveldb_writeoptions_create();
}

/* What LevelDB's message means: it gives no codes. KELP_E_CORRUPT: another database in its place may be
 * opened; for any other reason it may not, and this one is not to blame. */
static int judge_failure(const char *message)
{
    static const struct {
        const char *text;
        int code;
    } reasons[] = {
        {"IO error: lock ", KELP_E_BUSY}, /* another process, or an earlier life of this one, holds it */
        {"Permission denied", KELP_E_DENIED},
        {"Read-only file system", KELP_E_READ_ONLY},
        {"No space left", KELP_E_NO_SPACE},
        {"Disk quota exceeded", KELP_E_NO_SPACE},
        {"Too many open files", KELP_E_LIMIT},
        {"Cannot allocate memory", KELP_E_NO_MEMORY},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
        if (strstr(message, reasons[i].text))
            return reasons[i].code;
    return KELP_E_CORRUPT;
}

static int open_database(struct index_store *store, struct error *err)
{
    char *message = NULL;
    store->db = leveldb_open(store->options, store->path, &message);
    if (store->db)
        return index_catalogue_load(store, err);
    const char *text = message ? message : "it cannot be opened";
    int code = error_set(err, judge_failure(text), "%s", text);
    leveldb_free(message);
    return code;
}

static void close_database(struct index_store *store)
{
    if (store->db)
        leveldb_close(store->db);
    store->db = NULL;
    index_catalogue_free(store);
}

static int open_or_make(struct index_store *store, char **ret_note, struct error *err)
{
    struct os_stat st;
    struct error why;
    bool was_damaged = os_stat(store->os, store->damaged_path, &st) >= 0;
    int code = KELP_E_CORRUPT;
    if (was_damaged)
        error_set(&why, code, "a checksum in it was wrong");
    else
        code = open_database(store, &why);
    if (code == 0)
        return 0;
    if (code != KELP_E_CORRUPT)
        return error_set(err, code, "%s", why.message);
    close_database(store);
    /* LevelDB's own way of removing a database knows its own files only, and stumbles over a damaged list of
     * them. Everything in the directory is ours. */
    code = volume_file_remove(store->os, store->path, err);
    if (code == 0)
        code = open_database(store, err);
    if (code != 0)
        return code;
    os_unlink(store->os, store->damaged_path);
    atomic_store(&store->is_damaged, false);
    if (ret_note)
        CHECK(asprintf(ret_note, "index database made anew (%s)", why.message) >= 0);
    return 0;
}

int index_store_open(struct index_store **ret, struct os *os, const char *path,
                     enum index_store_size size, char **ret_note, struct error *err)
{
    struct index_store *store = must(calloc(1, sizeof(*store)));
    store->os = os;
    store->path = must(strdup(path));
    CHECK(asprintf(&store->damaged_path, "%s.damaged", path) >= 0);
    store->next_number = 1;
    CHECK(pthread_mutex_init(&store->lock, NULL) == 0);
    CHECK(pthread_cond_init(&store->changed, NULL) == 0);
    make_options(store, size);
    if (ret_note)
        *ret_note = NULL;
    int code = open_or_make(store, ret_note, err);
    if (code == 0)
        code = index_sweep_start(store, err);
    if (code != 0) {
        if (ret_note) {
            free(*ret_note);
            *ret_note = NULL;
        }
        index_store_close(store);
        return code;
    }
    *ret = store;
    return 0;
}

void index_store_close(struct index_store *store)
{
    if (!store)
        return;
    pthread_mutex_lock(&store->lock);
    while (store->tenants)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
    index_sweep_stop(store);
    close_database(store);
    leveldb_options_destroy(store->options);
    leveldb_cache_destroy(store->cache);
    leveldb_filterpolicy_destroy(store->filter);
    leveldb_readoptions_destroy(store->read);
    leveldb_readoptions_destroy(store->walk);
    leveldb_writeoptions_destroy(store->write);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    free(store->rubbish);
    free(store->path);
    free(store->damaged_path);
    free(store);
}
