/* The offline tools on whatever lies in .dat and .idx. The input: the size of the .idx (two bytes), the
 * .idx, the .dat. A check ends and says something; an index that was rebuilt fits its .dat, and rebuilding
 * it once more changes nothing; the other offset width and back is the same file. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index_convert.h"
#include "volume/storage/index_load.h"
#include "volume/storage/index_rebuild.h"
#include "volume/storage/format/index_width.h"
#include "volume/storage/volume_verify.h"

static struct os *os;

static struct volume_generation *open_generation(uint8_t width)
{
    struct volume_generation *generation = NULL;
    const struct volume_generation_owner owner = {.volume_id = 1};
    volume_generation_open(&generation, os, &owner, "/d/1.dat", "/d/1.idx", false, width, NULL);
    return generation;
}

static struct volume_verify_result verify(uint8_t width, bool has_index)
{
    const struct volume_verify_options options = {0};
    struct volume_verify_result result = {0};
    struct index_verdict verdict;
    struct volume_generation *generation = open_generation(width);
    CHECK(generation);
    if (has_index)
        CHECK(index_load(generation, &verdict, NULL) == 0);
    CHECK(volume_verify(generation, &options, &result, NULL) == 0);
    volume_generation_unref(generation);
    return result;
}

static bool rebuild(uint8_t width)
{
    const struct index_rebuild_options options = {0};
    struct index_rebuild_result result;
    struct volume_generation *generation = open_generation(width);
    CHECK(generation);
    CHECK(index_rebuild(generation, "/d/1.idx.tmp", &options, &result, NULL) == 0);
    volume_generation_unref(generation);
    CHECK(os_rename(os, "/d/1.idx.tmp", "/d/1.idx") >= 0);
    return result.is_unchanged;
}

static int convert(uint8_t from, uint8_t to)
{
    struct volume_files files;
    struct volume_info info = {0};
    struct index_convert_result result;
    CHECK(volume_files_init(&files, os, "/d", NULL, "", 1, NULL) == 0);
    volume_info_file_load(os, "/d/1.vif", &info, NULL);
    int code = index_convert(&files, os, &info, from, to, true, &result, NULL);
    volume_info_fini(&info);
    volume_files_fini(&files);
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    size_t idx_size = fuzz_take_byte(&input);
    idx_size = idx_size << 8 | fuzz_take_byte(&input);
    struct slice idx = fuzz_take(&input, idx_size);
    struct disk_os *disk;
    disk_os_create(&disk, 4 << 20);
    os = disk_os_get(disk);
    CHECK(os_mkdir(os, "/d", 0755) >= 0);
    fixture_write_file(os, "/d/1.dat", input.ptr, input.len);
    fixture_write_file(os, "/d/1.idx", idx.ptr, idx.len);

    uint8_t width = index_width_guess(os, "/d/1.idx", input.len);
    struct volume_generation *generation = open_generation(width);
    if (generation) {
        volume_generation_unref(generation);
        verify(width, true);
        verify(width, false);
        rebuild(width);
        struct volume_verify_result result = verify(width, true);
        CHECK(result.problems[VOLUME_PROBLEM_ROW] == 0);
        CHECK(result.problems[VOLUME_PROBLEM_OVERLAP] == 0);
        CHECK(result.problems[VOLUME_PROBLEM_PARTIAL_ROW] == 0);
        CHECK(result.problems[VOLUME_PROBLEM_NO_ROW] == 0);
        CHECK(result.problems[VOLUME_PROBLEM_GAP] == 0);
        CHECK(rebuild(width));

        size_t before_size, after_size;
        uint8_t other = width == 4 ? 5 : 4;
        char *before = fixture_read_file(os, "/d/1.idx", &before_size);
        CHECK(convert(width, other) == 0);
        CHECK(verify(other, true).damage_count == result.damage_count);
        CHECK(convert(other, width) == 0);
        char *after = fixture_read_file(os, "/d/1.idx", &after_size);
        CHECK(before_size == after_size && memcmp(before, after, after_size) == 0);
        free(before);
        free(after);
    }
    disk_os_destroy(disk);
    return 0;
}
