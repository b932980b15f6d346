/* A database of indexes that is damaged, or cannot be written to: what is served, what is thrown away. */
#include "tests/unit/storage/index_place.h"

#include "volume/storage/index_load.h"
#include "volume/storage/record_writer.h"
#include "volume/storage/format/volume_files.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

/* ---- a database that is damaged ---- */

/* One byte, in the middle. */
static int spoil_file(void *ctx, const char *name)
{
    const char *const *args = ctx;
    size_t length = strlen(name), ending = strlen(args[1]);
    if (length < ending || strcmp(name + length - ending, args[1]) != 0)
        return 0;
    char path[160];
    size_t size;
    snprintf(path, sizeof(path), "%s/%s", args[0], name);
    char *data = fixture_read_file(os_real(), path, &size);
    data[size / 2] = (char)~data[size / 2];
    fixture_write_file(os_real(), path, data, size);
    free(data);
    return 0;
}

static void spoil(struct place *p, const char *ending)
{
    const char *args[] = {p->database, ending};
    OK(os_real()->ops->list(os_real(), p->database, spoil_file, args));
}

static void database_that_cannot_be_opened_is_made_anew(void **state)
{
    static const char *const endings[] = {".log", "CURRENT", "MANIFEST-000002"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        struct place p;
        place_begin(&p);
        place_create(&p, 1);
        place_put_range(&p, 1, 600);
        place_close_volume(&p);
        index_store_close(p.store);
        spoil(&p, endings[i]);
        place_open_store(&p);
        assert_non_null(p.note);
        place_open_volume(&p, 1);
        place_assert_range(&p, 1, 600);
        place_reopen(&p);
        if (p.note)
            fail_msg("%s: %s", endings[i], p.note);
        assert_int_equal(place_count_replayed(&p, NULL), 0);
        place_end(&p);
    }
}

static void file_in_its_place_is_replaced(void **state)
{
    struct place p;
    place_begin(&p);
    index_store_close(p.store);
    OK(volume_file_remove(os_real(), p.database, NULL));
    fixture_write_file(os_real(), p.database, "x", 1);
    place_open_store(&p);
    assert_non_null(p.note);
    place_create(&p, 1);
    place_put_range(&p, 1, 300);
    place_end(&p);
}

static void database_in_use_is_left_alone(void **state)
{
    struct place p;
    struct index_store *second;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 300);
    assert_int_equal(index_store_open(&second, os_real(), p.database, INDEX_STORE_SMALL, NULL, &p.err),
                     KELP_E_BUSY);
    place_assert_range(&p, 1, 300);
    place_end(&p);
}

static void wrong_checksum_is_an_error_and_mended_by_a_restart(void **state)
{
    struct place p;
    place_begin(&p);
    place_create(&p, 1);
    place_put_range(&p, 1, 600);
    place_reopen(&p); /* LevelDB writes what was in its log to a table */
    index_store_close(p.store);
    spoil(&p, ".ldb");
    place_open_store(&p);
    assert_null(p.note); /* nobody has looked yet */
    place_open_volume(&p, 1);
    unsigned served = 0;
    for (uint64_t key = 1; key < 600; key++) {
        struct volume_read read;
        int code = volume_read_begin(p.volume, key, false, &read, &p.err);
        assert_true(code == 0 || code == KELP_E_CORRUPT);
        if (code == 0)
            volume_read_end(&read);
        served += code == 0;
    }
    assert_true(served < 599);
    place_reopen(&p);
    assert_non_null(p.note);
    place_open_volume(&p, 1);
    place_assert_range(&p, 1, 600);
    place_end(&p);
}

/* ---- a database that cannot be written to ---- */

