/* Indexes that outlive the process: what is taken up again, what is read again, what is thrown away, and
 * what goes with a volume. On the real file system, since LevelDB knows no other. */
#include "volume/storage/index_store.h"

#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index_load.h"
#include "volume/storage/needle_index_leveldb.h"
#include "volume/storage/record_writer.h"
#include "volume/storage/volume_files.h"
#include "volume/storage/volume_generation.h"
#include "volume/storage/volume_vacuum.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(expression) assert_int_equal((expression), 0)

enum { BLOB = 40, KEEP_ROWS = 256 };

struct place {
    char directory[64], database[80];
    struct index_store *store;
    char *note;
    struct volume *volume;
    struct append_queue *queue;
    struct error err;
};

static const char *folder(void) { return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; }

static void make_folder(char ret[64])
{
    snprintf(ret, 64, "%s/kelp-store-XXXXXX", folder());
    assert_non_null(mkdtemp(ret));
}

static void remove_folder(const char *path)
{
    char database[80];
    snprintf(database, sizeof(database), "%s/kelp.ldb", path);
    OK(volume_file_remove(os_real(), database, NULL));
    OK(volume_file_remove(os_real(), path, NULL));
}

static void open_store(struct place *p)
{
    snprintf(p->database, sizeof(p->database), "%s/kelp.ldb", p->directory);
    free(p->note);
    if (index_store_open(&p->store, os_real(), p->database, INDEX_STORE_SMALL, &p->note, &p->err) != 0)
        fail_msg("%s", p->err.message);
}

static struct volume_place place_of(const struct place *p, uint32_t id)
{
    return (struct volume_place){.os = os_real(), .data_dir = p->directory, .collection = "c",
                                 .id = id, .index_store = p->store};
}

static void begin(struct place *p)
{
    *p = (struct place){0};
    make_folder(p->directory);
    open_store(p);
    OK(append_queue_create(&p->queue, "test", &p->err));
}

static void create(struct place *p, uint32_t id)
{
    struct volume_place place = place_of(p, id);
    OK(volume_create(&p->volume, &place, &(struct volume_options){.offset_bytes = 5}, &p->err));
}

static void open_volume(struct place *p, uint32_t id)
{
    struct volume_place place = place_of(p, id);
    if (volume_open(&p->volume, &place, NULL, &p->err) != 0)
        fail_msg("%s", p->err.message);
}

static void close_volume(struct place *p)
{
    volume_close(p->volume);
    p->volume = NULL;
}

static void end(struct place *p)
{
    volume_close(p->volume);
    append_queue_destroy(p->queue);
    index_store_close(p->store);
    remove_folder(p->directory);
    free(p->note);
}

static void put(struct place *p, uint64_t key)
{
    uint8_t data[BLOB];
    fixture_fill(data, sizeof(data), key);
    struct needle needle = fixture_needle(key, 7, data, sizeof(data));
    struct append_request request = fixture_put(p->queue, p->volume, &needle, false);
    if (request.code != 0)
        fail_msg("%s", request.err.message);
}

static void put_range(struct place *p, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++)
        put(p, key);
}

static void delete(struct place *p, uint64_t key)
{
    OK(fixture_delete(p->queue, p->volume, key, 7).code);
}

static bool has(struct place *p, uint64_t key)
{
    uint8_t data[BLOB];
    fixture_fill(data, sizeof(data), key);
    return fixture_has(p->volume, key, data, sizeof(data));
}

static void assert_range(struct place *p, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++)
        if (!has(p, key))
            fail_msg("needle %llu is not there", (unsigned long long)key);
}

/* What is on disk at this moment, in another folder, as a process that is killed would leave it. */
static void take_image(const struct place *p, struct place *ret)
{
    char database[80];
    *ret = (struct place){0};
    make_folder(ret->directory);
    snprintf(database, sizeof(database), "%s/kelp.ldb", ret->directory);
    OK(os_real()->ops->mkdir(os_real(), database, 0755));
    fixture_copy_directory(os_real(), p->database, os_real(), database);
    char command[512];
    snprintf(command, sizeof(command), "cp -p %s/*.dat %s/*.idx %s/*.vif %s/", p->directory,
             p->directory, p->directory, ret->directory);
    OK(system(command));
    open_store(ret);
    OK(append_queue_create(&ret->queue, "image", &ret->err));
}

