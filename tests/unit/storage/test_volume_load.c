/* Opening volumes whose files were cut, garbled or lost: what a crash can leave, and worse. */
#include "common/check.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { KEYS = 40 };

static struct disk_os *disk;
static struct fault_os *fault;
static struct os *os;
static struct append_queue *queue;
static struct volume *volume;
static struct volume_place place;

/* The files as they were when the volume was whole, and what it held. */
static char *dat, *idx;
static size_t dat_size, idx_size;
static uint64_t record_end[KEYS + 3]; /* after each append */

static size_t size_of(uint64_t key) { return 1 + (size_t)(key * 37 % 300); }

static void put(uint64_t key)
{
    char data[512];
    fixture_fill(data, size_of(key), key);
    struct needle needle = fixture_needle(key, 7, data, size_of(key));
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
}

static bool has(uint64_t key)
{
    char data[512];
    fixture_fill(data, size_of(key), key);
    return fixture_has(volume, key, data, size_of(key));
}

static bool is_gone(uint64_t key)
{
    struct volume_read read;
    int code = volume_read_begin(volume, key, false, &read, NULL);
    if (code == 0)
        volume_read_end(&read);
    return code == KELP_E_DELETED || code == KELP_E_NOT_FOUND;
}

static uint64_t dat_end(void)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    return stat.dat_bytes;
}

/* Keys 1..KEYS, key 3 deleted, key 4 deleted and put again: KEYS + 3 records. */
static int setup(void **state)
{
    disk_os_create(&disk, 64 << 20);
    fault_os_create(&fault, disk_os_get(disk));
    os = fault_os_get(fault);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    struct volume_options options = {.offset_bytes = 5};
    place = (struct volume_place){os, "/d", NULL, "", 1};
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
    size_t appends = 0;
    for (uint64_t key = 1; key <= KEYS - 5; key++) {
        put(key);
        record_end[appends++] = dat_end();
    }
    assert_int_equal(fixture_delete(queue, volume, 3, 7).code, 0);
    record_end[appends++] = dat_end();
    assert_int_equal(fixture_delete(queue, volume, 4, 7).code, 0);
    record_end[appends++] = dat_end();
    put(4);
    record_end[appends++] = dat_end();
    for (uint64_t key = KEYS - 4; key <= KEYS; key++) {
        put(key);
        record_end[appends++] = dat_end();
    }
    assert_int_equal(appends, KEYS + 3);
    volume_close(volume);
    volume = NULL;
    dat = fixture_read_file(os, "/d/1.dat", &dat_size);
    idx = fixture_read_file(os, "/d/1.idx", &idx_size);
    assert_int_equal(idx_size, (KEYS + 3) * 17);
    return 0;
}

static int teardown(void **state)
{
    volume_close(volume);
    volume = NULL;
    append_queue_destroy(queue);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    free(dat);
    free(idx);
    return 0;
}

static void lay_out(const char *dat_bytes, size_t dat_length, const char *idx_bytes, size_t idx_length)
{
    fixture_write_file(os, "/d/1.dat", dat_bytes, dat_length);
    if (idx_bytes)
        fixture_write_file(os, "/d/1.idx", idx_bytes, idx_length);
    else
        os_unlink(os, "/d/1.idx");
}

/* Opens, writable; returns whether something was repaired. */
static bool open_volume(void)
{
    char *note = NULL;
    struct error err = {0};
    struct volume_stat stat;
    if (volume_open(&volume, &place, &note, &err) != 0)
        fail_msg("%s", err.message);
    bool has_note = note != NULL;
    free(note);
    volume_stat(volume, &stat);
    assert_int_equal(stat.read_only, 0);
    return has_note;
}

/* Closes, opens again: nothing is left to be repaired. */
static void assert_is_stable(void)
{
    volume_close(volume);
    assert_false(open_volume());
}

/* A new blob can be written and survives a reopening. */
static void assert_goes_on(void)
{
    put(1000);
    assert_is_stable();
    assert_true(has(1000));
}

/* All but `lost` reads back; 3 is deleted. */
static void assert_all_but(uint64_t lost)
{
    for (uint64_t key = 1; key <= KEYS; key++) {
        if (key == lost || key == 3)
            assert_true(is_gone(key));
        else if (!has(key))
            fail_msg("key %d is lost", (int)key);
    }
}

static void close_again(void)
{
    volume_close(volume);
    volume = NULL;
}

