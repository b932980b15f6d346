/* The facts of whole volumes: versions, super block, marks of the .vif, the index log and its rules, as
 * spec/storage-format.md 2, 7 to 11, 16.1 and 21 have them. The files are made by hand where ours would not
 * make them so. */
#include "common/check.h"
#include "common/crc32c.h"
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/format/super_block.h"
#include "volume/storage/format/volume_info_file.h"
#include "volume/storage/volume_vacuum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COOKIE 7u

static struct disk_os *disk;
static struct os *os;
static struct append_queue *queue;
static struct volume *volume;
static uint8_t image[1 << 16]; /* a .dat that is being made */
static size_t image_size;
static uint8_t log_bytes[1 << 12];
static size_t log_size;

static int setup(void **state)
{
    disk_os_create(&disk, 64 << 20);
    os = disk_os_get(disk);
    assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
    image_size = log_size = 0;
    return os_mkdir(os, "/d", 0755);
}

static void close_volume(void)
{
    volume_close(volume);
    volume = NULL;
}

static int teardown(void **state)
{
    close_volume();
    append_queue_destroy(queue);
    disk_os_destroy(disk);
    return 0;
}

/* ---- files made by hand ---- */

static void begin_image(uint8_t version, uint16_t extra_size)
{
    const struct super_block block = {.version = version, .extra_size = extra_size};
    super_block_store(image, &block);
    memset(image + 8, 0xee, extra_size);
    image_size = 8u + extra_size;
    log_size = 0;
}

/* Appends a record of that text; returns its offset. */
static uint64_t add_record(uint8_t version, uint64_t key, const char *text)
{
    struct needle needle = fixture_needle(key, COOKIE, text, strlen(text));
    struct needle_record record;
    uint8_t head[NEEDLE_HEAD_MAX], tail[512];
    needle.append_at_ns = 1000 + image_size;
    assert_int_equal(needle_encode(&needle, version, head, tail, &record, NULL), 0);
    uint64_t offset = image_size;
    memcpy(image + image_size, head, record.head_size);
    memcpy(image + image_size + record.head_size, text, record.data_size);
    memcpy(image + image_size + record.head_size + record.data_size, tail, record.tail_size);
    image_size += record.head_size + record.data_size + record.tail_size;
    return offset;
}

static void add_row(uint64_t key, uint64_t offset, int32_t size)
{
    const struct needle_entry entry = {key, offset, size};
    index_row_store(log_bytes + log_size, &entry, 5);
    log_size += 17;
}

/* What a blob of this text has as its body in version 3: sizes, flags, empty name and MIME type, time. */
static int32_t body_of(const char *text) { return text[0] ? (int32_t)strlen(text) + 4 + 1 + 2 + 5 : 0; }

static void lay_out(const char *info)
{
    fixture_write_file(os, "/d/1.dat", image, image_size);
    fixture_write_file(os, "/d/1.idx", log_bytes, log_size);
    fixture_write_file(os, "/d/1.vif", info, strlen(info));
}

/* Opens it; the note of what was repaired is the caller's, NULL for none. */
static char *open_noting(void)
{
    struct volume_place place = {os, "/d", NULL, "", 1, NULL};
    struct error err = {0};
    char *note = NULL;
    if (volume_open(&volume, &place, &note, &err) != 0)
        fail_msg("%s", err.message);
    return note;
}

static void open_whole(void)
{
    char *note = open_noting();
    if (note)
        fail_msg("repaired: %s", note);
}

static bool has(uint64_t key, const char *text)
{
    return fixture_has(volume, key, text, strlen(text));
}

static int code_of(uint64_t key)
{
    struct volume_read read;
    int code = volume_read_begin(volume, key, false, &read, NULL);
    if (code == 0)
        volume_read_end(&read);
    return code;
}

static struct volume_stat stat_of(void)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    return stat;
}

static int put(uint64_t key, const char *text)
{
    struct needle needle = fixture_needle(key, COOKIE, text, strlen(text));
    return fixture_put(queue, volume, &needle, false).code;
}

static int delete(uint64_t key) { return fixture_delete(queue, volume, key, COOKIE).code; }

static void vacuum(void)
{
    const struct vacuum_options options = {0};
    struct error err = {0};
    if (volume_vacuum_compact(volume, &options, &err) != 0 ||
        volume_vacuum_commit(volume, NULL, &err) != 0)
        fail_msg("%s", err.message);
}