/* Rows of volume 1 that a start reads again. */
static uint64_t count_replayed(struct place *p, struct needle_index_stat *ret)
{
    char dat[96], idx[96];
    struct volume_generation *generation;
    struct volume_generation_owner owner = {1, p->store, "c"};
    struct index_verdict verdict;
    snprintf(dat, sizeof(dat), "%s/c_1.dat", p->directory);
    snprintf(idx, sizeof(idx), "%s/c_1.idx", p->directory);
    OK(volume_generation_open(&generation, os_real(), &owner, dat, idx, true, 5, &p->err));
    OK(index_load(generation, &verdict, &p->err));
    if (ret)
        needle_index_stat(generation->index, ret);
    volume_generation_unref(generation);
    return verdict.replayed;
}

static void assert_same_counters(struct place *p)
{
    struct index_store *store = p->store;
    struct needle_index_stat kept, loaded;
    count_replayed(p, &kept);
    p->store = NULL;
    count_replayed(p, &loaded);
    p->store = store;
    assert_int_equal(kept.file_count, loaded.file_count);
    assert_int_equal(kept.file_bytes, loaded.file_bytes);
    assert_int_equal(kept.deletion_count, loaded.deletion_count);
    assert_int_equal(kept.deletion_bytes, loaded.deletion_bytes);
    assert_int_equal(kept.live_count, loaded.live_count);
    assert_int_equal(kept.live_record_bytes, loaded.live_record_bytes);
    assert_int_equal(kept.max_key, loaded.max_key);
}

/* ---- marks ---- */

static void clean_close_leaves_nothing_to_replay(void **state)
{
    struct place p;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 700);
    put_range(&p, 100, 200);
    for (uint64_t key = 300; key < 350; key++)
        delete (&p, key);
    close_volume(&p);
    assert_int_equal(count_replayed(&p, NULL), 0);
    assert_same_counters(&p);
    open_volume(&p, 1);
    assert_range(&p, 1, 300);
    assert_range(&p, 350, 700);
    for (uint64_t key = 300; key < 350; key++)
        assert_false(has(&p, key));
    end(&p);
}

static void crash_replays_the_rows_behind_the_mark_only(void **state)
{
    struct place p, image;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 1001);
    for (uint64_t key = 1; key < 1000; key += 3)
        delete (&p, key);
    put_range(&p, 5000, 5100);
    take_image(&p, &image);
    uint64_t replayed = count_replayed(&image, NULL);
    assert_true(replayed > 0 && replayed < KEEP_ROWS);
    assert_same_counters(&image);
    open_volume(&image, 1);
    assert_range(&image, 5000, 5100);
    for (uint64_t key = 1; key < 1000; key++)
        assert_int_equal(has(&image, key), key % 3 != 1);
    put_range(&image, 6000, 6010);
    end(&image);
    end(&p);
}

static void load_after_a_crash_keeps_a_mark(void **state)
{
    struct place p, image;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 400);
    take_image(&p, &image);
    open_volume(&image, 1);
    struct place second;
    take_image(&image, &second); /* nothing was written since */
    assert_int_equal(count_replayed(&second, NULL), 0);
    end(&second);
    end(&image);
    end(&p);
}

static void swap_files(const struct place *p, const char *extension)
{
    char command[512];
    snprintf(command, sizeof(command), "cd %s && mv c_1.%s x && mv c_2.%s c_1.%s && mv x c_2.%s",
             p->directory, extension, extension, extension, extension);
    OK(system(command));
}