static void whole_volume_needs_no_repair(void **state)
{
    assert_false(open_volume());
    assert_all_but(0);
}

static void dat_cut_at_every_byte_of_the_last_record(void **state)
{
    uint64_t start = record_end[KEYS + 1];
    for (size_t length = start; length <= dat_size; length++) {
        lay_out(dat, length, idx, idx_size);
        bool repaired = open_volume();
        if (dat_size - length >= 8 || (length - start) == 0) {
            assert_true(repaired);
            assert_all_but(KEYS);
            assert_int_equal(dat_end(), start);
        } else {
            /* Only padding, or a little more of it, is missing. */
            assert_all_but(dat_end() == start ? KEYS : 0);
        }
        struct os_stat st;
        assert_int_equal(os_stat(os, "/d/1.dat", &st), 0);
        assert_int_equal(st.size, dat_end());
        if (length % 16 == 0)
            assert_goes_on();
        assert_is_stable();
        close_again();
    }
}

static void lost_rows_are_added_from_the_records(void **state)
{
    for (size_t lost = 1; lost <= KEYS + 3; lost++) {
        lay_out(dat, dat_size, idx, idx_size - lost * 17);
        assert_true(open_volume());
        assert_all_but(0);
        assert_is_stable();
        if (lost % 10 == 0)
            assert_goes_on();
        close_again();
    }
}

static void lost_rows_and_torn_record_together(void **state)
{
    for (size_t torn = 9; torn < 40; torn++) {
        lay_out(dat, dat_size - torn, idx, idx_size - 4 * 17);
        assert_true(open_volume());
        assert_all_but(KEYS);
        assert_is_stable();
        close_again();
    }
}

static void partial_row_is_cut_and_made_again(void **state)
{
    for (size_t part = 1; part < 17; part++) {
        lay_out(dat, dat_size, idx, idx_size - part);
        assert_true(open_volume());
        assert_all_but(0);
        assert_is_stable();
        assert_goes_on();
        close_again();
    }
}

static void lost_index_is_made_from_the_records(void **state)
{
    lay_out(dat, dat_size, NULL, 0);
    assert_true(open_volume());
    assert_all_but(0);
    assert_is_stable();
    close_again();
    size_t size;
    char *made = fixture_read_file(os, "/d/1.idx", &size);
    assert_int_equal(size, idx_size);
    assert_memory_equal(made, idx, size);
    free(made);
}

static void every_row_garbled_in_every_field(void **state)
{
    for (size_t row = 0; row < KEYS + 3; row++)
        for (size_t field = 0; field < 5; field++) {
            /* the key; the offset, far off, past the end, nearby; the size */
            static const size_t positions[] = {7, 10, 12, 11, 15};
            char *garbled = must(malloc(idx_size));
            memcpy(garbled, idx, idx_size);
            garbled[row * 17 + positions[field]] ^= 0x15;
            lay_out(dat, dat_size, garbled, idx_size);
            free(garbled);
            bool repaired = open_volume();
            /* A wrong key far from the end shows itself only when its blob is read. */
            if (field == 0 && row + 16 < KEYS + 3) {
                close_again();
                continue;
            }
            assert_true(repaired);
            assert_all_but(0);
            assert_is_stable();
            close_again();
        }
}

static void every_single_row_dropped(void **state)
{
    for (size_t row = 0; row < KEYS + 3; row++) {
        char *less = must(malloc(idx_size));
        memcpy(less, idx, row * 17);
        memcpy(less + row * 17, idx + (row + 1) * 17, idx_size - (row + 1) * 17);
        lay_out(dat, dat_size, less, idx_size - 17);
        free(less);
        assert_true(open_volume());
        assert_all_but(0);
        assert_is_stable();
        close_again();
    }
}

static void rows_of_another_volume_are_replaced(void **state)
{
    char *noise = must(malloc(idx_size));
    fixture_fill(noise, idx_size, 99);
    lay_out(dat, dat_size, noise, idx_size);
    free(noise);
    assert_true(open_volume());
    assert_all_but(0);
    assert_is_stable();
    assert_goes_on();
}

static void zeros_after_the_records_are_cut(void **state)
{
    char *longer = calloc(1, dat_size + 5000);
    memcpy(longer, dat, dat_size);
    lay_out(longer, dat_size + 5000, idx, idx_size);
    free(longer);
    assert_true(open_volume());
    assert_int_equal(dat_end(), dat_size);
    assert_all_but(0);
    assert_is_stable();
}

