/* The sorted file: what it says, when it is made anew, deletes in place; and volumes that have one. */
#include "volume/storage/index/needle_index_sorted.h"

#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/index/index_store.h"
#include "volume/storage/volume_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(expression) assert_int_equal((expression), 0)

enum { KEYS = 3000, STEP = 7 };

static char folder[32], path[64];

static int make_folder(void **state)
{
    strcpy(folder, "/tmp/kelp-sorted-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/1.sdx", folder);
    return 0;
}

static int remove_folder(void **state)
{
    char database[64];
    snprintf(database, sizeof(database), "%s/kelp.ldb", folder);
    volume_file_remove(os_real(), database, NULL);
    return volume_file_remove(os_real(), folder, NULL);
}

/* Keys 0, STEP, 2 STEP ... at offsets that fall as keys rise; every third is deleted, every fifth empty. */
static struct needle_index *make_source(void)
{
    struct needle_index *index;
    const struct needle_index_config config = {.version = 3, .seed = 1, .expected = KEYS};
    OK(needle_index_memory_create(&index, &config, NULL));
    for (uint64_t i = 0; i < KEYS; i++) {
        const struct needle_entry entry = {i * STEP, (KEYS - i) * 4096, i % 5 == 0 ? 0 : (int32_t)i};
        OK(needle_index_put(index, &entry, NEEDLE_INDEX_LOAD, NULL));
        if (i % 3 == 0)
            OK(needle_index_delete(index, i * STEP, NEEDLE_INDEX_LOAD, NULL));
    }
    return index;
}

static struct needle_index *open_sorted(struct os *os, uint8_t offset_bytes)
{
    struct needle_index *source = make_source(), *index;
    struct error err;
    const struct needle_index_sorted_config config = {os, path, offset_bytes, 3};
    if (needle_index_sorted_open(&index, &config, source, &err) != 0)
        fail_msg("%s", err.message);
    needle_index_destroy(source);
    return index;
}

static void assert_content(struct needle_index *index)
{
    struct needle_entry entry;
    for (uint64_t i = 0; i < KEYS; i++) {
        int code = needle_index_get(index, i * STEP, &entry, NULL);
        assert_int_equal(code, i % 3 == 0 ? KELP_E_NOT_FOUND : 0);
        if (code == 0)
            assert_true(entry.offset == (KEYS - i) * 4096 &&
                        entry.size == (i % 5 == 0 ? 0 : (int32_t)i));
        assert_int_equal(needle_index_get(index, i * STEP + 1, &entry, NULL), KELP_E_NOT_FOUND);
    }
    int code = needle_index_get(index, UINT64_MAX, &entry, NULL);
    assert_true(code == KELP_E_NOT_FOUND || entry.size == NEEDLE_TOMBSTONE);
}

static void holds_the_live_entries_in_either_width(void **state)
{
    for (uint8_t offset_bytes = 4; offset_bytes <= 5; offset_bytes++) {
        struct needle_index *index = open_sorted(os_real(), offset_bytes);
        struct needle_index_stat stat;
        size_t size;
        assert_content(index);
        needle_index_stat(index, &stat);
        assert_int_equal(stat.live_count, KEYS - KEYS / 3);
        assert_int_equal(stat.file_count, KEYS);
        assert_int_equal(stat.deletion_count, KEYS / 3);
        assert_true(needle_index_may_block(index));
        assert_true(needle_index_is_sorted(index));
        assert_int_equal(needle_index_reserve(index, 5, NULL), KELP_E_READ_ONLY);
        needle_index_destroy(index);
        char *bytes = fixture_read_file(os_real(), path, &size);
        assert_int_equal(size, stat.live_count * index_row_size(offset_bytes));
        struct needle_entry first;
        index_row_load((uint8_t *)bytes, &first, offset_bytes);
        assert_true(first.key == STEP && first.offset == (KEYS - 1) * 4096 && first.size == 1);
        free(bytes);
        unlink(path);
    }
}

