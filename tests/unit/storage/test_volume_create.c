/* Making a volume where something lies already: what is left of an earlier one is in nobody's way, what may
 * hold needles, or say where they are, is never touched. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct disk_os *disk;
static struct os *os;

static int setup(void **state)
{
    disk_os_create(&disk, 1 << 24);
    os = disk_os_get(disk);
    return os_mkdir(os, "/d", 0755) | os_mkdir(os, "/i", 0755);
}

static int teardown(void **state)
{
    disk_os_destroy(disk);
    return 0;
}

static int create(struct volume **ret, const char *index_dir, const char *ttl)
{
    struct volume_options options = {.offset_bytes = 5, .replica_placement = {0, 1, 0}};
    struct volume_place place = {os, "/d", index_dir, "", 1, NULL};
    assert_int_equal(ttl_parse(slice_cstr(ttl), &options.ttl, NULL), 0);
    return volume_create(ret, &place, &options, NULL);
}

static bool exists(const char *path)
{
    struct os_stat st;
    return os_stat(os, path, &st) >= 0;
}

static void fresh_files_are_the_test_vectors(void **state)
{
    static const struct {
        const char *ttl;
        uint8_t dat[8];
    } table[] = {
        {"", {3, 10, 0, 0, 0, 0, 0, 0}},
        {"3h", {3, 10, 3, 2, 0, 0, 0, 0}},
        {"120m", {3, 10, 2, 2, 0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct volume *volume;
        size_t size;
        assert_int_equal(create(&volume, NULL, table[i].ttl), 0);
        char *dat = fixture_read_file(os, "/d/1.dat", &size);
        assert_int_equal(size, 8);
        assert_memory_equal(dat, table[i].dat, 8);
        free(dat);
        free(fixture_read_file(os, "/d/1.idx", &size));
        assert_int_equal(size, 0);
        for (size_t file = 0; file < 3; file++) {
            static const char *const paths[] = {"/d/1.dat", "/d/1.idx", "/d/1.vif"};
            struct os_stat st;
            assert_int_equal(os_stat(os, paths[file], &st), 0);
            assert_int_equal(st.mode & 0777, 0644);
        }
        assert_int_equal(volume_delete_files(volume, NULL), 0);
    }
}

/* A name with its content, one after the other, NULL at the end. */
struct strays {
    const char *names_and_contents[7];
    const char *index_dir;
    int code;
};

#define LOCAL "{\"version\": 3, \"bytesOffset\": 5}"
#define TIER  "{\"version\": 3, \"files\": [{\"backendType\": \"s3\", \"backendId\": \"x\"}]}"
#define EC    "{\"version\": 3, \"ecShardConfig\": {\"dataShards\": 10, \"parityShards\": 4}}"

static const struct strays table[] = {
    {{"/d/1.vif", LOCAL}, NULL, 0},
    {{"/d/1.idx", "seventeen bytes ."}, NULL, 0},
    {{"/d/1.idx", "seventeen bytes .", "/d/1.vif", LOCAL}, NULL, 0},
    {{"/d/1.dat", ""}, NULL, 0},
    {{"/d/1.note", "copying"}, NULL, 0},
    {{"/d/1.cpd", "a copy", "/d/1.cpx", "its rows", "/d/1.cpc", ""}, NULL, 0},
    {{"/d/1.cpc", "", "/i/1.cpx", "rows", "/d/1.cpd", "data"}, "/i", 0},
    {{"/d/1.repair.log", "of another", "/d/1.kix", "of another"}, NULL, 0},
    {{"/d/1.dat", "twelve bytes"}, NULL, KELP_E_EXISTS},
    {{"/d/1.dat", "12345678", "/d/1.idx", "a row"}, NULL, KELP_E_EXISTS},
    {{"/d/1.vif", TIER}, NULL, KELP_E_EXISTS},
    {{"/d/1.vif", TIER, "/d/1.idx", "rows of it"}, NULL, KELP_E_EXISTS},
    {{"/d/1.vif", EC}, NULL, KELP_E_EXISTS},
    {{"/d/1.vif", "{\"what\": "}, NULL, KELP_E_EXISTS},
    {{"/d/1.ecx", ""}, NULL, KELP_E_EXISTS},
    /* The index directory is shared: these rows may be those of a volume on another disk. */
    {{"/i/1.idx", "a row"}, "/i", KELP_E_EXISTS},
    {{"/i/1.idx", ""}, "/i", 0},
};

static void what_is_left_of_another_is_in_nobodys_way(void **state)
{
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const char *const *stray = table[i].names_and_contents;
        teardown(NULL);
        setup(NULL);
        for (size_t n = 0; stray[n]; n += 2)
            fixture_write_file(os, stray[n], stray[n + 1], strlen(stray[n + 1]));
        struct volume *volume;
        int code = create(&volume, table[i].index_dir, "");
        if (code != table[i].code)
            fail_msg("case %zu, %s: %d", i, stray[0], code);
        if (code != 0) { /* and nothing is touched */
            for (size_t n = 0; stray[n]; n += 2) {
                char *now = fixture_read_file(os, stray[n], NULL);
                assert_string_equal(now, stray[n + 1]);
                free(now);
            }
            continue;
        }
        struct append_queue *queue;
        assert_int_equal(append_queue_create(&queue, "writer", NULL), 0);
        struct needle needle = fixture_needle(1, 2, "hello", 5);
        assert_int_equal(fixture_put(queue, volume, &needle, false).code, 0);
        volume_close(volume);
        append_queue_destroy(queue);

        struct volume_place place = {os, "/d", table[i].index_dir, "", 1, NULL};
        char *note = NULL;
        assert_false(exists("/d/1.note") || exists("/d/1.cpc") || exists("/d/1.cpd"));
        assert_false(exists("/d/1.repair.log"));
        assert_int_equal(volume_open(&volume, &place, &note, NULL), 0);
        if (note)
            fail_msg("case %zu: %s", i, note);
        assert_true(fixture_has(volume, 1, "hello", 5));
        volume_close(volume);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(fresh_files_are_the_test_vectors),
        T(what_is_left_of_another_is_in_nobodys_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