static void mark_of_other_rows_is_not_believed(void **state)
{
    struct place p;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 300);
    close_volume(&p);
    create(&p, 2);
    put_range(&p, 1001, 1300); /* as many, as long */
    close_volume(&p);
    swap_files(&p, "dat");
    swap_files(&p, "idx");
    open_volume(&p, 1);
    assert_range(&p, 1001, 1300);
    assert_false(has(&p, 1));
    close_volume(&p);
    open_volume(&p, 2);
    assert_range(&p, 1, 300);
    assert_false(has(&p, 1001));
    close_volume(&p);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 299 + 299); /* what was there is gone */
    end(&p);
}

static void mark_beyond_the_rows_is_not_believed(void **state)
{
    struct place p;
    char path[96];
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 300);
    close_volume(&p);
    snprintf(path, sizeof(path), "%s/c_1.idx", p.directory);
    OK(truncate(path, 100 * 17));
    snprintf(path, sizeof(path), "%s/c_1.dat", p.directory);
    size_t record = (size_t)needle_record_size(3, BLOB + 4 + 1 + 1 + 1 + 5);
    OK(truncate(path, (off_t)(8 + 100 * record)));
    open_volume(&p, 1);
    assert_range(&p, 1, 101);
    assert_false(has(&p, 101));
    put_range(&p, 500, 510);
    close_volume(&p);
    assert_same_counters(&p);
    end(&p);
}

/* ---- what goes ---- */

static void vacuum_leaves_one_generation(void **state)
{
    struct place p;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 1000);
    for (uint64_t key = 1; key < 1000; key += 2)
        delete (&p, key);
    OK(volume_vacuum_compact(p.volume, &(struct vacuum_options){0}, &p.err));
    put_range(&p, 2000, 2100);
    OK(volume_vacuum_commit(p.volume, NULL, &p.err));
    assert_range(&p, 2000, 2100);
    for (uint64_t key = 1; key < 1000; key++)
        assert_int_equal(has(&p, key), key % 2 == 0);
    close_volume(&p);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 499 + 100);
    assert_int_equal(count_replayed(&p, NULL), 0);
    assert_same_counters(&p);
    end(&p);
}

static void vacuum_that_is_dropped_leaves_nothing(void **state)
{
    struct place p;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 500);
    OK(volume_vacuum_compact(p.volume, &(struct vacuum_options){0}, &p.err));
    OK(volume_vacuum_cleanup(p.volume, &p.err));
    assert_range(&p, 1, 500);
    close_volume(&p);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 499);
    assert_int_equal(count_replayed(&p, NULL), 0);
    end(&p);
}

static void vacuum_that_a_crash_cut_off_leaves_nothing(void **state)
{
    struct place p, image;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 500);
    OK(volume_vacuum_compact(p.volume, &(struct vacuum_options){0}, &p.err));
    take_image(&p, &image);
    open_volume(&image, 1);
    assert_range(&image, 1, 500);
    close_volume(&image);
    index_store_settle(image.store);
    assert_int_equal(index_store_count_rows(image.store), 499);
    end(&image);
    end(&p);
}

static void deleted_volume_takes_its_rows_along(void **state)
{
    struct place p;
    begin(&p);
    create(&p, 2);
    put_range(&p, 1, 300);
    close_volume(&p);
    create(&p, 1);
    put_range(&p, 1, 300);
    OK(volume_delete_files(p.volume, &p.err));
    p.volume = NULL;
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 299);
    create(&p, 1); /* of the same name, and empty */
    assert_false(has(&p, 1));
    end(&p);
}

static void volumes_that_are_gone_are_forgotten(void **state)
{
    struct place p;
    begin(&p);
    for (uint32_t id = 1; id <= 2; id++) {
        create(&p, id);
        put_range(&p, 1, 300);
        close_volume(&p);
    }
    index_store_close(p.store);
    open_store(&p);
    assert_null(p.note);
    open_volume(&p, 2);
    index_store_forget_unused(p.store);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 299);
    assert_range(&p, 1, 300);
    end(&p);
}

