/* See the header. */
#include "tests/unit/storage/index_place.h"

#include "volume/storage/index_load.h"
#include "volume/storage/format/volume_files.h"
#include "volume/storage/volume_generation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *folder(void) { return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"; }

static void make_folder(char ret[64])
{
    snprintf(ret, 64, "%s/kelp-store-XXXXXX", folder());
    assert_non_null(mkdtemp(ret));
}

static void remove_folder(const char *path)
{
    char database[80];
    snprintf(database, sizeof(database), "%s/kelp.ldb", path);
    OK(volume_file_remove(os_real(), database, NULL));
    OK(volume_file_remove(os_real(), path, NULL));
}

void place_open_store(struct place *p)
{
    snprintf(p->database, sizeof(p->database), "%s/kelp.ldb", p->directory);
    free(p->note);
    if (index_store_open(&p->store, os_real(), p->database, INDEX_STORE_SMALL, &p->note, &p->err) != 0)
        fail_msg("%s", p->err.message);
}

struct volume_place place_volume(const struct place *p, uint32_t id)
{
    return (struct volume_place){.os = os_real(), .data_dir = p->directory, .collection = "c",
                                 .id = id, .index_store = p->store};
}

void place_begin(struct place *p)
{
    *p = (struct place){0};
    make_folder(p->directory);
    place_open_store(p);
    OK(append_queue_create(&p->queue, "test", &p->err));
}

void place_create(struct place *p, uint32_t id)
{
    struct volume_place place = place_volume(p, id);
    OK(volume_create(&p->volume, &place, &(struct volume_options){.offset_bytes = 5}, &p->err));
}

void place_open_volume(struct place *p, uint32_t id)
{
    struct volume_place place = place_volume(p, id);
    if (volume_open(&p->volume, &place, NULL, &p->err) != 0)
        fail_msg("%s", p->err.message);
}

void place_close_volume(struct place *p)
{
    volume_close(p->volume);
    p->volume = NULL;
}

void place_end(struct place *p)
{
    volume_close(p->volume);
    append_queue_destroy(p->queue);
    index_store_close(p->store);
    remove_folder(p->directory);
    free(p->note);
}

void place_put(struct place *p, uint64_t key)
{
    uint8_t data[BLOB];
    fixture_fill(data, sizeof(data), key);
    struct needle needle = fixture_needle(key, 7, data, sizeof(data));
    struct append_request request = fixture_put(p->queue, p->volume, &needle, false);
    if (request.code != 0)
        fail_msg("%s", request.err.message);
}

void place_put_range(struct place *p, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++)
        place_put(p, key);
}

void place_delete(struct place *p, uint64_t key)
{
    OK(fixture_delete(p->queue, p->volume, key, 7).code);
}

bool place_has(struct place *p, uint64_t key)
{
    uint8_t data[BLOB];
    fixture_fill(data, sizeof(data), key);
    return fixture_has(p->volume, key, data, sizeof(data));
}

void place_assert_range(struct place *p, uint64_t from, uint64_t to)
{
    for (uint64_t key = from; key < to; key++)
        if (!place_has(p, key))
            fail_msg("needle %llu is not there", (unsigned long long)key);
}

void place_take_image(const struct place *p, struct place *ret)
{
    char database[80];
    *ret = (struct place){0};
    make_folder(ret->directory);
    snprintf(database, sizeof(database), "%s/kelp.ldb", ret->directory);
    OK(os_real()->ops->mkdir(os_real(), database, 0755));
    fixture_copy_directory(os_real(), p->database, os_real(), database);
    char command[512];
    snprintf(command, sizeof(command), "cp -p %s/*.dat %s/*.idx %s/*.vif %s/", p->directory,
             p->directory, p->directory, ret->directory);
    OK(system(command));
    place_open_store(ret);
    OK(append_queue_create(&ret->queue, "image", &ret->err));
}

uint64_t place_count_replayed(struct place *p, struct needle_index_stat *ret)
{
    char dat[96], idx[96];
    struct volume_generation *generation;
    struct volume_generation_owner owner = {1, p->store, "c"};
    struct index_verdict verdict;
    snprintf(dat, sizeof(dat), "%s/c_1.dat", p->directory);
    snprintf(idx, sizeof(idx), "%s/c_1.idx", p->directory);
    OK(volume_generation_open(&generation, os_real(), &owner, dat, idx, true, 5, &p->err));
    OK(index_load(generation, &verdict, &p->err));
    if (ret)
        needle_index_stat(generation->index, ret);
    volume_generation_unref(generation);
    return verdict.replayed;
}

void place_assert_same_counters(struct place *p)
{
    struct index_store *store = p->store;
    struct needle_index_stat kept, loaded;
    place_count_replayed(p, &kept);
    p->store = NULL;
    place_count_replayed(p, &loaded);
    p->store = store;
    assert_int_equal(kept.file_count, loaded.file_count);
    assert_int_equal(kept.file_bytes, loaded.file_bytes);
    assert_int_equal(kept.deletion_count, loaded.deletion_count);
    assert_int_equal(kept.deletion_bytes, loaded.deletion_bytes);
    assert_int_equal(kept.live_count, loaded.live_count);
    assert_int_equal(kept.live_record_bytes, loaded.live_record_bytes);
    assert_int_equal(kept.max_key, loaded.max_key);
}

void place_reopen(struct place *p)
{
    place_close_volume(p);
    index_store_close(p->store);
    place_open_store(p);
}