/* A record behind zeros is found wherever it begins, also across the pieces that the scan reads. */
static void records_behind_zeros_are_found_wherever_they_begin(void **state)
{
    const size_t window = 1 << 20, record = (size_t)(dat_size - record_end[KEYS + 1]);
    char *longer = must(calloc(1, dat_size + 3 * window));
    memcpy(longer, dat, dat_size);
    for (size_t gap = window - 32; gap <= window + 32; gap += 8) {
        size_t start = record_end[KEYS + 1] + gap;
        memset(longer + record_end[KEYS + 1], 0, 2 * window);
        memcpy(longer + start, dat + record_end[KEYS + 1], record);
        lay_out(longer, start + record, idx, idx_size - 17);
        assert_true(open_volume());
        assert_all_but(0);
        assert_int_equal(dat_end(), start + record);
        assert_is_stable();
        close_again();
    }
    free(longer);
}

/* Pages of the .idx that did not reach the disk read as zeros, however many there are, and the row at
 * their edge as a put or delete of something else. */
static void zeros_after_the_rows_are_cut(void **state)
{
    static const size_t zero_rows[] = {0, 1, 15, 16, 17, 200};
    for (size_t i = 0; i < sizeof(zero_rows) / sizeof(zero_rows[0]); i++) {
        for (size_t torn_at = 0; torn_at < 17; torn_at++) {
            size_t length = idx_size + zero_rows[i] * 17;
            char *longer = calloc(1, length);
            memcpy(longer, idx, idx_size - 17 + torn_at);
            lay_out(dat, dat_size, longer, length);
            free(longer);
            open_volume();
            assert_all_but(0);
            assert_is_stable();
            assert_all_but(0);
            volume_close(volume);
            volume = NULL;
        }
    }
}

static void zeros_among_the_rows_delete_nothing(void **state)
{
    for (size_t torn_at = 0; torn_at <= 17; torn_at++) {
        char *holed = must(malloc(idx_size));
        memcpy(holed, idx, idx_size);
        memset(holed + 5 * 17 + torn_at, 0, 20 * 17);
        lay_out(dat, dat_size, holed, idx_size);
        free(holed);
        assert_true(open_volume());
        assert_all_but(0);
        assert_is_stable();
        volume_close(volume);
        volume = NULL;
    }
}

static void records_behind_a_torn_one_are_kept(void **state)
{
    /* The last five rows are lost, and of their records the first is zeros: written out of order. */
    uint64_t from = record_end[KEYS - 3], to = record_end[KEYS - 2];
    char *torn = must(malloc(dat_size));
    memcpy(torn, dat, dat_size);
    memset(torn + from, 0, to - from);
    lay_out(torn, dat_size, idx, idx_size - 5 * 17);
    free(torn);
    assert_true(open_volume());
    assert_all_but(KEYS - 4);
    assert_int_equal(dat_end(), dat_size);
    assert_is_stable();
    assert_goes_on();
    /* The gap stays known when everything is made anew. */
    close_again();
    size_t size;
    char *now = fixture_read_file(os, "/d/1.idx", &size);
    fixture_write_file(os, "/d/1.idx", now + 17, size - 17);
    free(now);
    assert_true(open_volume());
    assert_all_but(KEYS - 4);
    assert_is_stable();
}

static void empty_blob_survives_a_rebuild_that_knows_its_row(void **state)
{
    assert_false(open_volume());
    struct needle needle = fixture_needle(500, 7, "", 0);
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    put(501);
    close_again();
    size_t size;
    char *now = fixture_read_file(os, "/d/1.idx", &size);
    memmove(now + 17, now + 34, size - 34); /* the second row is lost */
    fixture_write_file(os, "/d/1.idx", now, size - 17);
    free(now);
    assert_true(open_volume());
    assert_all_but(0);
    assert_true(fixture_has(volume, 500, "", 0));
    assert_is_stable();
    assert_true(fixture_has(volume, 500, "", 0));
}

