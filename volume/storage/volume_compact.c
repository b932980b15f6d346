/* The copy: all live records into a new generation, in .dat order, while the old one is in use.
 *
 * The cursor delivers the live entries by offset. Entries that lie close together make a run, which
 * is read in one go; its records are checked and handed to the copy's writer where they lie. What is
 * read ahead and dropped behind follows the run. Rows of the new index follow the records, so that
 * the last row is that of the last record: both programs' check of the tail is cheap then.
 *
 * A record that fails its check is carried over as it is and listed. A device that fails aborts.
 * Runs on a thread of its own, which lets clients go first, while the worker waits for it; takes the
 * append lock once, for the mark. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#define STEP_BYTES  (128u << 20) /* between two offsets that are told */
#define RUN_BYTES   (1u << 20)  /* one read; larger only for a larger record */
#define RUN_ENTRIES 8192u
#define RUN_GAP     (32u << 10) /* garbage that is cheaper to read than to seek over */
#define WRITE_BACK_BYTES (4u << 20)
#define WRITE_BACK_AHEAD (32u << 20) /* on its way to the disk at most */

struct copy {
    struct vacuum *v;
    const struct vacuum_options *options;
    uint64_t limit; /* only what lies below: the .dat's end at the mark */
    uint8_t *buffer;
    size_t capacity;
    struct needle_entry *entries; /* of the run, RUN_ENTRIES */
    size_t count;
    uint64_t start, end; /* of the run in the .dat */
    uint64_t run_bytes;  /* RUN_BYTES, or less where a rate is to be kept */
    struct vacuum_pages *pages;
    struct vacuum_writer *writer;
    uint64_t copied_records, copied_bytes; /* of the run */
    uint64_t started_end, written_end; /* of next's .dat: up to here is on its way to the disk, is there */
    struct vacuum_pace pace;
    uint64_t next_step; /* beyond it the next step is told */
    int code; /* of the copying thread, which leaves err */
    struct error *err;
    int64_t now_second;
    struct needle_entry healthy; /* the last record that was; where it lies in the new .dat */
    bool has_healthy, ends_damaged;
};

/* ---- one record ---- */

/* Spec 4, "compaction", with the peer's quirk left out: the volume's TTL decides, and only where
 * there is one; a needle's own TTL on a volume without one is kept. */
static bool is_expired(const struct copy *c, const struct needle *needle)
{
    uint64_t minutes = ttl_minutes(c->v->volume->ttl);
    return minutes > 0 && (needle->flags & NEEDLE_HAS_TTL) && needle->last_modified > 0 &&
           c->now_second >= 0 && (uint64_t)c->now_second >= needle->last_modified + minutes * 60;
}

static int check_record(const struct copy *c, const struct needle_entry *entry,
                        const uint8_t *bytes, size_t size, struct needle *ret, struct error *err)
{
    int code = needle_parse(bytes, size, c->v->old->version, entry->size, ret, err);
    if (code == 0 && ret->key != entry->key)
        code = error_set(err, KELP_E_CORRUPT, "the record is of needle %llx",
                         (unsigned long long)ret->key);
    return code;
}

/* With 4-byte offsets a row cannot say whether its record lies in the first 32 GiB or behind. */
static bool read_wrapped(struct copy *c, const struct needle_entry *entry, size_t size,
                         uint8_t **ret_bytes, struct needle *ret)
{
    struct volume_generation *old = c->v->old;
    uint64_t offset = entry->offset + index_row_limit(old->offset_bytes);
    if (offset + size > c->limit)
        return false;
    uint8_t *bytes = malloc(size);
    if (!bytes)
        return false;
    if (os_read_full(old->os, old->dat_fd, "", bytes, size, offset, NULL) == 0 &&
        check_record(c, entry, bytes, size, ret, NULL) == 0) {
        *ret_bytes = bytes;
        return true;
    }
    free(bytes);
    return false;
}

static int add_record(struct copy *c, const struct needle_entry *entry, const uint8_t *bytes,
                      struct error *err)
{
    struct vacuum *v = c->v;
    uint64_t size = needle_record_size(v->old->version, entry->size);
    struct needle_entry written;
    int code = vacuum_writer_add(c->writer, entry->key, entry->size, bytes, &written, err);
    if (code != 0)
        return code;
    if (!c->ends_damaged) {
        c->healthy = written;
        c->has_healthy = true;
    }
    vacuum_digest_add(&v->source, entry->key, entry->size,
                      vacuum_record_checksum(bytes, entry->size));
    c->copied_records++;
    c->copied_bytes += size;
    return 0;
}