static void walks_by_key_and_by_offset(void **state)
{
    struct needle_index *index = open_sorted(os_real(), 5);
    for (int order = 0; order < 2; order++) {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        size_t count, seen = 0;
        uint64_t last = 0, limit = 1000 * 4096 + 1;
        OK(needle_cursor_open(index, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET, limit,
                              &cursor, NULL));
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i++, seen++) {
                uint64_t value = order ? entries[i].key : entries[i].offset;
                assert_true(value > last && entries[i].offset < limit);
                last = value;
            }
        needle_cursor_close(cursor);
        assert_int_equal(seen, 1000 - 1000 / 3 - (KEYS % 3 == 0 ? 0 : 1));
    }
    needle_index_destroy(index);
}

static ino_t inode_of(const char *name)
{
    struct stat st;
    OK(stat(name, &st));
    return st.st_ino;
}

static void file_that_says_the_same_is_kept(void **state)
{
    needle_index_destroy(open_sorted(os_real(), 5));
    ino_t inode = inode_of(path);
    /* Deleted in place since: the source has no such key. */
    size_t size;
    char *bytes = fixture_read_file(os_real(), path, &size);
    uint8_t more[INDEX_ROW_MAX];
    index_row_store(more, &(struct needle_entry){UINT64_MAX, 8, NEEDLE_TOMBSTONE}, 5);
    char *longer = malloc(size + 17);
    memcpy(longer, bytes, size);
    memcpy(longer + size, more, 17);
    fixture_write_file(os_real(), path, longer, size + 17);
    struct needle_index *index = open_sorted(os_real(), 5);
    assert_content(index);
    needle_index_destroy(index);
    assert_int_equal(inode_of(path), inode);
    free(bytes);
    free(longer);
}

static void file_that_says_anything_else_is_made_anew(void **state)
{
    for (int what = 0; what < 8; what++) {
        needle_index_destroy(open_sorted(os_real(), 5));
        size_t size;
        char *bytes = fixture_read_file(os_real(), path, &size);
        size_t row = 17 * 100;
        if (what == 0)
            size -= 5; /* a part of a row */
        else if (what == 1)
            size -= 17; /* one is missing */
        else if (what == 2)
            bytes[row + 16] ^= 1; /* another size */
        else if (what == 3)
            bytes[row + 10] ^= 1; /* another offset */
        else if (what == 4)
            memcpy(bytes + row, bytes + row + 17, 17); /* a key twice */
        else if (what == 5)
            memset(bytes + row + 13, 0xff, 4); /* deleted, it says */
        char *longer = malloc(size + 17);
        size_t half = (size / 17 + 1) / 2 * 17;
        memcpy(longer, bytes, size);
        if (what == 6) { /* a deleted one, out of order: halving would go astray */
            memcpy(longer + half + 17, bytes + half, size - half);
            index_row_store((uint8_t *)longer + half, &(struct needle_entry){UINT64_MAX, 8, -1}, 5);
        }
        if (what == 7) /* one more */
            index_row_store((uint8_t *)longer + size, &(struct needle_entry){UINT64_MAX, 8, 1}, 5);
        fixture_write_file(os_real(), path, longer, size + (what >= 6 ? 17 : 0));
        free(longer);
        free(bytes);
        struct needle_index *index = open_sorted(os_real(), 5);
        assert_content(index);
        needle_index_destroy(index);
    }
}