/* Ours says in its padding what it is; of the peer's, which does not, nobody can know. */
static void empty_blob_without_a_row_is_known_by_its_mark(void **state)
{
    for (int is_peers = 0; is_peers < 2; is_peers++) {
        lay_out(dat, dat_size, idx, idx_size);
        assert_false(open_volume());
        struct needle needle = fixture_needle(5, 7, "", 0);
        assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
        close_again();
        size_t size;
        char *now = fixture_read_file(os, "/d/1.dat", &size);
        if (is_peers)
            memset(now + size - 4, 0, 4);
        lay_out(now, size, idx, idx_size);
        free(now);
        assert_true(open_volume());
        assert_int_equal(is_gone(5), is_peers);
        assert_int_equal(fixture_has(volume, 5, "", 0), !is_peers);
        assert_is_stable();
        assert_int_equal(is_gone(5), is_peers);
        close_again();
    }
}

static void damaged_record_is_reported_not_dropped(void **state)
{
    /* The header of key 11 is garbled, and a lost row makes the index be built anew. */
    char *bad = must(malloc(dat_size)), *less = must(malloc(idx_size));
    memcpy(bad, dat, dat_size);
    memcpy(less, idx, idx_size);
    memset(bad + record_end[9], 0xee, 16);
    memmove(less, less + 17, idx_size - 17);
    lay_out(bad, dat_size, less, idx_size - 17);
    free(bad);
    free(less);
    assert_true(open_volume());
    assert_is_stable();
    struct needle needle;
    void *buf;
    assert_int_equal(fixture_get(volume, 11, &needle, &buf), KELP_E_CORRUPT);
    for (uint64_t key = 1; key <= KEYS; key++)
        assert_true(key == 3 ? is_gone(key) : key == 11 || has(key));
    assert_is_stable();
}

static void key_of_a_record_and_of_its_row_disagree(void **state)
{
    /* The last record's header says another key: one that nobody has, or key 2, whose cookie differs. */
    for (uint64_t other = 2; other <= 900; other += 898) {
        char *bad = must(malloc(dat_size));
        memcpy(bad, dat, dat_size);
        store_be64(bad + record_end[KEYS + 1] + 4, other);
        if (other == 2)
            store_be32(bad + record_end[KEYS + 1], 8);
        lay_out(bad, dat_size, idx, idx_size);
        free(bad);
        open_volume();
        struct needle needle;
        void *buf;
        assert_int_equal(fixture_get(volume, KEYS, &needle, &buf), KELP_E_CORRUPT);
        for (uint64_t key = 1; key < KEYS; key++)
            assert_true(key == 3 ? is_gone(key) : has(key));
        assert_goes_on();
        close_again();
    }
}

static void settled_keys_stay_settled_in_a_rebuild(void **state)
{
    /* As above with a key that nobody has; then a lost row makes the index be built anew. */
    char *bad = must(malloc(dat_size));
    memcpy(bad, dat, dat_size);
    store_be64(bad + record_end[KEYS + 1] + 4, 900);
    lay_out(bad, dat_size, idx, idx_size);
    assert_true(open_volume());
    close_again();
    size_t settled_size;
    char *settled = fixture_read_file(os, "/d/1.idx", &settled_size);
    lay_out(bad, dat_size, settled + 17, settled_size - 17);
    free(settled);
    free(bad);
    assert_true(open_volume());
    struct needle needle;
    void *buf;
    assert_int_equal(fixture_get(volume, KEYS, &needle, &buf), KELP_E_CORRUPT);
    for (uint64_t key = 1; key < KEYS; key++)
        assert_true(key == 3 ? is_gone(key) : has(key));
    assert_goes_on();
}

static void garbled_info_is_left_alone(void **state)
{
    static const char *const texts[] = {"{\"version\": ", "[]", "\"x\"", "{\"bytesOffset\": 7}", "\x01\x02"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        fixture_write_file(os, "/d/1.vif", texts[i], strlen(texts[i]));
        assert_true(open_volume());
        assert_all_but(0);
        close_again();
        size_t size;
        char *now = fixture_read_file(os, "/d/1.vif", &size);
        assert_string_equal(now, texts[i]);
        free(now);
    }
}

static void lost_info_is_written_again(void **state)
{
    size_t size;
    char *before = fixture_read_file(os, "/d/1.vif", &size);
    for (int i = 0; i < 2; i++) {
        if (i == 0)
            os_unlink(os, "/d/1.vif");
        else
            fixture_write_file(os, "/d/1.vif", "", 0);
        open_volume();
        assert_all_but(0);
        close_again();
        char *now = fixture_read_file(os, "/d/1.vif", &size);
        assert_string_equal(now, before);
        free(now);
    }
    free(before);
}

