/* A store in folders of its own, on a real disk under a failing os, and blobs to put into it. */
#pragma once

#include "tests/fixtures/fault_os.h"
#include "volume/store.h"

#define STORE_FIXTURE_DISKS 2

struct store_fixture {
    char root[64];
    char directories[STORE_FIXTURE_DISKS][80];
    struct fault_os *fault;
    struct store_location_config locations[STORE_FIXTURE_DISKS];
    struct store_config config;
    struct store *store;
    /* What the callbacks said: "+3 -3 ". */
    char announced[256];
};

/* Makes the folders; the store is not open yet, so that the config may be changed. */
void store_fixture_init(struct store_fixture *f, size_t disks);
void store_fixture_open(struct store_fixture *f);
/* Closes the store if it is open. */
void store_fixture_close(struct store_fixture *f);
/* Removes everything. */
void store_fixture_fini(struct store_fixture *f);

int store_fixture_allocate(struct store_fixture *f, uint32_t id, const char *collection,
                           struct error *err);
/* Through the append queue, with key and cookie; asserts success. */
void store_fixture_put(struct store *store, uint32_t id, uint64_t key, uint32_t cookie,
                       const char *text);
/* The code of a read; the text is compared when it is 0. */
int store_fixture_read(struct store *store, uint32_t id, uint64_t key, const char *text);
void store_fixture_remove_tree(const char *path);