/* ---- versions ---- */

static void check_version(uint8_t version)
{
    assert_true(has(1, "overwritten") && has(2, "hello") && has(4, "") && has(1000, "later"));
    assert_int_equal(code_of(3) == 0, 0);
    struct needle needle;
    void *buf;
    assert_int_equal(fixture_get(volume, 2, &needle, &buf), 0);
    assert_int_equal(needle.flags, version == 1 ? 0 : NEEDLE_HAS_NAME | NEEDLE_HAS_MIME |
                                                          NEEDLE_HAS_LAST_MODIFIED);
    assert_int_equal(needle.last_modified, version == 1 ? 0 : 1700000000);
    assert_true((needle.append_at_ns > 0) == (version == 3));
    free(buf);
    struct volume_stat stat = stat_of();
    assert_int_equal(stat.version, version);
    assert_int_equal(stat.live_count, 4);
    assert_int_equal(stat.read_only, 0);
}

/* Written, reopened, its index lost, its last record torn, vacuumed: always in its own layout. */
static void every_version_goes_through_a_whole_life(void **state)
{
    for (uint8_t version = 1; version <= 3; version++) {
        char info[64];
        begin_image(version, 0);
        snprintf(info, sizeof(info), "{\"version\": %u, \"bytesOffset\": 5}", version);
        lay_out(info);
        open_whole();
        assert_int_equal(put(1, "first"), 0);
        assert_int_equal(put(2, "hello"), 0);
        assert_int_equal(put(3, "to be deleted"), 0);
        assert_int_equal(delete(3), 0);
        assert_int_equal(put(1, "overwritten"), 0);
        assert_int_equal(put(4, ""), 0);
        assert_int_equal(put(1000, "later"), 0);
        check_version(version);
        close_volume();
        open_whole();
        check_version(version);
        close_volume();

        size_t size, rows;
        char *dat = fixture_read_file(os, "/d/1.dat", &size);
        char *idx = fixture_read_file(os, "/d/1.idx", &rows);
        assert_int_equal(rows, 7 * 17);
        assert_int_equal(size, 8 + needle_record_size(version, version == 1 ? 5 : body_of("first")) +
                                   needle_record_size(version, version == 1 ? 5 : body_of("hello")) +
                                   needle_record_size(version, version == 1 ? 13 : body_of("to be deleted")) +
                                   2 * needle_record_size(version, 0) +
                                   needle_record_size(version, version == 1 ? 11 : body_of("overwritten")) +
                                   needle_record_size(version, version == 1 ? 5 : body_of("later")));
        /* Rows lost behind the empty blob, which only its row knows in versions 1 and 2. */
        fixture_write_file(os, "/d/1.idx", idx, rows - 17);
        free(open_noting());
        check_version(version);
        close_volume();
        open_whole();
        close_volume();
        /* Its last record torn: gone, and written again. */
        fixture_write_file(os, "/d/1.dat", dat, size - 9);
        free(open_noting());
        assert_int_equal(code_of(1000) == 0, 0);
        assert_int_equal(put(1000, "later"), 0);
        check_version(version);
        vacuum();
        check_version(version);
        close_volume();
        open_whole();
        check_version(version);
        close_volume();
        free(dat);
        dat = fixture_read_file(os, "/d/1.dat", &size);
        assert_int_equal(dat[0], version);
        assert_int_equal(dat[5], 1); /* the revision */
        free(dat);
        free(idx);
    }
}

/* The peer cannot read these in version 1. */
static void large_blobs_are_streamed_in_every_version(void **state)
{
    size_t size = (3 << 20) + 17;
    uint8_t *data = must(malloc(size)), *part = must(malloc(size));
    uint8_t *around = must(malloc(VOLUME_READ_AROUND_MAX));
    fixture_fill(data, size, 5);
    for (uint8_t version = 1; version <= 3; version++) {
        begin_image(version, 0);
        lay_out("{\"bytesOffset\": 5}");
        open_whole();
        struct needle needle = fixture_needle(5, COOKIE, data, size), read_needle;
        assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
        struct volume_read read;
        assert_int_equal(volume_read_begin(volume, 5, false, &read, NULL), 0);
        assert_int_equal(volume_read_around(&read, around, false, &read_needle, NULL), 0);
        assert_int_equal(read_needle.data.len, size);
        assert_int_equal(read_needle.cookie, COOKIE);
        assert_int_equal(volume_read_data(&read, part, size - 100, 100, false, NULL), 0);
        assert_memory_equal(part, data + 100, size - 100);
        volume_read_end(&read);
        close_volume();
    }
    free(data);
    free(part);
    free(around);
}

