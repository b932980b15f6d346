/* A table of the keys that are being written to, with a lock that is held for a few
 * instructions. */
#include "volume/blob_doubt.h"

#include "common/check.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct doubt_key {
    uint64_t key;
    uint64_t volume_id; /* as wide as the key: no bytes between that nobody sets */
};

struct blob_doubt {
    struct doubt_key of;
    unsigned writers;  /* that have not left */
    bool is_contested; /* by more than one of them */
    bool is_undone;    /* being undone */
    UT_hash_handle hh;
};

struct blob_doubts {
    pthread_mutex_t lock;
    struct blob_doubt *table;
};

struct blob_doubts *blob_doubts_create(void)
{
    struct blob_doubts *doubts = must(calloc(1, sizeof(*doubts)));
    CHECK(pthread_mutex_init(&doubts->lock, NULL) == 0);
    return doubts;
}

void blob_doubts_destroy(struct blob_doubts *doubts)
{
    if (!doubts)
        return;
    CHECK(!doubts->table);
    pthread_mutex_destroy(&doubts->lock);
    free(doubts);
}

struct blob_doubt *blob_doubt_enter(struct blob_doubts *doubts, uint32_t volume_id, uint64_t key)
{
    struct doubt_key of = {key, volume_id};
    struct blob_doubt *doubt;
    pthread_mutex_lock(&doubts->lock);
    HASH_FIND(hh, doubts->table, &of, sizeof(of), doubt);
    if (!doubt) {
        doubt = must(calloc(1, sizeof(*doubt)));
        doubt->of = of;
        HASH_ADD(hh, doubts->table, of, sizeof(doubt->of), doubt);
    }
    doubt->is_contested = doubt->is_contested || doubt->writers > 0;
    if (doubt->is_undone)
        doubt = NULL;
    else
        doubt->writers++;
    pthread_mutex_unlock(&doubts->lock);
    return doubt;
}

bool blob_doubt_begin_undo(struct blob_doubts *doubts, struct blob_doubt *doubt)
{
    pthread_mutex_lock(&doubts->lock);
    doubt->is_undone = !doubt->is_contested;
    bool may_undo = doubt->is_undone;
    pthread_mutex_unlock(&doubts->lock);
    return may_undo;
}

void blob_doubt_leave(struct blob_doubts *doubts, struct blob_doubt *doubt)
{
    if (!doubt)
        return;
    pthread_mutex_lock(&doubts->lock);
    bool is_last = --doubt->writers == 0;
    if (is_last)
        HASH_DEL(doubts->table, doubt);
    pthread_mutex_unlock(&doubts->lock);
    if (is_last)
        free(doubt);
}
