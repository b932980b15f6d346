/* Checkpoints and marks: a load that takes one up comes to what a load of all rows comes to; one that is
 * stale or odd is not taken up, and goes. */
#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index_checkpoint.h"
#include "volume/storage/index_load.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 6000, KEYS = 5000 };
#define DAT "/d/1.dat"
#define IDX "/d/1.idx"
#define KIX "/d/1.kix"

static struct disk_os *disk;
static struct fault_os *fault;
static struct os *os;
static struct volume_generation *generation;
static struct index_verdict verdict;
static uint64_t chance;

static uint64_t any(void)
{
    chance = chance * 6364136223846793005u + 1442695040888963407u;
    return chance >> 33;
}

static void load_as(uint32_t id)
{
    struct error err = {0};
    struct volume_generation_owner owner = {.volume_id = id};
    if (volume_generation_open(&generation, os, &owner, DAT, IDX, true, 5, &err) != 0 ||
        index_load(generation, &verdict, &err) != 0)
        fail_msg("%s", err.message);
}

static void load(void) { load_as(1); }

static void drop(void)
{
    volume_generation_unref(generation);
    generation = NULL;
}

/* A row and its record: mostly puts, of old keys as well; some deletes, of unknown keys as well. */
static void append(void)
{
    uint8_t bytes[128] = {0}, row[INDEX_ROW_MAX];
    bool is_delete = any() % 6 == 0;
    struct needle_entry entry = {any() % KEYS * 7, volume_generation_end(generation),
                                 is_delete ? NEEDLE_TOMBSTONE : (int32_t)(any() % 50)};
    struct needle_header header = {9, entry.key, is_delete ? 0 : entry.size};
    size_t size = (size_t)needle_record_size(3, entry.size);
    needle_header_store(bytes, &header);
    struct iovec iov = {bytes, size};
    assert_int_equal(os_write_full(os, generation->dat_fd, DAT, &iov, 1, entry.offset, NULL), 0);
    atomic_store(&generation->dat_end, entry.offset + size);
    index_row_store(row, &entry, 5);
    assert_int_equal(index_file_append(&generation->idx, row, index_row_size(5), NULL, NULL), 0);
    if (is_delete)
        needle_index_delete(generation->index, entry.key, NEEDLE_INDEX_RUNTIME, NULL);
    else
        needle_index_put(generation->index, &entry, NEEDLE_INDEX_RUNTIME, NULL);
}

static void append_many(size_t count)
{
    for (size_t i = 0; i < count; i++)
        append();
}

static bool there_is(const char *path)
{
    struct os_stat st;
    return os_stat(os, path, &st) >= 0;
}

/* Closes as a volume does. */
static void stop(void)
{
    assert_int_equal(index_checkpoint_write(generation, NULL), 0);
    assert_false(there_is(KIX ".tmp"));
    drop();
}

static int setup(void **state)
{
    struct super_block super_block = {.version = 3, .compact_revision = 4};
    struct volume_generation_owner owner = {.volume_id = 1};
    chance = 1;
    disk_os_create(&disk, 64 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    os = fault_os_get(fault);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    assert_int_equal(volume_generation_create(&generation, os, &owner, DAT, IDX, &super_block, 5, 0, NULL), 0);
    append_many(ROWS);
    stop();
    assert_true(there_is(KIX));
    return 0;
}

static int teardown(void **state)
{
    drop();
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}

/* ---- what a load came to ---- */

struct outcome {
    struct index_verdict verdict;
    struct needle_index_stat stat;
    struct needle_entry entries[KEYS];
};

static void look(struct outcome *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->verdict = verdict;
    needle_index_stat(generation->index, &ret->stat);
    ret->stat.memory_bytes = 0;
    for (uint64_t i = 0; i < KEYS; i++)
        needle_index_get(generation->index, i * 7, &ret->entries[i], NULL);
}

static bool is_same_entry(const struct needle_entry *a, const struct needle_entry *b)
{
    return a->key == b->key && a->offset == b->offset && a->size == b->size;
}

/* But for how many rows were read. */
static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->verdict.rows, b->verdict.rows);
    assert_int_equal(a->verdict.good_end, b->verdict.good_end);
    assert_int_equal(a->verdict.bad_rows, b->verdict.bad_rows);
    assert_int_equal(a->verdict.needs_rebuild, b->verdict.needs_rebuild);
    assert_int_equal(a->verdict.records_end, b->verdict.records_end);
    assert_true(is_same_entry(&a->verdict.last, &b->verdict.last));
    assert_memory_equal(&a->stat, &b->stat, sizeof(a->stat)); /* of words alone */
    for (size_t i = 0; i < KEYS; i++)
        assert_true(is_same_entry(&a->entries[i], &b->entries[i]));
}