static void rubbish_goes_when_it_is_opened_next(void **state)
{
    struct place p;
    begin(&p);
    struct index_tenant tenant;
    struct needle_entry rows[1000];
    for (uint64_t i = 0; i < 1000; i++)
        rows[i] = (struct needle_entry){i, 8 + i * 8, 1};
    index_store_join(p.store, &tenant, "c", 9, 0);
    OK(index_store_write(&tenant, rows, 1000, NULL, &p.err)); /* without a mark */
    struct place image;
    create(&p, 1); /* an image has a volume */
    put(&p, 1);
    close_volume(&p);
    take_image(&p, &image);
    index_store_settle(image.store);
    assert_int_equal(index_store_count_rows(image.store), 1);
    end(&image);
    index_store_leave(&tenant);
    end(&p);
}

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

static void reopen(struct place *p)
{
    close_volume(p);
    index_store_close(p->store);
    open_store(p);
}

static void database_that_cannot_be_opened_is_made_anew(void **state)
{
    static const char *const endings[] = {".log", "CURRENT", "MANIFEST-000002"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        struct place p;
        begin(&p);
        create(&p, 1);
        put_range(&p, 1, 600);
        close_volume(&p);
        index_store_close(p.store);
        spoil(&p, endings[i]);
        open_store(&p);
        assert_non_null(p.note);
        open_volume(&p, 1);
        assert_range(&p, 1, 600);
        reopen(&p);
        if (p.note)
            fail_msg("%s: %s", endings[i], p.note);
        assert_int_equal(count_replayed(&p, NULL), 0);
        end(&p);
    }
}

static void file_in_its_place_is_replaced(void **state)
{
    struct place p;
    begin(&p);
    index_store_close(p.store);
    OK(volume_file_remove(os_real(), p.database, NULL));
    fixture_write_file(os_real(), p.database, "x", 1);
    open_store(&p);
    assert_non_null(p.note);
    create(&p, 1);
    put_range(&p, 1, 300);
    end(&p);
}

static void database_in_use_is_left_alone(void **state)
{
    struct place p;
    struct index_store *second;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 300);
    assert_int_equal(index_store_open(&second, os_real(), p.database, INDEX_STORE_SMALL, NULL, &p.err),
                     KELP_E_BUSY);
    assert_range(&p, 1, 300);
    end(&p);
}

static void wrong_checksum_is_an_error_and_mended_by_a_restart(void **state)
{
    struct place p;
    begin(&p);
    create(&p, 1);
    put_range(&p, 1, 600);
    reopen(&p); /* LevelDB writes what was in its log to a table */
    index_store_close(p.store);
    spoil(&p, ".ldb");
    open_store(&p);
    assert_null(p.note); /* nobody has looked yet */
    open_volume(&p, 1);
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
    reopen(&p);
    assert_non_null(p.note);
    open_volume(&p, 1);
    assert_range(&p, 1, 600);
    end(&p);
}

/* ---- a database that cannot be written to ---- */

static void failed_write_stops_the_volume_and_loses_nothing(void **state)
{
    struct place p;
    struct index_tenant tenant;
    struct needle_entry *rows = calloc(60000, sizeof(*rows));
    begin(&p);
    for (uint64_t i = 0; i < 60000; i++)
        rows[i] = (struct needle_entry){i, 8 + i * 8, 1};
    index_store_join(p.store, &tenant, "c", 9, 0);
    OK(index_store_write(&tenant, rows, 60000, NULL, &p.err)); /* the log is the longest file now */
    free(rows);
    create(&p, 1);
    put_range(&p, 1, 100);

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
    assert_range(&p, 1, key);
    index_store_leave(&tenant);
    reopen(&p);
    open_volume(&p, 1);
    assert_range(&p, 1, key);
    put_range(&p, 3000, 3010);
    close_volume(&p);
    assert_same_counters(&p);
    end(&p);
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
    begin(&p);
    create(&p, 1);
    close_volume(&p);
    fill_files(&p, ROWS);
    signal(SIGXFSZ, SIG_IGN);
    OK(getrlimit(RLIMIT_FSIZE, &old));
    low = old;
    low.rlim_cur = 100000;
    OK(setrlimit(RLIMIT_FSIZE, &low));
    struct volume_place place = place_of(&p, 1);
    OK(volume_open(&p.volume, &place, &note, &p.err));
    OK(setrlimit(RLIMIT_FSIZE, &old));
    assert_non_null(note);
    assert_non_null(strstr(note, "its index is in memory"));
    free(note);
    struct volume_stat volume;
    volume_stat(p.volume, &volume);
    assert_int_equal(volume.live_count, ROWS);
    put(&p, ROWS + 1);
    assert_true(has(&p, 1) && has(&p, ROWS + 1));
    reopen(&p);
    assert_int_equal(count_replayed(&p, &stat), ROWS + 1); /* nothing was left of the first attempt */
    assert_int_equal(stat.live_count, ROWS + 1);
    end(&p);
}