static void bad_super_block_fails_and_touches_nothing(void **state)
{
    static const struct {
        const char *bytes;
        size_t length;
    } table[] = {{"", 0}, {"\x03\0\0", 3}, {"\x09\0\0\0\0\0\0\0abcdefgh", 16}, {"\0\0\0\0\0\0\0\0", 8}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (int has_idx = 0; has_idx < 2; has_idx++) {
            size_t size;
            struct error err;
            struct os_stat st;
            lay_out(table[i].bytes, table[i].length, has_idx ? idx : NULL, idx_size);
            assert_int_equal(volume_open(&volume, &place, NULL, &err), KELP_E_CORRUPT);
            assert_non_null(strstr(err.message, "1.dat"));
            char *now = fixture_read_file(os, "/d/1.dat", &size);
            assert_int_equal(size, table[i].length);
            free(now);
            assert_int_equal(os_stat(os, "/d/1.idx", &st), has_idx ? 0 : -ENOENT);
        }
    assert_int_equal(os_unlink(os, "/d/1.dat"), 0);
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), KELP_E_NOT_FOUND);
}

static void failed_repair_serves_read_only(void **state)
{
    /* Rows lost at the end, and in the middle; each change of the repair fails in turn. */
    for (int middle = 0; middle < 2; middle++)
        for (uint64_t nth = 1;; nth++) {
            char *less = must(malloc(idx_size));
            memcpy(less, idx, idx_size);
            if (middle)
                memmove(less + 170, less + 187, idx_size - 187);
            lay_out(dat, dat_size - 20, less, idx_size - 3 * 17);
            free(less);
            fault_os_clear(fault);
            fault_os_fail(fault, FAULT_WRITE | FAULT_FTRUNCATE | FAULT_FSYNC | FAULT_RENAME, nth, ENOSPC, true);
            char *note = NULL;
            struct volume_stat stat;
            struct error err = {0};
            if (volume_open(&volume, &place, &note, &err) != 0)
                fail_msg("middle %d, call %d: %s", middle, (int)nth, err.message);
            bool has_struck = fault_os_strikes(fault) > 0;
            fault_os_clear(fault);
            assert_non_null(note);
            /* That only the log of the repair cannot be written harms nothing. */
            bool has_failed = strstr(note, "the repair failed") != NULL;
            assert_true(has_failed || !has_struck || strstr(note, "could not be kept"));
            free(note);
            volume_stat(volume, &stat);
            assert_int_equal(stat.read_only, has_failed ? VOLUME_RO_CORRUPT : 0);
            char why[VOLUME_FAULT_MAX];
            volume_fault(volume, why);
            assert_int_equal(strstr(why, "the repair failed: ") != NULL, has_failed);
            assert_all_but(KEYS);
            close_again();
            open_volume();
            assert_all_but(KEYS);
            assert_is_stable();
            close_again();
            if (!has_struck)
                break;
        }
}

static void unwritable_dat_serves_read_only(void **state)
{
    assert_int_equal(os_unlink(os, "/d/1.dat"), 0);
    int fd = os_open(os, "/d/1.dat", O_RDWR | O_CREAT, 0444);
    struct iovec iov = {dat, dat_size};
    assert_int_equal(os_write_full(os, fd, "", &iov, 1, 0, NULL), 0);
    os_close(os, fd);
    fixture_write_file(os, "/d/1.idx", idx, idx_size - 2 * 17);
    struct volume_stat stat;
    assert_int_equal(volume_open(&volume, &place, NULL, NULL), 0);
    volume_stat(volume, &stat);
    assert_int_equal(stat.read_only, VOLUME_RO_FILE_MODE);
    assert_all_but(0); /* from memory: the .idx is not touched */
    struct os_stat st;
    assert_int_equal(os_stat(os, "/d/1.idx", &st), 0);
    assert_int_equal(st.size, idx_size - 2 * 17);
    struct error err;
    assert_int_equal(volume_mark_writable(volume, &err), KELP_E_READ_ONLY);
}

