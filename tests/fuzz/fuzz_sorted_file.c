/* A .sdx file that may be anything, beside an index that is right: it is believed only where it says the
 * same. The input: the width of its rows, how many changes made the index, the changes (a key and a kind,
 * one byte each), the file. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/index/needle_index_sorted.h"

#define KEYS 16u

static struct needle_index *make_source(struct slice *input)
{
    struct needle_index *index;
    struct needle_index_config config = {.volume_id = 1, .version = 3};
    CHECK(needle_index_memory_create(&index, &config, NULL) == 0);
    uint64_t offset = 8;
    for (unsigned left = fuzz_take_byte(input) % 64; left > 0; left--) {
        struct needle_entry entry = {.key = fuzz_take_byte(input) % KEYS, .offset = offset};
        unsigned kind = fuzz_take_byte(input);
        entry.size = (int32_t)(kind / 2);
        if (kind % 4 == 0)
            CHECK(needle_index_delete(index, entry.key, NEEDLE_INDEX_LOAD, NULL) == 0);
        else
            CHECK(needle_index_put(index, &entry, NEEDLE_INDEX_LOAD, NULL) == 0);
        offset += needle_record_size(3, entry.size);
    }
    return index;
}

static bool find(struct needle_index *index, uint64_t key, struct needle_entry *ret)
{
    int code = needle_index_get(index, key, ret, NULL);
    CHECK(code == 0 || code == KELP_E_NOT_FOUND);
    return code == 0 && ret->size >= 0;
}

static void check_same(struct needle_index *sorted, struct needle_index *source)
{
    struct needle_index_stat a, b;
    for (uint64_t key = 0; key < KEYS; key++) {
        struct needle_entry found, wanted;
        bool is_wanted = find(source, key, &wanted);
        CHECK(find(sorted, key, &found) == is_wanted);
        CHECK(!is_wanted || (found.offset == wanted.offset && found.size == wanted.size));
    }
    needle_index_stat(sorted, &a);
    needle_index_stat(source, &b);
    CHECK(a.live_count == b.live_count && a.live_record_bytes == b.live_record_bytes);
}

/* What is deleted stays so in the file. */
static void check_delete(const struct needle_index_sorted_config *config, struct needle_index *sorted,
                         struct needle_index *source)
{
    CHECK(needle_index_delete(sorted, 3, NEEDLE_INDEX_RUNTIME, NULL) == 0);
    CHECK(needle_index_delete(source, 3, NEEDLE_INDEX_RUNTIME, NULL) == 0);
    check_same(sorted, source);
    struct needle_index *again = NULL;
    CHECK(needle_index_sorted_open(&again, config, source, NULL) == 0);
    check_same(again, source);
    needle_index_destroy(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    struct disk_os *disk;
    struct needle_index *sorted = NULL;
    disk_os_create(&disk, 1 << 22);
    struct needle_index_sorted_config config = {
        .os = disk_os_get(disk),
        .path = "/d/1.sdx",
        .offset_bytes = fuzz_take_byte(&input) & 1 ? 5 : 4,
        .version = 3,
    };
    struct needle_index *source = make_source(&input);
    CHECK(os_mkdir(config.os, "/d", 0755) == 0);
    fixture_write_file(config.os, config.path, input.ptr, input.len);
    CHECK(needle_index_sorted_open(&sorted, &config, source, NULL) == 0);
    check_same(sorted, source);
    check_delete(&config, sorted, source);
    needle_index_destroy(sorted);
    needle_index_destroy(source);
    disk_os_destroy(disk);
    return 0;
}
