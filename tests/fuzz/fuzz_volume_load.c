/* A start on whatever lies in .dat and .idx. The input: the size of the .idx (two bytes), the .idx,
 * the .dat. A volume that opens must give every live needle or an error, must take a write when it
 * is not read-only, and must open again with the same needles. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/volume_files.h"

static struct volume *open_volume(struct os *os)
{
    struct volume_place place = {.os = os, .data_dir = "/d", .collection = "", .id = 1};
    struct volume *volume = NULL;
    char *note = NULL;
    struct error err;
    int code = volume_open(&volume, &place, &note, &err);
    CHECK((code == 0) == (volume != NULL));
    free(note);
    return volume;
}

static void read_some(struct volume *volume)
{
    for (uint64_t key = 0; key < 16; key++) {
        struct needle needle;
        void *buf = NULL;
        fixture_get(volume, key, &needle, &buf);
        free(buf);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    size_t idx_size = fuzz_take_byte(&input);
    idx_size = idx_size << 8 | fuzz_take_byte(&input);
    struct slice idx = fuzz_take(&input, idx_size);
    struct disk_os *disk;
    disk_os_create(&disk, 4 << 20);
    struct os *os = disk_os_get(disk);
    CHECK(os_mkdir(os, "/d", 0755) >= 0);
    fixture_write_file(os, "/d/1.dat", input.ptr, input.len);
    fixture_write_file(os, "/d/1.idx", idx.ptr, idx.len);

    struct volume *volume = open_volume(os);
    if (volume) {
        struct volume_stat stat, again;
        volume_stat(volume, &stat);
        read_some(volume);
        volume_close(volume);
        volume = open_volume(os);
        CHECK(volume);
        volume_stat(volume, &again);
        CHECK(again.live_count == stat.live_count && again.max_key >= stat.max_key);
        CHECK(again.dat_bytes == stat.dat_bytes);
        volume_close(volume);
    }
    disk_os_destroy(disk);
    return 0;
}
