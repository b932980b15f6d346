/* See the header. */
#include "tests/unit/storage/sample_volume.h"

#include "common/check.h"
#include "volume/storage/index_load.h"

#include <stdlib.h>
#include <string.h>

static size_t size_of(uint64_t key)
{
    if (key == SAMPLE_EMPTY)
        return 0;
    return key == SAMPLE_LARGE ? (1u << 20) + (1u << 18) + 5 : 1 + (size_t)(key * 37 % 300);
}

static void put(struct append_queue *queue, struct volume *volume, uint64_t key)
{
    size_t size = size_of(key);
    char *data = must(malloc(size + 1));
    fixture_fill(data, size, key);
    struct needle needle = fixture_needle(key, 7, data, size);
    CHECK(fixture_put(queue, volume, &needle, false).code == 0);
    free(data);
}

static void load_rows(struct sample *sample)
{
    size_t row_size = index_row_size(sample->offset_bytes);
    CHECK(sample->idx_size == SAMPLE_ROWS * row_size);
    for (size_t i = 0; i < SAMPLE_ROWS; i++)
        index_row_load((const uint8_t *)sample->idx + i * row_size, &sample->rows[i],
                       sample->offset_bytes);
}

void sample_create(struct sample *sample, uint8_t offset_bytes)
{
    struct append_queue *queue;
    struct volume *volume;
    *sample = (struct sample){.offset_bytes = offset_bytes};
    disk_os_create(&sample->disk, 64 << 20);
    fault_os_create(&sample->fault, disk_os_get(sample->disk));
    sample->os = fault_os_get(sample->fault);
    CHECK(os_mkdir(sample->os, "/d", 0755) == 0);
    CHECK(append_queue_create(&queue, "writer", NULL) == 0);
    const struct volume_options options = {.offset_bytes = offset_bytes};
    sample->place = (struct volume_place){
        .os = sample->os, .data_dir = "/d", .collection = "", .id = 1};
    CHECK(volume_create(&volume, &sample->place, &options, NULL) == 0);
    for (uint64_t key = 1; key <= SAMPLE_KEYS; key++) {
        if (key != SAMPLE_OVERWRITTEN) {
            put(queue, volume, key);
            continue;
        }
        struct needle first = fixture_needle(key, 7, "an earlier version", 18);
        CHECK(fixture_put(queue, volume, &first, false).code == 0);
    }
    put(queue, volume, SAMPLE_OVERWRITTEN);
    CHECK(fixture_delete(queue, volume, SAMPLE_DELETED, 7).code == 0);
    volume_close(volume);
    append_queue_destroy(queue);
    os_unlink(sample->os, "/d/1.kix");
    sample->dat = fixture_read_file(sample->os, "/d/1.dat", &sample->dat_size);
    sample->idx = fixture_read_file(sample->os, "/d/1.idx", &sample->idx_size);
    load_rows(sample);
}

void sample_destroy(struct sample *sample)
{
    fault_os_destroy(sample->fault);
    disk_os_destroy(sample->disk);
    free(sample->dat);
    free(sample->idx);
}

void sample_save(struct sample *sample)
{
    fixture_write_file(sample->os, "/d/1.dat", sample->dat, sample->dat_size);
    fixture_write_file(sample->os, "/d/1.idx", sample->idx, sample->idx_size);
}

void sample_save_rows(struct sample *sample, const struct needle_entry *rows, size_t count)
{
    size_t row_size = index_row_size(sample->offset_bytes);
    uint8_t *bytes = must(malloc(count * row_size + 1));
    for (size_t i = 0; i < count; i++)
        index_row_store(bytes + i * row_size, &rows[i], sample->offset_bytes);
    fixture_write_file(sample->os, "/d/1.idx", bytes, count * row_size);
    free(bytes);
}

struct volume_generation *sample_open(struct sample *sample, bool has_index)
{
    struct volume_generation *generation;
    struct index_verdict verdict;
    const struct volume_generation_owner owner = {.volume_id = 1};
    CHECK(volume_generation_open(&generation, sample->os, &owner, "/d/1.dat", "/d/1.idx", false,
                                 sample->offset_bytes, NULL) == 0);
    if (has_index)
        CHECK(index_load(generation, &verdict, NULL) == 0);
    return generation;
}

static void check_needle(struct volume *volume, uint64_t key)
{
    size_t size = size_of(key);
    char *data = must(malloc(size + 1));
    fixture_fill(data, size, key);
    CHECK(fixture_has(volume, key, data, size) == (key != SAMPLE_DELETED));
    free(data);
}

void sample_check_served(struct os *os)
{
    struct append_queue *queue;
    struct volume *volume;
    struct volume_stat stat;
    struct error err = {0};
    char *note = NULL;
    const struct volume_place place = {.os = os, .data_dir = "/d", .collection = "", .id = 1};
    int code = volume_open(&volume, &place, &note, &err);
    if (code != 0)
        fprintf(stderr, "%s\n", err.message);
    CHECK(code == 0);
    free(note);
    for (uint64_t key = 1; key <= SAMPLE_KEYS; key++)
        check_needle(volume, key);
    volume_stat(volume, &stat);
    CHECK(stat.read_only == 0);
    CHECK(append_queue_create(&queue, "writer", NULL) == 0);
    put(queue, volume, SAMPLE_KEYS + 1);
    check_needle(volume, SAMPLE_KEYS + 1);
    volume_close(volume);
    append_queue_destroy(queue);
}
