/* Recovery over every set of names, in one directory and in two, cut off at every call. */
#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "volume/storage/vacuum_recover.h"
#include "volume/storage/volume_vacuum.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { DAT = 1, IDX = 2, CPD = 4, CPX = 8, CPC = 16, LDB = 32, CPLDB = 64, SETS = 128 };

static struct disk_os *disk;
static struct os *os;

static int setup(void **state)
{
    disk_os_create(&disk, 1 << 20);
    os = disk_os_get(disk);
    assert_int_equal(os_mkdir(os, "/d", 0755), 0);
    assert_int_equal(os_mkdir(os, "/i", 0755), 0);
    return 0;
}

static int teardown(void **state)
{
    disk_os_destroy(disk);
    return 0;
}

static void write_file(struct os *on, const char *path, const char *text)
{
    int fd = os_open(on, path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    assert_true(fd >= 0);
    struct iovec iov = {(char *)text, strlen(text)};
    assert_int_equal(os_pwritev(on, fd, &iov, 1, 0), strlen(text));
    assert_int_equal(os_fsync(on, fd), 0);
    os_close(on, fd);
}

/* The file's text, "" when it is not there. */
static const char *text_of(struct os *on, const char *directory, const char *name)
{
    static char texts[8][32];
    static unsigned turn;
    char *text = texts[turn++ % 8], path[64];
    memset(text, 0, sizeof(texts[0]));
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    int fd = os_open(on, path, O_RDONLY, 0);
    if (fd >= 0) {
        assert_true(os_pread(on, fd, text, 31, 0) >= 0);
        os_close(on, fd);
    }
    return text;
}

static void remove_all(struct os *on)
{
    static const char *const paths[] = {"/d/1.dat", "/d/1.cpd", "/d/1.cpc", "/d/1.idx",
                                        "/i/1.idx", "/d/1.cpx", "/i/1.cpx", "/i/1.ldb",
                                        "/d/1.ldb", "/i/1.cpldb", "/d/1.cpldb"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        assert_int_equal(volume_file_remove(on, paths[i], NULL), 0);
}

static void populate(struct os *on, unsigned set, const char *index_dir)
{
    char path[64];
    remove_all(on);
#define PUT(bit, directory, name, text)                                                            \
    if (set & (bit)) {                                                                             \
        snprintf(path, sizeof(path), "%s/%s", directory, name);                                    \
        write_file(on, path, text);                                                                \
    }
    PUT(DAT, "/d", "1.dat", "old dat");
    PUT(IDX, index_dir, "1.idx", "old idx");
    PUT(CPD, "/d", "1.cpd", "new dat");
    PUT(CPX, index_dir, "1.cpx", "new idx");
    PUT(CPC, "/d", "1.cpc", "");
    const char *directories[] = {"ldb", "cpldb"};
    for (int i = 0; i < 2; i++) {
        if (!(set & (i ? CPLDB : LDB)))
            continue;
        snprintf(path, sizeof(path), "%s/1.%s", index_dir, directories[i]);
        assert_int_equal(os_mkdir(on, path, 0755), 0);
        strcat(path, "/LOG");
        write_file(on, path, "log");
    }
    for (int i = 0; i < 2; i++) {
        int fd = os_open(on, i ? "/i" : "/d", O_RDONLY | O_DIRECTORY, 0);
        os_fsync(on, fd);
        os_close(on, fd);
    }
}

static void check_result(struct os *on, unsigned set, const char *index_dir)
{
    char path[64];
    bool is_forward = set & CPC;
    const char *dat = is_forward && (set & CPD) ? "new dat" : set & DAT ? "old dat" : "";
    const char *idx = is_forward && (set & CPX) ? "new idx" : set & IDX ? "old idx" : "";
    assert_string_equal(text_of(on, "/d", "1.dat"), dat);
    assert_string_equal(text_of(on, index_dir, "1.idx"), idx);
    assert_false(volume_file_exists(on, "/d/1.cpd"));
    assert_false(volume_file_exists(on, "/d/1.cpc"));
    snprintf(path, sizeof(path), "%s/1.cpx", index_dir);
    assert_false(volume_file_exists(on, path));
    snprintf(path, sizeof(path), "%s/1.cpldb", index_dir);
    assert_false(volume_file_exists(on, path));
    snprintf(path, sizeof(path), "%s/1.ldb", index_dir);
    assert_int_equal(volume_file_exists(on, path), (set & LDB) && !(set & (CPC | CPD | CPX)));
}

static void recover_set(unsigned set, const char *index_dir)
{
    struct error err;
    populate(os, set, index_dir);
    assert_int_equal(vacuum_recover_directory(os, "/d", index_dir, &err), 0);
    check_result(os, set, index_dir);
    struct fault_os *counting;
    fault_os_create(&counting, os);
    assert_int_equal(vacuum_recover_directory(fault_os_get(counting), "/d", index_dir, &err), 0);
    assert_int_equal(fault_os_count(counting, FAULT_CHANGE), 0);
    fault_os_destroy(counting);
}

static void every_set_of_names_ends_old_or_new(void **state)
{
    for (unsigned set = 0; set < SETS; set++)
        recover_set(set, "/d");
}

static void every_set_of_names_in_two_directories_ends_old_or_new(void **state)
{
    for (unsigned set = 0; set < SETS; set++)
        recover_set(set, "/i");
}

static void cut_off_at_any_call_goes_on_where_it_was(void **state)
{
    for (unsigned set = 0; set < SETS; set++) {
        for (uint64_t n = 1;; n++) {
            struct fault_os *fault;
            populate(os, set, "/i");
            fault_os_create(&fault, os);
            fault_os_stop(fault, FAULT_CHANGE, n, n % 2 ? FAULT_STOP_BEFORE : FAULT_STOP_AFTER);
            vacuum_recover_directory(fault_os_get(fault), "/d", "/i", NULL);
            bool was_stopped = fault_os_is_stopped(fault);
            fault_os_destroy(fault);
            struct disk_os *after;
            disk_os_clone(disk, &after);
            disk_os_lose_power(after, (enum disk_os_loss)(n % DISK_OS_LOSSES), set * 1000 + n);
            struct os *there = disk_os_get(after);
            struct error err;
            assert_int_equal(vacuum_recover_directory(there, "/d", "/i", &err), 0);
            /* The .ldb may be gone before the names that explain it: it can always be made again.
             * */
            if ((set & LDB) && !volume_file_exists(there, "/i/1.ldb"))
                check_result(there, (set & ~(unsigned)LDB), "/i");
            else
                check_result(there, set, "/i");
            disk_os_destroy(after);
            if (!was_stopped)
                break;
        }
    }
}

/* A process that was killed leaves a marker that no sync has covered. */
static void decide_without_a_sync(const char *index_dir)
{
    populate(os, DAT | IDX | CPD | CPX, index_dir);
    int fd = os_open(os, "/d/1.cpc", O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    os_close(os, fd);
}

static bool was_cut_off_whole(const char *index_dir, uint64_t n, enum disk_os_loss loss,
                              uint64_t seed)
{
    struct fault_os *fault;
    struct disk_os *after;
    struct error err;
    decide_without_a_sync(index_dir);
    fault_os_create(&fault, os);
    fault_os_stop(fault, FAULT_CHANGE, n, n % 2 ? FAULT_STOP_BEFORE : FAULT_STOP_AFTER);
    vacuum_recover_directory(fault_os_get(fault), "/d", index_dir, NULL);
    bool was_stopped = fault_os_is_stopped(fault);
    fault_os_destroy(fault);
    disk_os_clone(disk, &after);
    disk_os_lose_power(after, loss, seed);
    struct os *there = disk_os_get(after);
    assert_int_equal(vacuum_recover_directory(there, "/d", index_dir, &err), 0);
    bool is_new = strcmp(text_of(there, "/d", "1.dat"), "new dat") == 0;
    assert_string_equal(text_of(there, "/d", "1.dat"), is_new ? "new dat" : "old dat");
    assert_string_equal(text_of(there, index_dir, "1.idx"), is_new ? "new idx" : "old idx");
    assert_true(was_stopped || is_new);
    disk_os_destroy(after);
    return !was_stopped;
}

static void decision_that_was_never_synced_is_kept_whole_or_not_at_all(void **state)
{
    for (unsigned loss = 0; loss < DISK_OS_LOSSES; loss++)
        for (uint64_t seed = 0; seed < 8; seed++)
            for (unsigned is_split = 0; is_split < 2; is_split++)
                for (uint64_t n = 1; !was_cut_off_whole(is_split ? "/i" : "/d", n,
                                                        (enum disk_os_loss)loss, seed + 100 * n);
                     n++)
                    ;
}

static void index_in_the_data_directory_is_replaced_by_one_beside(void **state)
{
    struct error err;
    populate(os, DAT | CPD | CPX | CPC, "/i");
    write_file(os, "/d/1.idx", "old idx");
    assert_int_equal(vacuum_recover_directory(os, "/d", "/i", &err), 0);
    assert_string_equal(text_of(os, "/i", "1.idx"), "new idx");
    assert_false(volume_file_exists(os, "/d/1.idx"));
}

static void compacted_index_in_the_data_directory_is_found(void **state)
{
    struct error err;
    populate(os, DAT | IDX | CPD | CPX | CPC, "/d");
    assert_int_equal(vacuum_recover_directory(os, "/d", "/i", &err), 0);
    check_result(os, DAT | IDX | CPD | CPX | CPC, "/d");
    populate(os, DAT | IDX | CPD | CPX, "/d");
    assert_int_equal(vacuum_recover_directory(os, "/d", "/i", &err), 0);
    check_result(os, DAT | IDX | CPD | CPX, "/d");
}

static void one_volume_that_fails_leaves_the_others_recovered(void **state)
{
    struct error err;
    struct fault_os *fault;
    write_file(os, "/d/1.cpd", "new dat");
    write_file(os, "/d/photos_2026_2.cpd", "new dat");
    write_file(os, "/d/3.cpd", "new dat");
    fault_os_create(&fault, os);
    fault_os_fail(fault, FAULT_UNLINK, 1, EIO, true);
    fault_os_only(fault, "photos_2026_2.cpd");
    assert_int_equal(vacuum_recover_directory(fault_os_get(fault), "/d", "/d", &err), KELP_E_IO);
    assert_non_null(strstr(err.message, "photos_2026_2.cpd"));
    assert_false(volume_file_exists(os, "/d/1.cpd"));
    assert_true(volume_file_exists(os, "/d/photos_2026_2.cpd"));
    assert_false(volume_file_exists(os, "/d/3.cpd"));
    fault_os_destroy(fault);
}

static void names_of_no_volume_are_left_alone(void **state)
{
    struct error err;
    write_file(os, "/d/notes.cpd", "mine");
    write_file(os, "/d/_7.cpc", "mine");
    assert_int_equal(vacuum_recover_directory(os, "/d", NULL, &err), 0);
    assert_string_equal(text_of(os, "/d", "notes.cpd"), "mine");
    assert_string_equal(text_of(os, "/d", "_7.cpc"), "mine");
}

static void missing_directory_is_reported(void **state)
{
    struct error err;
    assert_int_equal(vacuum_recover_directory(os, "/nowhere", NULL, &err), KELP_E_NOT_FOUND);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(every_set_of_names_ends_old_or_new),
        CASE(every_set_of_names_in_two_directories_ends_old_or_new),
        CASE(cut_off_at_any_call_goes_on_where_it_was),
        CASE(decision_that_was_never_synced_is_kept_whole_or_not_at_all),
        CASE(index_in_the_data_directory_is_replaced_by_one_beside),
        CASE(compacted_index_in_the_data_directory_is_found),
        CASE(one_volume_that_fails_leaves_the_others_recovered),
        CASE(names_of_no_volume_are_left_alone),
        CASE(missing_directory_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
