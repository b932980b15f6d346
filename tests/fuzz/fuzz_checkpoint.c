/* A checkpoint of any bytes. The input: a byte that says what is made right again (checksums, so that what
 * lies behind them is reached), and the file. Whatever is in it, the load ends, and the index that it
 * comes to can be asked, walked and written to. */
#include "tests/fuzz/fuzz.h"

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index_checkpoint.h"

#include <stdlib.h>
#include <xxhash.h>

#define HEADS_AT  264u
#define HEAD_SIZE 40u

/* Checksums of the mark, the leaves, the heads and the whole, from the inside out. */
static void mend(uint8_t *bytes, size_t size)
{
    if (size < HEADS_AT)
        return;
    memcpy(bytes, "kelpkix1", 8);
    memcpy(bytes + 16, "kelpmrk1", 8);
    size_t leaves = load_le32(bytes + 8) % ((size - HEADS_AT) / HEAD_SIZE + 1);
    store_le32(bytes + 8, (uint32_t)leaves);
    size_t at = HEADS_AT + leaves * HEAD_SIZE;
    for (size_t i = 0; i < leaves; i++) {
        uint8_t *head = bytes + HEADS_AT + i * HEAD_SIZE;
        uint32_t length = load_le32(head + 4) % (uint32_t)(size - at + 1);
        if (i + 1 == leaves)
            length = (uint32_t)(size - at);
        store_le32(head + 4, length);
        store_le64(head + 32, XXH3_64bits(bytes + at, length));
        at += length;
    }
    store_le64(bytes + 16 + 224, XXH3_64bits(bytes + 16, 224));
    store_le64(bytes + 248, XXH3_64bits(bytes + HEADS_AT, leaves * HEAD_SIZE));
    store_le64(bytes + 256, XXH3_64bits(bytes, 256));
}

/* The mark is made to hold for a volume without rows. */
static void fit_mark(uint8_t *bytes, size_t size)
{
    if (size < HEADS_AT)
        return;
    store_le32(bytes + 16 + 8, 1);
    store_le16(bytes + 16 + 12, 0);
    bytes[16 + 14] = 3;
    bytes[16 + 15] = 5;
    store_le64(bytes + 16 + 16, 8);
    memset(bytes + 16 + 48, 0, 96);
    store_le64(bytes + 16 + 48 + 48, 8); /* where the first record begins */
}

static void use(struct needle_index *index)
{
    for (int order = 0; order < 2; order++) {
        struct needle_cursor *cursor;
        const struct needle_entry *entries;
        size_t count;
        CHECK(needle_cursor_open(index, order ? NEEDLE_INDEX_BY_KEY : NEEDLE_INDEX_BY_OFFSET, UINT64_MAX,
                                 &cursor, NULL) == 0);
        while (needle_cursor_next(cursor, &entries, &count, NULL) == 0 && count > 0)
            for (size_t i = 0; i < count; i += 7) {
                struct needle_entry entry;
                needle_index_get(index, entries[i].key, &entry, NULL);
            }
        needle_cursor_close(cursor);
    }
    for (uint64_t key = 0; key < 300; key++) {
        struct needle_entry entry = {key * 0x0123456789abcdefu, 8 + key * 8, 5};
        CHECK(needle_index_put(index, &entry, NEEDLE_INDEX_LOAD, NULL) == 0);
        CHECK(needle_index_get(index, entry.key, &entry, NULL) == 0 && entry.size == 5);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = slice_of(data, size);
    uint8_t what = fuzz_take_byte(&input);
    uint8_t *bytes = must(malloc(input.len + 1));
    memcpy(bytes, input.ptr, input.len);
    if (what & 1)
        fit_mark(bytes, input.len);
    if (what & 2)
        mend(bytes, input.len);
    struct disk_os *disk;
    disk_os_create(&disk, 4 << 20);
    struct os *os = disk_os_get(disk);
    CHECK(os_mkdir(os, "/d", 0755) >= 0);
    struct super_block super_block = {.version = 3};
    struct volume_generation_owner owner = {.volume_id = 1};
    struct volume_generation *generation;
    CHECK(volume_generation_create(&generation, os, &owner, "/d/1.dat", "/d/1.idx", &super_block, 5, 0,
                                   NULL) == 0);
    fixture_write_file(os, "/d/1.kix", bytes, input.len);
    struct needle_index *index = NULL;
    struct index_mark mark;
    struct error err;
    int code = index_checkpoint_read(generation, UINT64_MAX, &index, &mark, &err);
    CHECK((code == 0) == (index != NULL));
    if (index)
        use(index);
    needle_index_destroy(index);
    volume_generation_unref(generation);
    disk_os_destroy(disk);
    free(bytes);
    return 0;
}