static void an_extra_part_of_the_super_block_is_passed_over(void **state)
{
    static const struct {
        uint8_t version;
        uint16_t extra_size;
    } table[] = {{2, 8}, {3, 16}, {3, 4096}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        uint8_t version = table[i].version;
        begin_image(version, table[i].extra_size);
        uint64_t one = add_record(version, 1, "one");
        add_row(1, one, body_of("one"));
        lay_out("{\"bytesOffset\": 5}");
        open_whole();
        assert_true(has(1, "one"));
        assert_int_equal(put(2, "two"), 0);
        close_volume();
        os_unlink(os, "/d/1.idx"); /* and a scan knows where to begin */
        free(open_noting());
        assert_true(has(1, "one") && has(2, "two"));
        vacuum();
        assert_true(has(1, "one") && has(2, "two"));
        close_volume();
        size_t size;
        char *dat = fixture_read_file(os, "/d/1.dat", &size);
        assert_int_equal(dat[6] | dat[7], 0); /* the peer could not read one */
        free(dat);
        open_whole();
        assert_true(has(1, "one") && has(2, "two"));
        close_volume();
    }
}

/* ---- the .vif at load ---- */

static void marks_and_placement_of_the_info_are_taken_over(void **state)
{
    static const struct {
        const char *info;
        unsigned read_only;
        unsigned placement;
        int put, delete;
    } table[] = {
        {"{\"bytesOffset\": 5}", 0, 0, 0, 0},
        {"{\"bytesOffset\": 5, \"readOnly\": true}", VOLUME_RO_OPERATOR, 0, KELP_E_READ_ONLY,
         KELP_E_READ_ONLY},
        {"{\"bytesOffset\": 5, \"readOnly\": true, \"readOnlyCanDelete\": true}",
         VOLUME_RO_OPERATOR_CAN_DELETE, 0, KELP_E_READ_ONLY, 0},
        {"{\"bytesOffset\": 5, \"readOnlyCanDelete\": true}", 0, 0, 0, 0},
        {"{\"bytesOffset\": 5, \"replication\": \"012\"}", 0, 12, 0, 0},
        {"{\"bytesOffset\": 5, \"version\": 1, \"replication\": \"1\"}", 0, 1, 0, 0},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        begin_image(3, 0);
        uint64_t one = add_record(3, 1, "one");
        add_row(1, one, body_of("one"));
        lay_out(table[i].info);
        open_whole();
        struct volume_stat stat = stat_of();
        assert_int_equal(stat.read_only, table[i].read_only);
        assert_int_equal(stat.version, 3); /* the super block's, whatever the .vif says */
        assert_int_equal(replica_placement_to_byte(stat.replica_placement), table[i].placement);
        assert_int_equal(put(2, "two"), table[i].put);
        assert_int_equal(delete(1), table[i].delete);
        if (table[i].read_only == 0) {
            vacuum();
            close_volume();
            size_t size;
            char *dat = fixture_read_file(os, "/d/1.dat", &size);
            assert_int_equal(dat[1], table[i].placement); /* for good now */
            free(dat);
        }
        close_volume();
    }
}

/* Each save says when the volume ends: from then on, as long as its TTL. And what each mark leaves there. */
static void each_save_tells_the_end_and_the_marks(void **state)
{
    static const struct {
        bool is_read_only, can_delete, persist;
        const char *said;
    } marks[] = {
        {true, false, true, "\"readOnly\": true,"},
        {true, true, true, "\"readOnlyCanDelete\": true"},
        {false, false, true, "\"readOnly\": false,"},
        {true, false, false, "\"readOnly\": false,"}, /* not persisted */
    };
    struct volume_options options = {.offset_bytes = 5, .ttl = {3, 2}};
    struct volume_place place = {os, "/d", NULL, "", 1, NULL};
    struct volume_info info;
    assert_int_equal(volume_create(&volume, &place, &options, NULL), 0);
    for (size_t i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
        disk_os_advance(disk, 1000ll * 1000000000);
        uint64_t now = (uint64_t)(os_now_ns(os) / 1000000000);
        int code = marks[i].is_read_only
                       ? volume_mark_read_only(volume, marks[i].can_delete, marks[i].persist, NULL)
                       : volume_mark_writable(volume, NULL);
        assert_int_equal(code, 0);
        assert_int_equal(volume_info_file_load(os, "/d/1.vif", &info, NULL), 0);
        uint64_t saved = marks[i].persist ? now : now - 1000;
        assert_in_range(info.expire_at_second, saved + 3 * 3600, saved + 3 * 3600 + 1);
        volume_info_fini(&info);
        char *text = fixture_read_file(os, "/d/1.vif", NULL);
        if (!strstr(text, marks[i].said))
            fail_msg("case %zu: %s", i, text);
        free(text);
    }
}