/* `available`: how many of the record's bytes the file has; the rest is zero. */
static int copy_record(struct copy *c, const struct needle_entry *entry, const uint8_t *bytes,
                       size_t available, struct error *err)
{
    struct vacuum *v = c->v;
    size_t size = (size_t)needle_record_size(v->old->version, entry->size);
    struct needle needle = {0};
    struct error why;
    uint8_t *wrapped = NULL;
    int code = available < size ? error_set(&why, KELP_E_CORRUPT, "the .dat ends inside the record")
                                : check_record(c, entry, bytes, size, &needle, &why);
    if (code != 0 && read_wrapped(c, entry, size, &wrapped, &needle)) {
        code = 0;
        bytes = wrapped;
    }
    if (code != 0) {
        vacuum_note_damage(v, entry, why.message);
    } else if (is_expired(c, &needle)) {
        code = needle_index_put(v->expired, entry, NEEDLE_INDEX_RUNTIME, err);
        free(wrapped);
        return code;
    }
    c->ends_damaged = code != 0;
    code = add_record(c, entry, bytes, err);
    if (wrapped && code == 0)
        code = vacuum_writer_flush(c->writer, err);
    free(wrapped);
    return code;
}

/* A damaged record at the end would look like a torn write to whoever opens the volume, and be cut
 * off. So a healthy one is written once more behind it. */
static int end_healthy(struct copy *c, struct error *err)
{
    struct vacuum *v = c->v;
    struct volume_generation *next = v->next;
    const struct needle_entry *healthy = &c->healthy;
    if (!c->ends_damaged || !c->has_healthy)
        return 0;
    size_t size = (size_t)needle_record_size(next->version, healthy->size);
    uint8_t *bytes = malloc(size);
    if (!bytes)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a record of %zu bytes", size);
    bool was_live;
    record_writer_begin(v->writer, next);
    int code = os_read_full(next->os, next->dat_fd, atomic_load(&next->dat_path), bytes, size,
                            healthy->offset, err);
    if (code == 0)
        code = vacuum_batch_forget(v, healthy->key, &was_live, err);
    if (code == 0)
        code = vacuum_batch_add(v, healthy->key, healthy->size, bytes, err);
    if (code == 0)
        vacuum_digest_add(&v->source, healthy->key, healthy->size,
                          vacuum_record_checksum(bytes, healthy->size));
    if (code == 0)
        code = vacuum_batch_flush(v, err);
    record_writer_discard(v->writer);
    v->written_count = 0;
    free(bytes);
    return code;
}

/* ---- a run ---- */

static int read_run(struct copy *c, size_t *ret_got, struct error *err)
{
    struct volume_generation *old = c->v->old;
    size_t size = (size_t)(c->end - c->start), got = 0;
    if (size > c->capacity) {
        uint8_t *larger = realloc(c->buffer, size);
        if (!larger)
            return error_set(err, KELP_E_NO_MEMORY, "no memory for a record of %zu bytes", size);
        c->buffer = larger;
        c->capacity = size;
    }
    vacuum_pages_want(c->pages, c->start, c->end);
    while (got < size) {
        ssize_t n = os_pread(old->os, old->dat_fd, c->buffer + got, size - got, c->start + got);
        if (n < 0)
            return error_set_errno(err, (int)-n, "pread %s at %llu", atomic_load(&old->dat_path),
                                   (unsigned long long)(c->start + got));
        if (n == 0)
            break;
        got += (size_t)n;
    }
    memset(c->buffer + got, 0, size - got);
    *ret_got = got;
    return 0;
}

/* The disk is kept busy, and never has much to do at once: a large sync at the end would hold up
 * every sync of the clients. */
static int write_behind(struct copy *c, struct error *err)
{
    struct volume_generation *next = c->v->next;
    uint64_t end = volume_generation_end(next);
    int result = 0;
    if (end - c->started_end >= WRITE_BACK_BYTES) {
        result = os_write_back(next->os, next->dat_fd, c->started_end, end - c->started_end, false);
        c->started_end = end;
    }
    while (result == 0 && c->started_end - c->written_end > WRITE_BACK_AHEAD) {
        result = os_write_back(next->os, next->dat_fd, c->written_end, WRITE_BACK_BYTES, true);
        c->written_end += WRITE_BACK_BYTES;
    }
    if (result < 0)
        return error_set_errno(err, -result, "sync_file_range %s", atomic_load(&next->dat_path));
    return 0;
}

static int copy_run(struct copy *c, struct error *err)
{
    struct vacuum *v = c->v;
    uint64_t before = volume_generation_end(v->next);
    size_t got = 0;
    if (c->count == 0)
        return 0;
    c->copied_records = c->copied_bytes = 0;
    int code = read_run(c, &got, err);
    for (size_t i = 0; i < c->count && code == 0; i++) {
        size_t at = (size_t)(c->entries[i].offset - c->start);
        code = copy_record(c, &c->entries[i], c->buffer + at, got > at ? got - at : 0, err);
    }
    if (code == 0)
        code = vacuum_writer_flush(c->writer, err);
    if (code == 0)
        code = write_behind(c, err);
    c->count = 0;
    if (code != 0)
        return code;
    vacuum_pages_done(c->pages, c->end);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.records_copied += c->copied_records;
    v->progress.bytes_copied += c->copied_bytes;
    pthread_mutex_unlock(&v->progress_lock);
    return vacuum_pace_step(&c->pace, c->end,
                            c->end - c->start + volume_generation_end(v->next) - before, err);
}

