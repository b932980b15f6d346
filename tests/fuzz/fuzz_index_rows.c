/* An .idx file: the width of its rows, then the rows, as they are, on a disk in memory. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/format/index_file.h"
#include "volume/storage/format/index_width.h"

struct walk {
    uint8_t offset_bytes;
    const uint8_t *rows;
    uint64_t next;
};

static int check_row(void *ctx, const struct needle_entry *entry, uint64_t position)
{
    struct walk *walk = ctx;
    uint8_t row[INDEX_ROW_MAX];
    CHECK(position == walk->next);
    index_row_store(row, entry, walk->offset_bytes);
    CHECK(memcmp(row, walk->rows + position, index_row_size(walk->offset_bytes)) == 0);
    CHECK(entry->offset < index_row_limit(walk->offset_bytes));
    CHECK(!(index_row_is_put(entry) && index_row_is_gap(entry)));
    walk->next += index_row_size(walk->offset_bytes);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t input_size)
{
    struct slice input = slice_of(bytes, input_size);
    struct walk walk = {.offset_bytes = fuzz_take_byte(&input) & 1 ? 5 : 4};
    walk.rows = (const uint8_t *)input.ptr;
    struct disk_os *disk;
    disk_os_create(&disk, 1 << 20);
    struct os *os = disk_os_get(disk);
    CHECK(os_mkdir(os, "/d", 0755) >= 0);
    fixture_write_file(os, "/d/1.idx", input.ptr, input.len);

    struct index_file file;
    CHECK(index_file_open(&file, os, "/d/1.idx", O_RDWR, walk.offset_bytes, NULL) == 0);
    size_t row_size = index_row_size(walk.offset_bytes);
    CHECK(index_file_end(&file) == input.len / row_size * row_size);
    CHECK(index_file_walk(&file, 0, UINT64_MAX, check_row, &walk, NULL) == 0);
    CHECK(walk.next == index_file_end(&file));
    index_file_close(&file);
    uint8_t width = index_width_guess(os, "/d/1.idx", input.len * 8);
    CHECK(width == 4 || width == 5);
    disk_os_destroy(disk);
    return 0;
}