/* ---- the log of the index ---- */

/* Which row a key ends with decides, in whatever order the rows stand. */
static void the_last_row_of_a_key_wins(void **state)
{
    begin_image(3, 0);
    uint64_t one = add_record(3, 1, "one"), two = add_record(3, 2, "two");
    uint64_t gone = add_record(3, 3, "gone"), tombstone = add_record(3, 3, "");
    uint64_t empty = add_record(3, 4, "");
    uint64_t old = add_record(3, 5, "old"), new = add_record(3, 5, "new");
    const struct needle_entry rows[] = {
        {1, one, body_of("one")},  {2, two, body_of("two")}, {3, gone, body_of("gone")},
        {3, tombstone, -1},        {4, empty, 0},            {5, old, body_of("old")},
        {5, new, body_of("new")},
    };
    static const uint8_t orders[][7] = {
        {0, 1, 2, 3, 4, 5, 6}, /* as they were written */
        {6, 0, 1, 2, 3, 4, 5}, /* the older row of 5 is the last */
        {4, 1, 0, 5, 6, 3, 2}, /* the put of 3 is the last: it is back */
    };
    for (size_t i = 0; i < 3; i++) {
        log_size = 0;
        for (size_t n = 0; n < 7; n++)
            add_row(rows[orders[i][n]].key, rows[orders[i][n]].offset, rows[orders[i][n]].size);
        lay_out("{\"bytesOffset\": 5}");
        open_whole();
        assert_true(has(1, "one") && has(2, "two") && has(4, ""));
        assert_true(has(5, i == 1 ? "old" : "new"));
        assert_int_equal(code_of(3) == 0, i == 2);
        if (i == 2)
            assert_true(has(3, "gone"));
        assert_int_equal(stat_of().max_key, 5);
        assert_int_equal(put(6, "goes on"), 0);
        close_volume();
    }
}

/* Deletes of tiered volumes leave no record: (key, 0, -1). They count where they stand. */
static void a_row_without_a_record_deletes(void **state)
{
    begin_image(3, 0);
    uint64_t one = add_record(3, 1, "one"), two = add_record(3, 2, "two");
    add_row(2, 0, -1);
    add_row(1, one, body_of("one"));
    add_row(2, two, body_of("two"));
    add_row(1, 0, -1);
    add_row(9, 0, -1); /* of a key that nobody has */
    lay_out("{\"bytesOffset\": 5}");
    open_whole();
    assert_true(has(2, "two"));
    assert_int_not_equal(code_of(1), 0);
    vacuum();
    assert_true(has(2, "two"));
    assert_int_not_equal(code_of(1), 0);
    close_volume();
    open_whole();
    assert_int_not_equal(code_of(1), 0);
}

/* Spec 11.5: old servers wrote deletes over the first rows of read-only volumes. The rows that were lost are
 * made from the records, and the deletes hold. */
static void rows_lost_under_deletes_at_the_head_are_made_again(void **state)
{
    for (int drops = 1; drops <= 4; drops++) {
        begin_image(3, 0);
        uint64_t at[8];
        for (uint64_t key = 1; key <= 8; key++) {
            char text[16];
            snprintf(text, sizeof(text), "blob %d", (int)key);
            at[key - 1] = add_record(3, key, text);
        }
        /* Keys 8, 7, ... deleted over the rows of 1, 2, ...; key 2 has another row, further down. */
        for (int i = 0; i < drops; i++)
            add_row(8 - (uint64_t)i, 0, -1);
        for (uint64_t key = (uint64_t)drops + 1; key <= 8; key++)
            add_row(key, at[key - 1], body_of("blob x"));
        lay_out("{\"bytesOffset\": 5}");
        for (int opened = 0; opened < 2; opened++) {
            char *note = open_noting();
            assert_int_equal(note != NULL, opened == 0);
            free(note);
            for (uint64_t key = 1; key <= 8; key++) {
                char text[16];
                snprintf(text, sizeof(text), "blob %d", (int)key);
                /* The put rows of 8, 7 ... stand after their deletes: they hold, as for any reader. */
                if (!has(key, text))
                    fail_msg("%d rows lost, opened %d times: key %d is lost", drops, opened + 1, (int)key);
            }
            close_volume();
        }
    }
}