static void delete_is_written_in_place(void **state)
{
    struct needle_index *index = open_sorted(os_real(), 5);
    struct needle_index_stat before, after;
    struct needle_entry entry;
    needle_index_stat(index, &before);
    OK(needle_index_delete(index, 100 * STEP, NEEDLE_INDEX_RUNTIME, NULL));
    OK(needle_index_delete(index, 100 * STEP, NEEDLE_INDEX_RUNTIME, NULL)); /* again: nothing */
    OK(needle_index_delete(index, 1, NEEDLE_INDEX_RUNTIME, NULL));          /* unknown: nothing */
    needle_index_stat(index, &after);
    assert_int_equal(after.live_count, before.live_count - 1);
    assert_int_equal(after.deletion_count, before.deletion_count); /* it was empty */
    OK(needle_index_delete(index, 101 * STEP, NEEDLE_INDEX_RUNTIME, NULL));
    needle_index_stat(index, &after);
    assert_int_equal(after.deletion_count, before.deletion_count + 1);
    assert_int_equal(after.deletion_bytes, before.deletion_bytes + 101);
    OK(needle_index_get(index, 101 * STEP, &entry, NULL));
    assert_int_equal(entry.size, NEEDLE_TOMBSTONE);
    needle_index_destroy(index);
    size_t size, marked = 0;
    char *bytes = fixture_read_file(os_real(), path, &size);
    for (size_t at = 0; at < size; at += 17) {
        index_row_load((uint8_t *)bytes + at, &entry, 5);
        marked += entry.size == NEEDLE_TOMBSTONE;
    }
    assert_int_equal(marked, 2);
    free(bytes);
}

/* ---- without a mapping, and with a disk that fails ---- */

static void works_where_files_cannot_be_mapped(void **state)
{
    struct fault_os *fault; /* has no mappings */
    fault_os_create(&fault, os_real());
    unlink(path);
    struct needle_index *index = open_sorted(fault_os_get(fault), 5);
    assert_content(index);
    OK(needle_index_delete(index, 100 * STEP, NEEDLE_INDEX_RUNTIME, NULL));
    struct needle_entry entry;
    OK(needle_index_get(index, 100 * STEP, &entry, NULL));
    assert_int_equal(entry.size, NEEDLE_TOMBSTONE);
    needle_index_destroy(index);
    fault_os_destroy(fault);
}

static void delete_that_cannot_be_written_is_remembered(void **state)
{
    static const unsigned kinds[] = {FAULT_WRITE, FAULT_READ};
    for (size_t i = 0; i < 2; i++) {
        struct fault_os *fault;
        struct needle_entry entry;
        fault_os_create(&fault, os_real());
        unlink(path);
        struct needle_index *index = open_sorted(fault_os_get(fault), 5);
        fault_os_fail(fault, kinds[i], 1, EIO, true);
        OK(needle_index_delete(index, 101 * STEP, NEEDLE_INDEX_RUNTIME, NULL));
        if (kinds[i] == FAULT_READ)
            assert_int_equal(needle_index_get(index, 101 * STEP, &entry, NULL), KELP_E_IO);
        fault_os_clear(fault);
        OK(needle_index_get(index, 101 * STEP, &entry, NULL));
        assert_int_equal(entry.size, NEEDLE_TOMBSTONE);
        needle_index_destroy(index);
        fault_os_destroy(fault);
    }
}

static void failure_to_make_it_leaves_nothing(void **state)
{
    for (uint64_t nth = 1;; nth++) {
        struct fault_os *fault;
        struct needle_index *source = make_source(), *index = NULL;
        fault_os_create(&fault, os_real());
        unlink(path);
        fault_os_fail(fault, FAULT_CHANGE, nth + 1, EIO, false); /* the first looks for the file */
        const struct needle_index_sorted_config config = {fault_os_get(fault), path, 5, 3};
        int code = needle_index_sorted_open(&index, &config, source, NULL);
        bool has_struck = fault_os_strikes(fault) > 0;
        char temporary[80];
        snprintf(temporary, sizeof(temporary), "%s.tmp", path);
        assert_int_equal(access(temporary, F_OK), -1);
        needle_index_destroy(source);
        if (code == 0)
            needle_index_destroy(index);
        fault_os_destroy(fault);
        if (!has_struck) {
            assert_true(nth > 4); /* open, write, fsync, rename, open */
            OK(code);
            return;
        }
        assert_int_equal(code, KELP_E_IO);
    }
}

/* ---- volumes ---- */

struct stage {
    struct volume *volume;
    struct append_queue *queue;
    struct index_store *store;
    struct error err;
};

static void open_volume(struct stage *s)
{
    const struct volume_place place = {
        .os = os_real(), .data_dir = folder, .id = 1, .index_store = s->store};
    if (volume_open(&s->volume, &place, NULL, &s->err) != 0)
        fail_msg("%s", s->err.message);
}