static void filling_in_any_order_counts_exactly(void **state)
{
    enum { ROWS = 300000 };
    struct place p;
    struct needle_index *index;
    struct needle_index_stat stat;
    uint64_t most_bytes = 0;
    begin(&p);
    const struct needle_index_config config = {
        .store = p.store, .collection = "c", .volume_id = 1, .version = 3, .expected = ROWS};
    OK(needle_index_leveldb_create(&index, &config, &p.err));
    for (uint64_t i = 0; i < ROWS; i++) { /* each key comes twice */
        uint64_t key = i * 7919 % ROWS / 2 * 0x9e3779b97f4a7c15u;
        const struct needle_entry entry = {key, 8 + i * 64, 10};
        OK(needle_index_put(index, &entry, NEEDLE_INDEX_LOAD, &p.err));
        needle_index_stat(index, &stat);
        most_bytes = stat.memory_bytes > most_bytes ? stat.memory_bytes : most_bytes;
    }
    assert_true(most_bytes < (4u << 20) + 2 * ROWS); /* what waits, and a filter of all keys, which */
    assert_true(stat.memory_bytes < most_bytes - ROWS); /* is not there any more */
    assert_int_equal(stat.file_count, ROWS);
    assert_int_equal(stat.live_count, ROWS / 2);
    assert_int_equal(stat.deletion_count, ROWS / 2);
    assert_int_equal(stat.deletion_bytes, ROWS / 2 * 10);
    needle_index_destroy(index); /* without a mark: rubbish */
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 0);
    end(&p);
}

/* ---- the parts ---- */

static struct needle_index *make_index(struct place *p, uint16_t revision)
{
    struct needle_index *index;
    const struct needle_index_config config = {.store = p->store, .collection = "c", .volume_id = 1,
                                               .compact_revision = revision, .version = 3, .seed = 3};
    OK(needle_index_leveldb_create(&index, &config, &p->err));
    return index;
}

static void put_entries(struct needle_index *index, uint64_t from, uint64_t to, uint64_t offset)
{
    for (uint64_t key = from; key < to; key++) {
        const struct needle_entry entry = {key, offset + key * 8, 5};
        OK(needle_index_reserve(index, key, NULL));
        OK(needle_index_put(index, &entry, NEEDLE_INDEX_RUNTIME, NULL));
    }
}

static int recall(struct needle_index *index)
{
    struct index_mark mark;
    return needle_index_recall(index, &mark, NULL);
}

static int keep(struct needle_index *index, struct error *err)
{
    struct index_mark mark = {.volume_id = 1, .version = 3, .offset_bytes = 5};
    needle_index_stat(index, &mark.counters);
    return needle_index_keep(index, &mark, err);
}

static void rows_without_a_mark_take_the_mark_away(void **state)
{
    struct place p;
    begin(&p);
    struct needle_index *index = make_index(&p, 0);
    put_entries(index, 1, 100, 0);
    OK(keep(index, &p.err));
    put_entries(index, 100, 70000, 0); /* too many to wait */
    struct needle_index_stat stat;
    needle_index_stat(index, &stat);
    assert_int_equal(stat.live_count, 69999);
    needle_index_destroy(index);
    index_store_close(p.store);
    open_store(&p);
    index = make_index(&p, 0);
    assert_int_equal(recall(index), KELP_E_NOT_FOUND);
    needle_index_destroy(index);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 0);
    end(&p);
}

