/* A folder with volumes whose indexes are kept on disk, for the tests of that: short words, which fail the test
 * when something goes wrong. On the real file system, since LevelDB knows no other. */
#pragma once

#include "tests/fixtures/volume_fixture.h"
#include "volume/storage/index/index_store.h"

#define OK(expression) assert_int_equal((expression), 0)

enum { BLOB = 40, KEEP_ROWS = 256 };

struct place {
    char directory[64], database[80];
    struct index_store *store;
    char *note; /* of the last time the store was opened */
    struct volume *volume; /* of collection "c" */
    struct append_queue *queue;
    struct error err;
};

void place_begin(struct place *p);
void place_end(struct place *p);
void place_open_store(struct place *p);
struct volume_place place_volume(const struct place *p, uint32_t id);
void place_create(struct place *p, uint32_t id);
void place_open_volume(struct place *p, uint32_t id);
void place_close_volume(struct place *p);
/* Closes the volume, and the store, which is opened again. */
void place_reopen(struct place *p);
void place_put(struct place *p, uint64_t key);
void place_put_range(struct place *p, uint64_t from, uint64_t to);
void place_delete(struct place *p, uint64_t key);
bool place_has(struct place *p, uint64_t key);
void place_assert_range(struct place *p, uint64_t from, uint64_t to);
/* What is on disk at this moment, in another folder, as a process that is killed would leave it. */
void place_take_image(const struct place *p, struct place *ret);
/* Rows of volume 1 that a start reads again. */
uint64_t place_count_replayed(struct place *p, struct needle_index_stat *ret);
/* Of volume 1: whether what was kept counts as the .idx does. */
void place_assert_same_counters(struct place *p);
