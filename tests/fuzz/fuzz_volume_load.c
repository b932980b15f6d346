/* A start on whatever lies in .dat and .idx. The input: the size of the .idx (two bytes), the .idx,
 * the .dat. A volume that opens must answer every look-up, must open again, and must come to rest:
 * what one start has repaired no later one repairs again. Two may be needed, as rows that are cut
 * at the end bring others to the end, which are then looked at more closely. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/volume_files.h"

#define STARTS_MAX 6u

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

    struct volume_stat before = {0};
    struct volume *volume = open_volume(os);
    for (unsigned starts = 1; volume; starts++) {
        struct volume_stat stat;
        volume_stat(volume, &stat);
        read_some(volume);
        volume_close(volume);
        if (starts > 1 && stat.live_count == before.live_count &&
            stat.dat_bytes == before.dat_bytes && stat.idx_bytes == before.idx_bytes)
            break;
        CHECK(starts < STARTS_MAX);
        before = stat;
        volume = open_volume(os);
        CHECK(volume);
    }
    disk_os_destroy(disk);
    return 0;
}