static void what_is_taken_up_is_taken_up_once(void **state)
{
    struct place p;
    struct needle_entry entry;
    begin(&p);
    struct needle_index *first = make_index(&p, 0), *second;
    put_entries(first, 1, 100, 0);
    OK(keep(first, &p.err));
    second = make_index(&p, 0);
    assert_int_equal(recall(second), KELP_E_NOT_FOUND); /* it is in use */
    OK(needle_index_clear(second, &p.err));
    OK(needle_index_get(first, 5, &entry, NULL));
    put_entries(second, 1, 10, 8000);
    OK(keep(second, &p.err)); /* takes its place */
    needle_index_destroy(first);
    needle_index_destroy(second);
    first = make_index(&p, 0);
    OK(recall(first));
    OK(needle_index_get(first, 5, &entry, NULL));
    assert_int_equal(entry.offset, 8000 + 40);
    needle_index_destroy(first);
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 9);
    end(&p);
}

static void other_revisions_go_when_one_is_taken_up(void **state)
{
    struct place p;
    begin(&p);
    for (uint16_t revision = 0; revision < 3; revision++) {
        struct needle_index *index = make_index(&p, revision);
        put_entries(index, 1, 100, 0);
        OK(keep(index, &p.err));
        needle_index_destroy(index);
    }
    assert_int_equal(index_store_count_rows(p.store), 3 * 99);
    struct needle_index *index = make_index(&p, 1);
    OK(recall(index));
    index_store_settle(p.store);
    assert_int_equal(index_store_count_rows(p.store), 99);
    needle_index_destroy(index);
    end(&p);
}

static void walk_takes_each_key_once(void **state)
{
    struct place p;
    begin(&p);
    struct needle_index *index = make_index(&p, 0);
    put_entries(index, 1, 1000, 0);
    OK(keep(index, &p.err));
    put_entries(index, 500, 600, 80000); /* again, and waiting */
    put_entries(index, 2000, 2100, 80000);
    for (uint64_t key = 100; key < 200; key++)
        OK(needle_index_delete(index, key, NEEDLE_INDEX_RUNTIME, NULL));
    for (int order = 0; order < 2; order++) {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        size_t count, seen = 0;
        uint64_t last = 0;
        OK(needle_cursor_open(index, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET, UINT64_MAX,
                              &cursor, NULL));
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i++, seen++) {
                uint64_t key = entries[i].key, value = order ? key : entries[i].offset;
                assert_true(value > last && (key < 100 || key >= 200));
                assert_int_equal(entries[i].offset,
                                 key * 8 + ((key >= 500 && key < 600) || key >= 2000 ? 80000 : 0));
                last = value;
            }
        needle_cursor_close(cursor);
        assert_int_equal(seen, 999 - 100 + 100);
    }
    needle_index_destroy(index);
    end(&p);
}

static void index_that_cannot_be_written_takes_no_more(void **state)
{
    struct place p;
    struct rlimit old, low;
    struct needle_entry entry;
    begin(&p);
    struct needle_index *index = make_index(&p, 0);
    put_entries(index, 1, 1000, 0);
    signal(SIGXFSZ, SIG_IGN);
    OK(getrlimit(RLIMIT_FSIZE, &old));
    low = old;
    low.rlim_cur = 10000;
    OK(setrlimit(RLIMIT_FSIZE, &low));
    assert_int_equal(keep(index, &p.err), KELP_E_IO);
    assert_int_equal(needle_index_reserve(index, 1000, &p.err), KELP_E_IO);
    assert_non_null(strstr(p.err.message, "restart"));
    OK(setrlimit(RLIMIT_FSIZE, &old));
    OK(needle_index_get(index, 500, &entry, NULL)); /* what it took, it has */
    OK(needle_index_delete(index, 500, NEEDLE_INDEX_RUNTIME, NULL));
    OK(needle_index_get(index, 500, &entry, NULL));
    assert_int_equal(entry.size, -5);
    needle_index_destroy(index);
    end(&p);
}