static void failed_write_stops_the_volume_and_loses_nothing(void **state)
{
    struct place p;
    struct index_tenant tenant;
    struct needle_entry *rows = calloc(60000, sizeof(*rows));
    place_begin(&p);
    for (uint64_t i = 0; i < 60000; i++)
        rows[i] = (struct needle_entry){i, 8 + i * 8, 1};
    index_store_join(p.store, &tenant, "c", 9, 0);
    OK(index_store_write(&tenant, rows, 60000, NULL, &p.err)); /* the log is the longest file now */
    free(rows);
    place_create(&p, 1);
    place_put_range(&p, 1, 100);

    struct rlimit old, low;
    signal(SIGXFSZ, SIG_IGN);
    OK(getrlimit(RLIMIT_FSIZE, &old));
    low = old;
    low.rlim_cur = 1200000;
    OK(setrlimit(RLIMIT_FSIZE, &low));
    uint64_t key = 100;
    for (; key < 2000; key++) {
        uint8_t data[BLOB];
        fixture_fill(data, sizeof(data), key);
        struct needle needle = fixture_needle(key, 7, data, sizeof(data));
        if (fixture_put(p.queue, p.volume, &needle, false).code != 0)
            break;
    }
    OK(setrlimit(RLIMIT_FSIZE, &old));
    assert_true(key > 100 && key < 2 * KEEP_ROWS);
    struct volume_stat stat;
    char fault[VOLUME_FAULT_MAX];
    volume_stat(p.volume, &stat);
    assert_true(stat.read_only & VOLUME_RO_IO_ERROR);
    volume_fault(p.volume, fault);
    assert_non_null(strstr(fault, "kelp.ldb"));
    place_assert_range(&p, 1, key);
    index_store_leave(&tenant);
    place_reopen(&p);
    place_open_volume(&p, 1);
    place_assert_range(&p, 1, key);
    place_put_range(&p, 3000, 3010);
    place_close_volume(&p);
    place_assert_same_counters(&p);
    place_end(&p);
}

/* So many rows that an index cannot keep them waiting, without a writer thread. */
static void fill_files(struct place *p, uint64_t count)
{
    char dat[96], idx[96];
    struct volume_generation *generation;
    struct volume_generation_owner owner = {.volume_id = 1};
    struct index_verdict verdict;
    struct record_writer *writer;
    uint8_t data[BLOB];
    snprintf(dat, sizeof(dat), "%s/c_1.dat", p->directory);
    snprintf(idx, sizeof(idx), "%s/c_1.idx", p->directory);
    OK(volume_generation_open(&generation, os_real(), &owner, dat, idx, true, 5, &p->err));
    OK(index_load(generation, &verdict, &p->err));
    OK(record_writer_create(&writer, &p->err));
    record_writer_begin(writer, generation);
    fixture_fill(data, sizeof(data), 1);
    for (uint64_t key = 1; key <= count; key++) {
        struct needle needle = fixture_needle(key, 7, data, sizeof(data));
        if (!record_writer_has_room(writer, key, needle_tail_size(&needle, 3)))
            OK(record_writer_flush(writer, false, NEEDLE_INDEX_RUNTIME, NULL, &p->err));
        OK(record_writer_put(writer, &needle, NULL, &p->err));
    }
    OK(record_writer_flush(writer, false, NEEDLE_INDEX_RUNTIME, NULL, &p->err));
    record_writer_destroy(writer);
    volume_generation_unref(generation);
}

static void index_that_cannot_be_filled_is_had_in_memory(void **state)
{
    enum { ROWS = 70000 };
    struct place p;
    struct rlimit old, low;
    struct needle_index_stat stat;
    char *note = NULL;
    place_begin(&p);
    place_create(&p, 1);
    place_close_volume(&p);
    fill_files(&p, ROWS);
    signal(SIGXFSZ, SIG_IGN);
    OK(getrlimit(RLIMIT_FSIZE, &old));
    low = old;
    low.rlim_cur = 100000;
    OK(setrlimit(RLIMIT_FSIZE, &low));
    struct volume_place place = place_volume(&p, 1);
    OK(volume_open(&p.volume, &place, &note, &p.err));
    OK(setrlimit(RLIMIT_FSIZE, &old));
    assert_non_null(note);
    assert_non_null(strstr(note, "its index is in memory"));
    free(note);
    struct volume_stat volume;
    volume_stat(p.volume, &volume);
    assert_int_equal(volume.live_count, ROWS);
    place_put(&p, ROWS + 1);
    assert_true(place_has(&p, 1) && place_has(&p, ROWS + 1));
    place_reopen(&p);
    assert_int_equal(place_count_replayed(&p, &stat), ROWS + 1); /* nothing was left of the first attempt */
    assert_int_equal(stat.live_count, ROWS + 1);
    place_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(database_that_cannot_be_opened_is_made_anew),
        cmocka_unit_test(file_in_its_place_is_replaced),
        cmocka_unit_test(database_in_use_is_left_alone),
        cmocka_unit_test(wrong_checksum_is_an_error_and_mended_by_a_restart),
        cmocka_unit_test(failed_write_stops_the_volume_and_loses_nothing),
        cmocka_unit_test(index_that_cannot_be_filled_is_had_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