/* Each row of the table in volume_load.c, and what the log beside the volume then says. */
static void each_repair_is_kept_in_a_log(void **state)
{
    static const char tail[] = "tail: 1 records added", anew[] = "index made anew";
    static const struct {
        size_t dat_cut, idx_cut; /* bytes lost at the end */
        bool is_idx_lost, is_row_lost, is_far_off;
        const char *text;
    } table[] = {
        {0, 5, false, false, false, "cut a partial index row"},
        {0, 17, false, false, false, tail},
        {20, 0, false, false, false, "cut 1 index rows without a record"},
        {20, 17, false, false, false, "torn bytes cut"},
        {20, 5, false, false, false, "torn bytes cut"},
        {0, 0, true, false, false, "lost index made anew: 43 records added"},
        {20, 0, true, false, false, "lost index made anew: 42 records added"},
        {0, 0, false, true, false, anew},
        {0, 0, false, false, true, anew},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        char *rows = must(malloc(idx_size));
        memcpy(rows, idx, idx_size);
        size_t size = idx_size - table[i].idx_cut;
        if (table[i].is_row_lost) {
            memmove(rows + 34, rows + 51, size - 51);
            size -= 17;
        }
        if (table[i].is_far_off)
            rows[5 * 17 + 8] = 0x7f; /* far past the end of the .dat */
        os_unlink(os, "/d/1.repair.log");
        lay_out(dat, dat_size - table[i].dat_cut, table[i].is_idx_lost ? NULL : rows, size);
        free(rows);
        assert_true(open_volume());
        assert_all_but(table[i].dat_cut ? KEYS : 0);
        char *log = fixture_read_file(os, "/d/1.repair.log", &size);
        assert_non_null(log);
        if (!strstr(log, table[i].text) || strchr(log, '\n') != log + size - 1)
            fail_msg("case %zu: %s", i, log);
        assert_is_stable();
        size_t now;
        free(fixture_read_file(os, "/d/1.repair.log", &now));
        assert_int_equal(now, size);
        assert_goes_on();
        free(log);
        close_again();
    }
    /* It goes with the volume. */
    open_volume();
    assert_int_equal(volume_delete_files(volume, NULL), 0);
    volume = NULL;
    assert_null(fixture_read_file(os, "/d/1.repair.log", NULL));
}

/* Whatever header byte of whatever record is wrong: one repair settles it, or none is needed. */
static void a_garbled_header_is_settled_at_once(void **state)
{
    for (size_t record = 0; record < KEYS + 3; record++)
        for (size_t byte = 0; byte < 16; byte++) {
            char *bad = must(malloc(dat_size));
            memcpy(bad, dat, dat_size);
            bad[(record ? record_end[record - 1] : 8) + byte] ^= byte % 2 ? 0x41 : 0x01;
            lay_out(bad, dat_size, idx, idx_size);
            open_volume();
            close_again();
            if (open_volume())
                fail_msg("record %zu, byte %zu: repaired again", record, byte);
            for (uint64_t key = 1; key <= KEYS; key++)
                if (key != 3 && !has(key)) {
                    struct needle needle;
                    void *buf;
                    uint64_t start = record ? record_end[record - 1] : 8;
                    if (fixture_get(volume, key, &needle, &buf) == 0)
                        free(buf);
                    else if (load_be64((uint8_t *)dat + start + 4) != key)
                        fail_msg("record %zu, byte %zu: key %d is lost", record, byte, (int)key);
                }
            free(bad);
            close_again();
        }
}

/* Each record says another key than its row: the work grows with the rows, not with their square. */
static void a_volume_full_of_quarrels_is_settled_in_time(void **state)
{
    enum { MANY = 200000 };
    size_t size = 8 + (size_t)MANY * 32;
    uint8_t *records = must(calloc(1, size)), *rows = must(malloc((size_t)MANY * 17));
    records[0] = 3;
    for (size_t i = 0; i < MANY; i++) {
        uint8_t *record = records + 8 + i * 32;
        struct needle_entry row = {i + 1, 8 + i * 32, NEEDLE_TOMBSTONE};
        needle_header_store(record, &(struct needle_header){7, 1000000 + i, 0});
        store_be64(record + 20, i + 1);
        index_row_store(rows + i * 17, &row, 5);
    }
    int64_t begin = os_monotonic_ns(os_real());
    lay_out((char *)records, size, (char *)rows, (size_t)MANY * 17);
    free(records);
    free(rows);
    assert_true(open_volume());
    assert_is_stable();
    /* Far more than it needs, even with a sanitizer; with the square of the rows it is a minute. */
    assert_true(os_monotonic_ns(os_real()) - begin < 10000000000);
}

