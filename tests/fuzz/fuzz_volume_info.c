/* A .vif file. What is understood is understood in the same way after it was written again. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/volume_info_file.h"

static void check_round_trip(struct os *os, const struct volume_info *info)
{
    struct volume_info again;
    size_t first_size, second_size;
    CHECK(volume_info_file_save(os, "/d/2.vif", info, NULL) == 0);
    CHECK(volume_info_file_load(os, "/d/2.vif", &again, NULL) == 0);
    CHECK(again.file_count == info->file_count && again.has_ec == info->has_ec);
    CHECK(volume_info_file_save(os, "/d/3.vif", &again, NULL) == 0);
    char *first = fixture_read_file(os, "/d/2.vif", &first_size);
    char *second = fixture_read_file(os, "/d/3.vif", &second_size);
    CHECK(slice_equals(slice_of(first, first_size), slice_of(second, second_size)));
    free(first);
    free(second);
    volume_info_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct disk_os *disk;
    disk_os_create(&disk, 1 << 20);
    struct os *os = disk_os_get(disk);
    CHECK(os_mkdir(os, "/d", 0755) >= 0);
    fixture_write_file(os, "/d/1.vif", bytes, input_size);
    struct volume_info info;
    struct error err;
    if (volume_info_file_load(os, "/d/1.vif", &info, &err) == 0) {
        check_round_trip(os, &info);
        volume_info_fini(&info);
    }
    disk_os_destroy(disk);
    return 0;
}