static int put(struct stage *s, uint64_t key)
{
    uint8_t data[50];
    fixture_fill(data, sizeof(data), key);
    struct needle needle = fixture_needle(key, 7, data, sizeof(data));
    return fixture_put(s->queue, s->volume, &needle, false).code;
}

static bool has(struct stage *s, uint64_t key)
{
    uint8_t data[50];
    fixture_fill(data, sizeof(data), key);
    return fixture_has(s->volume, key, data, sizeof(data));
}

static void begin(struct stage *s, bool on_disk)
{
    char database[64];
    const struct volume_options options = {.offset_bytes = 5};
    *s = (struct stage){0};
    snprintf(database, sizeof(database), "%s/kelp.ldb", folder);
    if (on_disk)
        OK(index_store_open(&s->store, os_real(), database, INDEX_STORE_SMALL, NULL, &s->err));
    const struct volume_place place = {
        .os = os_real(), .data_dir = folder, .id = 1, .index_store = s->store};
    OK(volume_create(&s->volume, &place, &options, &s->err));
    OK(append_queue_create(&s->queue, "test", &s->err));
    for (uint64_t key = 1; key <= 300; key++)
        OK(put(s, key));
}

static void end(struct stage *s)
{
    OK(volume_delete_files(s->volume, &s->err));
    append_queue_destroy(s->queue);
    index_store_close(s->store);
    assert_int_equal(access(path, F_OK), -1);
}

static void reopen(struct stage *s)
{
    volume_close(s->volume);
    open_volume(s);
}

static const char *kind_of(struct stage *s) { return s->volume->generation->index->ops->kind; }

static void closed_volume_is_loaded_from_its_sorted_file(void **state)
{
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        struct stage s;
        const char *usual = on_disk ? "leveldb" : "memory";
        begin(&s, on_disk);
        OK(volume_mark_read_only(s.volume, false, true, &s.err));
        assert_string_equal(kind_of(&s), usual); /* until it is loaded anew */
        reopen(&s);
        assert_string_equal(kind_of(&s), "sorted");
        for (uint64_t key = 1; key <= 300; key++)
            assert_true(has(&s, key));
        assert_int_equal(put(&s, 1000), KELP_E_READ_ONLY);
        assert_int_equal(fixture_delete(s.queue, s.volume, 5, 7).code, KELP_E_READ_ONLY);
        struct volume_stat stat;
        volume_stat(s.volume, &stat);
        assert_int_equal(stat.live_count, 300);
        OK(volume_mark_writable(s.volume, &s.err));
        assert_string_equal(kind_of(&s), usual);
        assert_int_equal(access(path, F_OK), -1);
        OK(put(&s, 1000));
        reopen(&s);
        assert_string_equal(kind_of(&s), usual);
        assert_true(has(&s, 1000) && has(&s, 300));
        end(&s);
    }
}

static void deletes_of_a_closed_volume_outlive_it(void **state)
{
    struct stage s;
    begin(&s, false);
    OK(volume_mark_read_only(s.volume, true, true, &s.err));
    reopen(&s);
    assert_string_equal(kind_of(&s), "sorted");
    OK(fixture_delete(s.queue, s.volume, 5, 7).code);
    assert_false(has(&s, 5));
    assert_int_equal(put(&s, 1000), KELP_E_READ_ONLY);
    ino_t inode = inode_of(path);
    reopen(&s);
    assert_string_equal(kind_of(&s), "sorted");
    assert_int_equal(inode_of(path), inode); /* it was told */
    assert_false(has(&s, 5));
    assert_true(has(&s, 6));
    OK(volume_mark_writable(s.volume, &s.err));
    assert_false(has(&s, 5));
    OK(put(&s, 5));
    assert_true(has(&s, 5));
    end(&s);
}

static void opening_a_volume_to_deletes_takes_the_usual_index(void **state)
{
    struct stage s;
    begin(&s, false);
    OK(volume_mark_read_only(s.volume, false, true, &s.err));
    reopen(&s);
    OK(volume_mark_read_only(s.volume, true, false, &s.err));
    assert_string_equal(kind_of(&s), "memory");
    OK(fixture_delete(s.queue, s.volume, 5, 7).code);
    assert_false(has(&s, 5));
    end(&s);
}

