/* Names of files in a directory that a start looks through: one a line, each a small file. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/vacuum_recover.h"
#include "volume/storage/format/volume_files.h"

#define NAMES_MAX 32u

static void check_name(struct slice name)
{
    struct slice collection;
    uint32_t id;
    if (!volume_name_parse(name, &collection, &id))
        return;
    CHECK(collection.len < name.len);
    CHECK(collection.len == 0 || slice_starts(name, collection));
}

static int check_found(void *ctx, const char *collection, uint32_t id, enum volume_found what)
{
    struct os *os = ctx;
    struct volume_files files;
    CHECK(what <= VOLUME_FOUND_NO_DATA);
    CHECK(volume_files_init(&files, os, "/d", NULL, collection, id, NULL) == 0);
    int code = vacuum_recover_volume(os, &files, NULL);
    volume_files_fini(&files);
    CHECK(code == 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    struct disk_os *disk;
    disk_os_create(&disk, 1 << 20);
    struct os *os = disk_os_get(disk);
    CHECK(os_mkdir(os, "/d", 0755) >= 0);
    for (unsigned i = 0; i < NAMES_MAX && input.len > 0; i++) {
        struct slice name = fuzz_take_until(&input, '\n');
        char path[256];
        check_name(name);
        if (name.len == 0 || name.len > 200 || memchr(name.ptr, '/', name.len) ||
            memchr(name.ptr, 0, name.len) || slice_equals(name, SLICE(".")) ||
            slice_equals(name, SLICE("..")))
            continue;
        snprintf(path, sizeof(path), "/d/%.*s", (int)name.len, name.ptr);
        fixture_write_file(os, path, "{}", 2);
    }
    CHECK(volume_files_discover(os, "/d", NULL, check_found, os, NULL) == 0);
    disk_os_destroy(disk);
    return 0;
}