/* Loads as things are, then without a checkpoint, and compares; replayed: what the first had to read. */
static void assert_loads_alike_as(uint32_t id, uint64_t replayed)
{
    static struct outcome with, without;
    load_as(id);
    look(&with);
    drop();
    os_unlink(os, KIX);
    load_as(id);
    look(&without);
    assert_int_equal(without.verdict.replayed, without.verdict.rows);
    assert_int_equal(with.verdict.replayed, replayed);
    assert_same(&with, &without);
}

static void assert_loads_alike(uint64_t replayed) { assert_loads_alike_as(1, replayed); }

/* It is not taken up, and goes when the volume is loaded. */
static void assert_not_used(uint64_t rows)
{
    load();
    assert_int_equal(verdict.replayed, rows);
    assert_false(there_is(KIX));
    drop();
    assert_loads_alike(rows);
}

/* ---- cases ---- */

static void clean_stop_leaves_nothing_to_be_read(void **state)
{
    assert_loads_alike(0);
    assert_false(verdict.needs_rebuild);
}

static void rows_behind_it_are_read(void **state)
{
    load();
    append_many(137);
    drop(); /* a crash: no new checkpoint */
    assert_loads_alike(137);
}

static void second_stop_covers_the_new_rows(void **state)
{
    load();
    append_many(200);
    stop();
    load();
    assert_int_equal(verdict.replayed, 0);
    stop(); /* nothing new: it stays */
    assert_loads_alike(0);
}

static void file_that_was_only_touched_is_recognised(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, IDX, &size);
    os_unlink(os, IDX);
    fixture_write_file(os, IDX, bytes, size);
    free(bytes);
    assert_loads_alike(0);
}

static void other_rows_of_the_same_length_are_seen(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, IDX, &size);
    bytes[100 * 17 + 7] ^= 1; /* another key, at the same place */
    fixture_write_file(os, IDX, bytes, size);
    free(bytes);
    assert_not_used(ROWS);
}

static void shorter_index_is_read_whole(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, IDX, &size);
    fixture_write_file(os, IDX, bytes, size - 17);
    free(bytes);
    assert_not_used(ROWS - 1);
}

static void shorter_dat_is_seen(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, DAT, &size);
    fixture_write_file(os, DAT, bytes, size - 200);
    free(bytes);
    load();
    assert_true(verdict.bad_rows > 0);
    assert_int_equal(verdict.replayed + verdict.bad_rows, ROWS);
    assert_false(there_is(KIX));
}

static void damaged_last_records_are_seen(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, DAT, &size);
    memset(bytes + size - 600, 0, 600);
    fixture_write_file(os, DAT, bytes, size);
    free(bytes);
    load();
    assert_true(verdict.bad_rows > 0);
    assert_int_equal(verdict.replayed + verdict.bad_rows, ROWS);
}

static void other_revision_is_not_used(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, DAT, &size);
    bytes[5]++; /* compaction revision, its lower byte */
    fixture_write_file(os, DAT, bytes, size);
    free(bytes);
    assert_not_used(ROWS);
}

static void other_volume_is_not_used(void **state) { assert_loads_alike_as(2, ROWS); }

static void small_volume_has_none(void **state)
{
    struct super_block super_block = {.version = 3};
    struct volume_generation_owner owner = {.volume_id = 1};
    assert_int_equal(volume_generation_create(&generation, os, &owner, DAT, IDX, &super_block, 5, 0, NULL), 0);
    append_many(INDEX_CHECKPOINT_ROWS_MIN - 1);
    stop();
    assert_false(there_is(KIX)); /* nor the old one */
    load();
    append();
    stop();
    assert_true(there_is(KIX));
}

static void index_that_knows_more_than_its_rows_leaves_none(void **state)
{
    load();
    generation->is_marked = false;
    stop();
    assert_true(there_is(KIX)); /* the old one still holds */
    load();
    append();
    generation->is_marked = false;
    stop();
    assert_false(there_is(KIX));
}

static void write_odd(const char *bytes, size_t size)
{
    fixture_write_file(os, KIX, bytes, size);
    load();
    assert_int_equal(verdict.replayed, ROWS);
    assert_false(there_is(KIX));
    drop();
}