/* At each open of the .idx: whether the writer thread could go on; and once a delete comes. */
struct onlooker {
    struct stage *stage;
    unsigned free, held;
    uint64_t deletes;
};

static void look_on(void *ctx, enum fault_os_call kind, const char *opened)
{
    struct onlooker *onlooker = ctx;
    struct volume *volume = onlooker->stage->volume;
    if (kind != FAULT_OPEN || !opened || !strstr(opened, "/1.idx"))
        return;
    if (pthread_mutex_trylock(&volume->append_lock) != 0) {
        onlooker->held++;
        return;
    }
    pthread_mutex_unlock(&volume->append_lock);
    onlooker->free++;
    if (onlooker->deletes > 0)
        OK(fixture_delete(onlooker->stage->queue, volume, onlooker->deletes--, 7).code);
}

static void load_of_the_usual_index_holds_up_no_writer(void **state)
{
    struct fault_os *fault;
    struct stage s;
    fault_os_create(&fault, os_real());
    begin(&s, false);
    OK(volume_mark_read_only(s.volume, true, true, &s.err));
    for (uint64_t deletes = 0; deletes < 2; deletes++) {
        volume_close(s.volume);
        const struct volume_place place = {.os = fault_os_get(fault), .data_dir = folder, .id = 1};
        OK(volume_open(&s.volume, &place, NULL, &s.err));
        assert_string_equal(kind_of(&s), "sorted");
        struct onlooker onlooker = {.stage = &s, .deletes = deletes};
        fault_os_watch(fault, look_on, &onlooker);
        OK(volume_mark_read_only(s.volume, true, true, &s.err));
        fault_os_watch(fault, NULL, NULL);
        assert_string_equal(kind_of(&s), "memory");
        assert_int_equal(onlooker.free, 1);
        assert_int_equal(onlooker.held, deletes); /* then the load is done once more */
        assert_int_equal(has(&s, 1), deletes == 0);
        assert_true(has(&s, 2));
    }
    end(&s);
    fault_os_destroy(fault);
}

static void sorted_file_of_an_earlier_time_is_made_anew(void **state)
{
    struct stage s;
    size_t size;
    begin(&s, false);
    OK(volume_mark_read_only(s.volume, false, true, &s.err));
    reopen(&s);
    char *old = fixture_read_file(os_real(), path, &size);
    OK(volume_mark_writable(s.volume, &s.err));
    OK(put(&s, 1000));
    OK(fixture_delete(s.queue, s.volume, 7, 7).code);
    OK(volume_mark_read_only(s.volume, false, true, &s.err));
    fixture_write_file(os_real(), path, old, size); /* younger than the .idx, and wrong */
    free(old);
    reopen(&s);
    assert_string_equal(kind_of(&s), "sorted");
    assert_true(has(&s, 1000) && !has(&s, 7));
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_A_FOLDER(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
        IN_A_FOLDER(holds_the_live_entries_in_either_width),
        IN_A_FOLDER(walks_by_key_and_by_offset),
        IN_A_FOLDER(file_that_says_the_same_is_kept),
        IN_A_FOLDER(file_that_says_anything_else_is_made_anew),
        IN_A_FOLDER(delete_is_written_in_place),
        IN_A_FOLDER(works_where_files_cannot_be_mapped),
        IN_A_FOLDER(delete_that_cannot_be_written_is_remembered),
        IN_A_FOLDER(failure_to_make_it_leaves_nothing),
        IN_A_FOLDER(closed_volume_is_loaded_from_its_sorted_file),
        IN_A_FOLDER(deletes_of_a_closed_volume_outlive_it),
        IN_A_FOLDER(opening_a_volume_to_deletes_takes_the_usual_index),
        IN_A_FOLDER(load_of_the_usual_index_holds_up_no_writer),
        IN_A_FOLDER(sorted_file_of_an_earlier_time_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