/* Records without a body, tombstones and empty blobs, near the end: no rebuild at each start. */
static void an_empty_record_of_another_key_is_settled_at_once(void **state)
{
    assert_false(open_volume());
    uint64_t places[4] = {record_end[KEYS - 6], record_end[KEYS - 5], dat_size};
    struct needle needle = fixture_needle(500, 7, "", 0);
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    put(501);
    places[3] = dat_end();
    needle.key = 1;
    assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
    close_again();
    size_t whole_dat, whole_idx;
    char *good_dat = fixture_read_file(os, "/d/1.dat", &whole_dat);
    char *good_idx = fixture_read_file(os, "/d/1.idx", &whole_idx);
    for (size_t i = 0; i < 4; i++)
        for (uint64_t key = 0; key < 510; key += key < 8 ? 1 : 13) {
            char *bad = must(malloc(whole_dat));
            memcpy(bad, good_dat, whole_dat);
            store_be64(bad + places[i] + 4, key);
            lay_out(bad, whole_dat, good_idx, whole_idx);
            free(bad);
            open_volume();
            close_again();
            if (open_volume())
                fail_msg("record at %d, key %d: repaired again", (int)places[i], (int)key);
            close_again();
        }
    free(good_dat);
    free(good_idx);
}

static void power_loss_keeps_what_was_synced(void **state)
{
    for (uint64_t seed = 0; seed < 60; seed++) {
        for (unsigned mode = 0; mode < DISK_OS_LOSSES; mode++) {
            lay_out(dat, dat_size, idx, idx_size);
            int fd = os_open(os, "/d/1.dat", O_RDWR, 0);
            os_fsync(os, fd);
            os_close(os, fd);
            fd = os_open(os, "/d/1.idx", O_RDWR, 0);
            os_fsync(os, fd);
            os_close(os, fd);
            assert_false(open_volume());
            char data[512];
            for (uint64_t key = 2000; key < 2012; key++) {
                fixture_fill(data, size_of(key), key);
                struct needle needle = fixture_needle(key, 7, data, size_of(key));
                assert_int_equal(fixture_put(queue, volume, &needle, key == 2000 + seed % 12).code, 0);
            }
            disk_os_lose_power(disk, (enum disk_os_loss)mode, seed);
            close_again();
            open_volume();
            assert_all_but(0);
            for (uint64_t key = 2000; key <= 2000 + seed % 12; key++)
                assert_true(has(key));
            /* The others were not promised: there, gone, or known to be damaged. */
            for (uint64_t key = 2001 + seed % 12; key < 2012; key++) {
                struct needle needle;
                void *buf;
                int code = fixture_get(volume, key, &needle, &buf);
                if (code == 0)
                    free(buf);
                assert_true(code == KELP_E_CORRUPT || is_gone(key) || has(key));
            }
            assert_goes_on();
            close_again();
        }
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(whole_volume_needs_no_repair),
        T(dat_cut_at_every_byte_of_the_last_record),
        T(lost_rows_are_added_from_the_records),
        T(lost_rows_and_torn_record_together),
        T(partial_row_is_cut_and_made_again),
        T(lost_index_is_made_from_the_records),
        T(every_row_garbled_in_every_field),
        T(every_single_row_dropped),
        T(rows_of_another_volume_are_replaced),
        T(zeros_after_the_records_are_cut),
        T(records_behind_zeros_are_found_wherever_they_begin),
        T(zeros_after_the_rows_are_cut),
        T(zeros_among_the_rows_delete_nothing),
        T(records_behind_a_torn_one_are_kept),
        T(empty_blob_survives_a_rebuild_that_knows_its_row),
        T(empty_blob_without_a_row_is_known_by_its_mark),
        T(damaged_record_is_reported_not_dropped),
        T(key_of_a_record_and_of_its_row_disagree),
        T(settled_keys_stay_settled_in_a_rebuild),
        T(garbled_info_is_left_alone),
        T(lost_info_is_written_again),
        T(bad_super_block_fails_and_touches_nothing),
        T(failed_repair_serves_read_only),
        T(unwritable_dat_serves_read_only),
        T(each_repair_is_kept_in_a_log),
        T(a_garbled_header_is_settled_at_once),
        T(a_volume_full_of_quarrels_is_settled_in_time),
        T(an_empty_record_of_another_key_is_settled_at_once),
        T(power_loss_keeps_what_was_synced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