/* ---- many ---- */

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SHADOW 4u /* the sanitizer's memory comes on top */
#else
#define SHADOW 1u
#endif

static uint64_t resident_bytes(void)
{
    unsigned long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int count_name(void *ctx, const char *name)
{
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    OK(os_real()->ops->list(os_real(), "/proc/self/fd", count_name, &count));
    return count;
}

static void thousands_of_volumes_share_bounded_memory_and_files(void **state)
{
    enum { VOLUMES = 3000, DATABASE_FILES = 128 };
    static struct volume *volumes[VOLUMES];
    struct rlimit limit;
    OK(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    OK(setrlimit(RLIMIT_NOFILE, &limit));
    unsigned count = limit.rlim_max < 2 * VOLUMES + 400 ? (unsigned)limit.rlim_max / 4 : VOLUMES;

    struct place p;
    begin(&p);
    unsigned files = open_descriptors();
    uint64_t bytes = resident_bytes();
    for (uint32_t id = 1; id <= count; id++) {
        create(&p, id);
        put(&p, id * 10ull);
        put(&p, id * 10ull + 1);
        volumes[id - 1] = p.volume;
    }
    files = open_descriptors() - files;
    bytes = resident_bytes() - bytes;
    print_message("%u volumes: %u descriptors beside their own, %.1f KiB each\n", count,
                  files - 2 * count, (double)bytes / 1024 / count);
    assert_true(files <= 2 * count + DATABASE_FILES);
    assert_true(bytes < SHADOW * 16u * 1024 * count);
    for (uint32_t id = 1; id <= count; id++) {
        p.volume = volumes[id - 1];
        assert_true(has(&p, id * 10ull + 1));
        volume_close(p.volume);
    }
    p.volume = NULL;
    index_store_close(p.store);
    open_store(&p);
    assert_null(p.note);
    for (uint32_t id = 1; id <= count; id += 250) {
        open_volume(&p, id);
        assert_true(has(&p, id * 10ull));
        close_volume(&p);
    }
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clean_close_leaves_nothing_to_replay),
        cmocka_unit_test(crash_replays_the_rows_behind_the_mark_only),
        cmocka_unit_test(load_after_a_crash_keeps_a_mark),
        cmocka_unit_test(mark_of_other_rows_is_not_believed),
        cmocka_unit_test(mark_beyond_the_rows_is_not_believed),
        cmocka_unit_test(vacuum_leaves_one_generation),
        cmocka_unit_test(vacuum_that_is_dropped_leaves_nothing),
        cmocka_unit_test(vacuum_that_a_crash_cut_off_leaves_nothing),
        cmocka_unit_test(deleted_volume_takes_its_rows_along),
        cmocka_unit_test(volumes_that_are_gone_are_forgotten),
        cmocka_unit_test(rubbish_goes_when_it_is_opened_next),
        cmocka_unit_test(database_that_cannot_be_opened_is_made_anew),
        cmocka_unit_test(file_in_its_place_is_replaced),
        cmocka_unit_test(database_in_use_is_left_alone),
        cmocka_unit_test(wrong_checksum_is_an_error_and_mended_by_a_restart),
        cmocka_unit_test(failed_write_stops_the_volume_and_loses_nothing),
        cmocka_unit_test(index_that_cannot_be_filled_is_had_in_memory),
        cmocka_unit_test(filling_in_any_order_counts_exactly),
        cmocka_unit_test(rows_without_a_mark_take_the_mark_away),
        cmocka_unit_test(what_is_taken_up_is_taken_up_once),
        cmocka_unit_test(other_revisions_go_when_one_is_taken_up),
        cmocka_unit_test(walk_takes_each_key_once),
        cmocka_unit_test(index_that_cannot_be_written_takes_no_more),
        cmocka_unit_test(thousands_of_volumes_share_bounded_memory_and_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
