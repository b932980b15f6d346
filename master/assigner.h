/* Assign: a writable volume is picked and keys are handed out, or growth is set off and waited for.
 *
 * Nobody blocks: an assign that has to wait (for growth, or for the next block of keys) is parked and
 * tried again when something changed, at the latest every 200 ms, for 10 s. The peer sends all but
 * the one that set growth off away at once; here they wait as well, but not as long, since clients
 * give up after 10 s and growth that takes seconds may take long. Source: spec/master-rpc.md 7,
 * spec/master-http.md 2. */
#pragma once

#include "master/cluster.h"
#include "master/grower.h"
#include "common/file_id.h"

#define ASSIGN_BUDGET_NS      INT64_C(10000000000)
#define ASSIGN_JOIN_BUDGET_NS INT64_C(5000000000)
#define ASSIGNS_PARKED_MAX    10000u

struct assigner;

enum assign_status {
    ASSIGN_OK,
    ASSIGN_WARMING_UP,     /* rpc UNAVAILABLE, http 503 */
    ASSIGN_NO_DATA_CENTER, /* the topology has none at all; http 400 */
    ASSIGN_NO_VOLUME,      /* http 406 */
    ASSIGN_NO_CAPACITY,    /* not a single slot registered; rpc RESOURCE_EXHAUSTED */
    ASSIGN_GROWING,        /* come back: rpc RESOURCE_EXHAUSTED, http 503 */
    ASSIGN_STOPPING,       /* rpc UNAVAILABLE, http 503 */
};

struct assign_query {
    struct volume_option option; /* strings copied when the query is parked */
    uint64_t count;              /* >= 1 */
    uint64_t bytes_per_file;     /* 0: not known */
    uint32_t writable_volume_count;
    bool is_http; /* no remembered target, no early answers about places and capacity */
};

struct assign_location {
    const char *url, *public_url, *data_center;
    uint32_t grpc_port;
};

struct assign_result {
    enum assign_status status;
    const char *message;   /* the wire's text when not OK */
    int64_t retry_after_ns; /* of ASSIGN_WARMING_UP */
    char fid[FILE_ID_TEXT_SIZE];
    uint64_t count;
    const struct assign_location *locations; /* the main one first */
    size_t location_count;
};

/* The result is valid during the call only. Exactly once; on the calling thread, or later on the
 * control thread or a grower thread. */
typedef void assign_done(void *ctx, const struct assign_result *result);

struct assigner *assigner_create(struct cluster *cluster);
void assigner_set_grower(struct assigner *assigner, struct grower *grower); /* before first use */
/* Nothing may be parked any more: assigner_stop first. */
void assigner_destroy(struct assigner *assigner);
/* Answers all that is parked, and from now on everything, with ASSIGN_STOPPING. */
void assigner_stop(struct assigner *assigner);

/* Any thread, without the topology's lock. `is_abandoned` (may be NULL) tells that nobody waits any
 * more. */
void assigner_assign(struct assigner *assigner, const struct assign_query *query,
                     assign_done *done, bool (*is_abandoned)(void *ctx), void *ctx);

/* Control thread: tries the parked ones again. Soon after grower progress or new keys, and every
 * 200 ms. */
void assigner_retry(struct assigner *assigner);