static int take_entry(struct copy *c, const struct needle_entry *entry, struct error *err)
{
    uint64_t end = entry->offset + needle_record_size(c->v->old->version, entry->size);
    bool joins = c->count > 0 && c->count < RUN_ENTRIES && entry->offset >= c->start &&
                 entry->offset <= c->end + RUN_GAP && end - c->start <= c->run_bytes;
    if (!joins) {
        int code = copy_run(c, err);
        if (code != 0)
            return code;
        c->start = c->end = entry->offset;
    }
    c->entries[c->count++] = *entry;
    if (end > c->end)
        c->end = end;
    if (entry->offset > c->next_step) { /* spec volume-rpc.md 1: as the peer's progress counts */
        c->next_step = entry->offset + STEP_BYTES;
        pthread_mutex_lock(&c->v->progress_lock);
        c->v->progress.step_offset = entry->offset;
        pthread_mutex_unlock(&c->v->progress_lock);
    }
    return 0;
}

static int copy_all(struct copy *c, struct error *err)
{
    struct needle_cursor *cursor;
    int code = needle_cursor_open(c->v->old->index, NEEDLE_INDEX_BY_OFFSET, c->limit, &cursor, err);
    if (code != 0)
        return code;
    for (;;) {
        const struct needle_entry *entries;
        size_t count;
        code = needle_cursor_next(cursor, &entries, &count, err);
        if (code != 0 || count == 0)
            break;
        for (size_t i = 0; i < count && code == 0; i++)
            code = take_entry(c, &entries[i], err);
        if (code != 0)
            break;
    }
    if (code == 0)
        code = copy_run(c, err);
    if (code == 0)
        code = vacuum_writer_end(c->writer, err);
    if (code == 0)
        code = end_healthy(c, err);
    needle_cursor_close(cursor);
    return code;
}

/* From here on what the index says about lower offsets is complete, and what changes has a row. */
static void set_mark(struct vacuum *v, struct copy *c, struct needle_index_stat *ret)
{
    volume_lock_appends(v->volume);
    v->mark = index_file_end(&v->old->idx);
    v->cuts = index_file_cuts(&v->old->idx);
    c->limit = volume_generation_end(v->old);
    needle_index_stat(v->old->index, ret);
    volume_unlock_appends(v->volume);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.bytes_total = c->limit;
    v->progress.live_bytes = ret->live_record_bytes;
    v->progress.live_records = ret->live_count;
    pthread_mutex_unlock(&v->progress_lock);
}

/* What is copied into, and with what. */
static int prepare(struct copy *c, struct error *err)
{
    struct vacuum *v = c->v;
    struct needle_index_stat live;
    set_mark(v, c, &live);
    c->run_bytes = vacuum_budget_piece(c->options->budget, RUN_BYTES);
    c->now_second = os_now_ns(v->volume->os) / 1000000000;
    int code = vacuum_make_next(v, c->options, &live, err);
    if (code == 0 && ttl_is_set(v->volume->ttl))
        code = needle_index_memory_create(&v->expired,
                                          &(struct needle_index_config){
                                              .version = v->old->version,
                                              .seed = os_random(v->volume->os),
                                          },
                                          err);
    if (code != 0)
        return code;
    c->pages = vacuum_pages_create(v->old);
    c->buffer = malloc(RUN_BYTES);
    c->entries = malloc(RUN_ENTRIES * sizeof(*c->entries));
    if (!c->buffer || !c->entries)
        return error_set(err, KELP_E_NO_MEMORY, "no memory for a copy");
    return vacuum_writer_create(&c->writer, v, live.live_count, err);
}

/* Nothing is marked, reserved or held before there is a place among the jobs of the disk. */
static void *run_copy(void *ctx)
{
    struct copy *c = ctx;
    struct vacuum *v = c->v;
    os_lower_priority(v->volume->os);
    int code = vacuum_pace_begin(&c->pace, v, c->options, c->err);
    if (code == 0)
        code = prepare(c, c->err);
    if (code == 0)
        code = copy_all(c, c->err);
    if (code == 0)
        code = volume_generation_sync(v->next, c->err);
    if (code == 0)
        code = volume_files_sync_directories(&v->volume->files, v->volume->os, c->err);
    vacuum_pace_end(&c->pace);
    c->code = code;
    return NULL;
}

int vacuum_copy(struct vacuum *v, const struct vacuum_options *options, struct error *err)
{
    struct copy c = {
        .v = v, .options = options, .capacity = RUN_BYTES, .next_step = STEP_BYTES, .err = err};
    pthread_t thread;
    int rc = pthread_create(&thread, NULL, run_copy, &c);
    if (rc != 0)
        return error_set_errno(err, rc, "start the thread of a vacuum");
    pthread_setname_np(thread, "vacuum");
    pthread_join(thread, NULL);
    vacuum_writer_destroy(c.writer);
    vacuum_pages_destroy(c.pages);
    free(c.buffer);
    free(c.entries);
    return c.code;
}
