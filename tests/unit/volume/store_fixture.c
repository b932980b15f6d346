/* Folders under /tmp; nothing is shared between two fixtures. */
#include "tests/unit/volume/store_fixture.h"

#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "tests/fixtures/volume_fixture.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void note_added(void *ctx, const struct disk_location *location, struct volume *volume)
{
    struct store_fixture *f = ctx;
    size_t length = strlen(f->announced);
    snprintf(f->announced + length, sizeof(f->announced) - length, "+%u ", volume_id(volume));
}

static void note_removed(void *ctx, const struct disk_location *location, struct volume *volume)
{
    struct store_fixture *f = ctx;
    size_t length = strlen(f->announced);
    snprintf(f->announced + length, sizeof(f->announced) - length, "-%u ", volume_id(volume));
}

void store_fixture_init(struct store_fixture *f, size_t disks)
{
    CHECK(disks <= STORE_FIXTURE_DISKS);
    memset(f, 0, sizeof(*f));
    strcpy(f->root, "/tmp/kelp-store-XXXXXX");
    CHECK(mkdtemp(f->root) != NULL);
    fault_os_create(&f->fault, os_real());
    for (size_t i = 0; i < disks; i++) {
        snprintf(f->directories[i], sizeof(f->directories[i]), "%s/disk%zu", f->root, i);
        CHECK(mkdir(f->directories[i], 0755) == 0);
        f->locations[i] =
            (struct store_location_config){.directory = f->directories[i], .max_volumes = 8};
    }
    f->config = (struct store_config){
        .os = fault_os_get(f->fault),
        .locations = f->locations,
        .location_count = disks,
        .offset_bytes = 5,
        .load_threads = 3,
        .probe_interval_ms = 3600000,
        .on_volume_added = note_added,
        .on_volume_removed = note_removed,
        .ctx = f,
    };
}

void store_fixture_open(struct store_fixture *f)
{
    struct error err = {0};
    if (store_open(&f->store, &f->config, &err))
        fail_msg("store_open: %s", err.message);
}

void store_fixture_close(struct store_fixture *f)
{
    store_close(f->store);
    f->store = NULL;
}

static int remove_entry(const char *path, const struct stat *stat, int type, struct FTW *at)
{
    return remove(path);
}

void store_fixture_remove_tree(const char *path) { nftw(path, remove_entry, 16, FTW_DEPTH); }

void store_fixture_fini(struct store_fixture *f)
{
    store_fixture_close(f);
    fault_os_destroy(f->fault);
    store_fixture_remove_tree(f->root);
}

int store_fixture_allocate(struct store_fixture *f, uint32_t id, const char *collection,
                           struct error *err)
{
    struct store_allocate request = {.id = id, .collection = collection, .disk_type = "hdd"};
    return store_allocate_volume(f->store, &request, err);
}

void store_fixture_put(struct store *store, uint32_t id, uint64_t key, uint32_t cookie,
                       const char *text)
{
    struct volume *volume = store_acquire(store, id);
    assert_non_null(volume);
    struct needle needle = fixture_needle(key, cookie, text, strlen(text));
    struct append_request done =
        fixture_put(store_append_queue(store, volume), volume, &needle, false);
    store_release(store, volume);
    if (done.code)
        fail_msg("put: %s", done.err.message);
}

int store_fixture_read(struct store *store, uint32_t id, uint64_t key, const char *text)
{
    struct volume *volume = store_acquire(store, id);
    if (!volume)
        return KELP_E_NOT_FOUND;
    struct needle needle;
    void *buffer = NULL;
    int code = fixture_get(volume, key, &needle, &buffer);
    if (!code)
        assert_true(slice_equals(needle.data, slice_cstr(text)));
    free(buffer);
    store_release(store, volume);
    return code;
}