/* Keys that are deleted only there stay deleted, though their records are found. */
static void deletes_at_the_head_hold(void **state)
{
    begin_image(3, 0);
    uint64_t at[4];
    static const char *const texts[] = {"aaaa", "bbbb", "cccc", "dddd"};
    for (uint64_t key = 1; key <= 4; key++)
        at[key - 1] = add_record(3, key, texts[key - 1]);
    add_row(1, 0, -1); /* over its own row */
    add_row(7, 0, -1); /* over that of 2 */
    add_row(3, at[2], body_of("cccc"));
    add_row(4, at[3], body_of("dddd"));
    lay_out("{\"bytesOffset\": 5}");
    for (int opened = 0; opened < 2; opened++) {
        free(open_noting());
        assert_int_not_equal(code_of(1), 0);
        assert_true(has(2, "bbbb") && has(3, "cccc") && has(4, "dddd"));
        close_volume();
    }
}

/* ---- counters ---- */

/* Spec 16.1: B file bytes, X and C bytes and number of the deleted, S the length of the .dat. */
static void the_garbage_ratio_has_three_cases(void **state)
{
    begin_image(3, 0);
    lay_out("{\"bytesOffset\": 5}");
    open_whole();
    assert_true(stat_of().garbage_ratio == 0); /* B is 0 */
    assert_int_equal(put(1, "one"), 0);
    assert_true(stat_of().garbage_ratio == 0); /* X and C are 0 */
    assert_int_equal(put(2, "twotwo"), 0);
    assert_int_equal(delete(2), 0);
    struct volume_stat stat = stat_of();
    assert_true(stat.garbage_ratio == (double)body_of("twotwo") / (body_of("one") + body_of("twotwo")));
    close_volume();

    /* Deletes without bytes: rows of keys that the log does not know. */
    begin_image(3, 0);
    uint64_t one = add_record(3, 1, "one"), two = add_record(3, 2, "");
    add_row(1, one, body_of("one"));
    add_row(2, two, -1);
    lay_out("{\"bytesOffset\": 5}");
    open_whole();
    stat = stat_of();
    assert_int_equal(stat.deletion_count, 1);
    assert_int_equal(stat.deletion_bytes, 0);
    double size = (double)image_size;
    assert_true(stat.garbage_ratio == (size - body_of("one") - 8) / size);
}

/* An empty blob is read without a look at the disk: whose cookie, TTL and sum it has does not matter. */
static void an_empty_blob_needs_no_record(void **state)
{
    begin_image(3, 0);
    uint64_t empty = add_record(3, 4, "");
    add_record(3, 5, "behind it");
    add_row(4, empty, 0);
    add_row(5, empty + 32, body_of("behind it"));
    lay_out("{\"bytesOffset\": 5}");
    open_whole();
    struct volume_read read;
    assert_int_equal(volume_read_begin(volume, 4, false, &read, NULL), 0);
    assert_int_equal(read.record_size, 0);
    assert_int_equal(read.body_size, 0);
    volume_read_end(&read);
    vacuum();
    assert_true(has(4, "") && has(5, "behind it"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(every_version_goes_through_a_whole_life),
        T(large_blobs_are_streamed_in_every_version),
        T(an_extra_part_of_the_super_block_is_passed_over),
        T(marks_and_placement_of_the_info_are_taken_over),
        T(each_save_tells_the_end_and_the_marks),
        T(the_last_row_of_a_key_wins),
        T(a_row_without_a_record_deletes),
        T(rows_lost_under_deletes_at_the_head_are_made_again),
        T(deletes_at_the_head_hold),
        T(the_garbage_ratio_has_three_cases),
        T(an_empty_blob_needs_no_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