static void odd_files_are_not_used(void **state)
{
    size_t size;
    char *bytes = fixture_read_file(os, KIX, &size);
    for (size_t at = 0; at < size; at += at < 400 ? 1 : 997) {
        bytes[at] ^= 0x10;
        write_odd(bytes, size);
        bytes[at] ^= 0x10;
        if (at < 300 || at > size - 2000)
            write_odd(bytes, at);
    }
    write_odd(bytes, size - 1);
    bytes = must(realloc(bytes, size + 9));
    memset(bytes + size, 0, 9);
    write_odd(bytes, size + 9);
    fixture_write_file(os, KIX, bytes, size);
    free(bytes);
    assert_loads_alike(0);
}

/* Every call that a stop makes fails in turn: what is left may be old, new or nothing, never wrong. */
static void stop_that_fails_leaves_nothing_wrong(void **state)
{
    uint64_t strikes = 1;
    for (uint64_t nth = 1; strikes > 0; nth++) {
        load();
        append_many(3);
        struct error err;
        uint64_t before = fault_os_strikes(fault);
        fault_os_fail(fault, ~0u, nth, 5, false);
        index_checkpoint_write(generation, &err);
        strikes = fault_os_strikes(fault) - before;
        fault_os_clear(fault);
        drop();
        load();
        assert_true(verdict.replayed == 0 || verdict.replayed == 3 || verdict.replayed == verdict.rows);
        static struct outcome now, all;
        look(&now);
        drop();
        struct disk_os *copy;
        disk_os_clone(disk, &copy);
        os = disk_os_get(copy);
        os_unlink(os, KIX);
        load();
        look(&all);
        drop();
        disk_os_destroy(copy);
        os = fault_os_get(fault);
        assert_same(&now, &all);
        load();
        stop();
    }
}

/* ---- marks ---- */

static void marks_come_back_as_they_were(void **state)
{
    uint8_t bytes[INDEX_MARK_SIZE];
    struct index_mark again;
    load();
    append_many(10);
    assert_true(volume_generation_seal_mark(generation));
    assert_int_equal(generation->mark.idx_inode, 0); /* not synced: to be compared in any case */
    assert_int_equal(volume_generation_sync(generation, NULL), 0);
    assert_true(volume_generation_seal_mark(generation));
    assert_true(generation->mark.idx_inode != 0);
    index_mark_store(bytes, &generation->mark);
    assert_int_equal(index_mark_load(bytes, &again, NULL), 0);
    uint8_t twice[INDEX_MARK_SIZE];
    index_mark_store(twice, &again);
    assert_memory_equal(bytes, twice, sizeof(bytes));
    assert_int_equal(again.walk.rows, ROWS + 10);
    for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(index_mark_load(bytes, &again, NULL), KELP_E_CORRUPT);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void mark_holds_for_its_own_place_only(void **state)
{
    struct index_mark_place place, other;
    load();
    assert_int_equal(volume_generation_sync(generation, NULL), 0);
    assert_true(volume_generation_seal_mark(generation));
    volume_generation_mark_place(generation, &place);
    struct index_mark mark = generation->mark;
    assert_int_equal(index_mark_check(&mark, &place, NULL), 0);
    mark.idx_mtime_ns++; /* then the rows are read */
    assert_int_equal(index_mark_check(&mark, &place, NULL), 0);
    mark.walk.hash++;
    assert_int_equal(index_mark_check(&mark, &place, NULL), KELP_E_CORRUPT);
    mark = generation->mark;
    for (int i = 0; i < 5; i++) {
        other = place;
        other.volume_id += i == 0;
        other.compact_revision = (uint16_t)(other.compact_revision + (i == 1));
        other.version = (uint8_t)(other.version - (i == 2));
        other.first += i == 3 ? 8 : 0;
        other.dat_end -= i == 4 ? 8 : 0;
        assert_int_equal(index_mark_check(&mark, &other, NULL), KELP_E_CORRUPT);
    }
    mark.walk.idx_length += 17;
    assert_int_equal(index_mark_check(&mark, &place, NULL), KELP_E_CORRUPT);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(clean_stop_leaves_nothing_to_be_read),
        CASE(rows_behind_it_are_read),
        CASE(second_stop_covers_the_new_rows),
        CASE(file_that_was_only_touched_is_recognised),
        CASE(other_rows_of_the_same_length_are_seen),
        CASE(shorter_index_is_read_whole),
        CASE(shorter_dat_is_seen),
        CASE(damaged_last_records_are_seen),
        CASE(other_revision_is_not_used),
        CASE(other_volume_is_not_used),
        CASE(small_volume_has_none),
        CASE(index_that_knows_more_than_its_rows_leaves_none),
        CASE(odd_files_are_not_used),
        CASE(stop_that_fails_leaves_nothing_wrong),
        CASE(marks_come_back_as_they_were),
        CASE(mark_holds_for_its_own_place_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
