/* Where a volume lives: volume id -> locations, asked of the master and cached.
 *
 * One for the whole server, shared by its loops. Answers are kept for ten minutes; a caller that
 * finds too few replicas in one forgets it, so that the next request asks again. Requests for
 * the same volume while a question is under way share its answer. Unknown volumes and failures
 * are not cached. */
#pragma once

#include "common/error.h"
#include "common/loop.h"

struct rpc_client;

#define VOLUME_LOOKUP_CACHE_MAX 100000 /* volumes; the oldest answer makes room */
#define VOLUME_LOOKUP_CACHE_MS  (10u * 60 * 1000)

struct volume_location {
    char *url;        /* "host:port", what servers use among themselves */
    char *public_url; /* what clients outside use */
    bool is_read_only;
};

/* Immutable once made; shared by reference. An unknown volume has count 0. */
struct volume_locations {
    size_t count;
    struct volume_location *items;
};
/* One reference; items zeroed, for the maker to fill. */
struct volume_locations *volume_locations_create(size_t count);
struct volume_locations *volume_locations_ref(struct volume_locations *locations);
void volume_locations_unref(struct volume_locations *locations); /* NULL is fine */

struct volume_lookup;
struct volume_lookup_question;

/* Who answers what the cache does not know: the master over gRPC, or a table in a test. `ask`
 * must not block and leads to exactly one volume_lookup_answer, from any thread, also from
 * within. */
struct volume_lookup_source {
    void (*ask)(void *ctx, uint32_t volume_id, struct volume_lookup_question *question);
    void *ctx;
};

int volume_lookup_create(struct volume_lookup **ret, const struct volume_lookup_source *source,
                         struct error *err);
/* After the last find has been answered. NULL is fine. */
void volume_lookup_destroy(struct volume_lookup *lookup);
/* Takes over the reference. With `err` (then locations is NULL) the lookup itself failed. */
void volume_lookup_answer(struct volume_lookup_question *question,
                          struct volume_locations *locations, const struct error *err);

/* Caller's memory, untouched from find until done has been called. */
struct volume_lookup_request {
    struct loop_task task;
    struct volume_lookup_request *next;
    struct loop *loop;
    uint32_t volume_id;
    /* On the loop, once; possibly within volume_lookup_find when the answer is cached. */
    void (*done)(struct volume_lookup_request *request);
    /* results: locations is the receiver's to unref, NULL when code is set */
    struct volume_locations *locations;
    int code;
    struct error err;
};

/* Loop thread of request->loop. Fill in loop, volume_id and done. */
void volume_lookup_find(struct volume_lookup *lookup, struct volume_lookup_request *request);
/* Any thread. */
void volume_lookup_forget(struct volume_lookup *lookup, uint32_t volume_id);

/* ---- the source that asks the master ---- */

struct volume_lookup_master;

/* `master` writes the gRPC address ("host:19333") of the master to be asked now, or returns
 * false when none is known yet. Any thread, must not block. */
struct volume_lookup_master_config {
    struct rpc_client *client; /* borrowed */
    bool (*master)(void *ctx, char *address, size_t size);
    void *ctx;
    unsigned timeout_ms; /* 0: 5 s */
};
int volume_lookup_master_create(struct volume_lookup_master **ret,
                                const struct volume_lookup_master_config *config,
                                struct error *err);
/* After rpc_client_destroy, or once nothing is under way. NULL is fine. */
void volume_lookup_master_destroy(struct volume_lookup_master *master);
struct volume_lookup_source volume_lookup_master_source(struct volume_lookup_master *master);
