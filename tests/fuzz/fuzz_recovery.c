/* A start in a folder where a vacuum may have been cut off, and a recovery that is cut off itself.
 *
 * The input: which files are there (two bytes, bit by bit as in `names`), the call at which a first recovery
 * ends (0: none does), then the contents of .dat, .idx, .cpd, .cpx, each after its length (two bytes); the
 * rest of the files share what is left. Whatever is there, recovery comes to its end, twice the same as
 * once, and what it leaves is what the marker says: the new files with it, the old ones without. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/vacuum_recover.h"
#include "volume/storage/volume_vacuum.h"

static const char *const names[] = {
    "/d/1.dat", "/d/1.idx", "/i/1.idx",   "/d/1.cpd", "/d/1.cpx", "/i/1.cpx", "/d/1.cpc",
    "/d/1.vif", "/d/1.sdx", "/i/1.sdx",   "/d/1.ldb", "/d/1.rdb", "/i/1.kix", "/d/1.cpldb",
    "/i/1.ldb", "/d/1.note",
};
enum { DAT, IDX_D, IDX_I, CPD, CPX_D, CPX_I, CPC, NAMES = sizeof(names) / sizeof(names[0]) };

struct files {
    unsigned there;
    struct slice dat, idx, cpd, cpx, rest;
};

static bool is_there(const struct files *files, unsigned name) { return files->there >> name & 1; }

static struct slice take_sized(struct slice *input)
{
    size_t size = fuzz_take_byte(input);
    size = size << 8 | fuzz_take_byte(input);
    return fuzz_take(input, size);
}

static struct slice content_of(const struct files *files, unsigned name)
{
    switch (name) {
    case DAT:
        return files->dat;
    case IDX_D:
    case IDX_I:
        return files->idx;
    case CPD:
        return files->cpd;
    case CPX_D:
    case CPX_I:
        return files->cpx;
    default:
        return files->rest;
    }
}

static void write_files(struct os *os, const struct files *files)
{
    CHECK(os_mkdir(os, "/d", 0755) == 0);
    CHECK(os_mkdir(os, "/i", 0755) == 0);
    for (unsigned i = 0; i < NAMES; i++)
        if (is_there(files, i)) {
            struct slice content = content_of(files, i);
            fixture_write_file(os, names[i], content.ptr, content.len);
        }
}

static bool holds(struct os *os, unsigned name, struct slice content)
{
    size_t size;
    char *data = fixture_read_file(os, names[name], &size);
    bool is_same = data && slice_equals(slice_of(data, size), content);
    free(data);
    return is_same;
}

static bool is_absent(struct os *os, unsigned name)
{
    struct os_stat st;
    return os_stat(os, names[name], &st) < 0;
}

/* The .idx that counts: one beside the .dat comes first. */
static unsigned index_of(struct os *os) { return is_absent(os, IDX_D) ? IDX_I : IDX_D; }

static void check_outcome(struct os *os, const struct files *files)
{
    bool is_decided = is_there(files, CPC);
    for (unsigned name = CPD; name <= CPC; name++)
        CHECK(is_absent(os, name));
    if (is_decided && is_there(files, CPD))
        CHECK(holds(os, DAT, files->cpd));
    else
        CHECK(is_there(files, DAT) ? holds(os, DAT, files->dat) : is_absent(os, DAT));
    if (is_decided && (is_there(files, CPX_D) || is_there(files, CPX_I)))
        CHECK(holds(os, index_of(os), files->cpx));
    else
        for (unsigned name = IDX_D; name <= IDX_I; name++)
            CHECK(is_there(files, name) ? holds(os, name, files->idx) : is_absent(os, name));
}

static void open_what_is_left(struct os *os)
{
    struct volume_place place = {.os = os, .data_dir = "/d", .index_dir = "/i", .collection = "",
                                 .id = 1};
    struct volume *volume = NULL;
    char *note = NULL;
    if (volume_open(&volume, &place, &note, NULL) == 0)
        for (uint64_t key = 0; key < 8; key++) {
            struct needle needle;
            void *buf = NULL;
            fixture_get(volume, key, &needle, &buf);
            free(buf);
        }
    free(note);
    volume_close(volume);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    struct files files = {.there = fuzz_take_byte(&input)};
    files.there = files.there << 8 | fuzz_take_byte(&input);
    unsigned stop_at = fuzz_take_byte(&input);
    files.dat = take_sized(&input);
    files.idx = take_sized(&input);
    files.cpd = take_sized(&input);
    files.cpx = take_sized(&input);
    files.rest = input;
    struct disk_os *disk;
    struct fault_os *fault;
    disk_os_create(&disk, 1 << 22);
    fault_os_create(&fault, disk_os_get(disk));
    struct os *os = fault_os_get(fault);
    write_files(os, &files);

    fault_os_clear(fault);
    if (stop_at > 0) {
        fault_os_stop(fault, FAULT_CHANGE, stop_at, stop_at % 2 ? FAULT_STOP_BEFORE : FAULT_STOP_AFTER);
        vacuum_recover_directory(os, "/d", "/i", NULL);
        fault_os_clear(fault);
    }
    CHECK(vacuum_recover_directory(os, "/d", "/i", NULL) == 0);
    check_outcome(os, &files);
    fault_os_clear(fault);
    CHECK(vacuum_recover_directory(os, "/d", "/i", NULL) == 0);
    CHECK(fault_os_count(fault, FAULT_CHANGE) == 0);
    open_what_is_left(os);
    fault_os_destroy(fault);
    disk_os_destroy(disk);
    return 0;
}
