/* Where a volume server has its pictures made: a few threads of its own, so that neither loops nor
 * readers wait for them; a bounded number of pixels at once; a cache of what was made.
 *
 * What does not fit is refused, not queued for ever: IMAGE_SERVICE_WAITING jobs may wait, with
 * IMAGE_SERVICE_SOURCES of bytes between them. */
#pragma once

#include "common/loop.h"
#include "common/metrics.h"
#include "common/worker_pool.h"
#include "volume/image_cache.h"

#define IMAGE_SERVICE_THREADS 2u
#define IMAGE_SERVICE_WAITING 1000u
#define IMAGE_SERVICE_SOURCES (256ull << 20)
#define IMAGE_SERVICE_CACHE   (32u << 20)
/* A larger file is not looked at. */
#define IMAGE_SOURCE_MAX (64u << 20)

struct image_service;

/* `metrics` may be NULL. */
int image_service_create(struct image_service **ret, struct metrics *metrics, struct error *err);
/* Finishes what waits; then nobody may hold a job. NULL is fine. */
void image_service_destroy(struct image_service *service);
/* One that was made before: the caller's to release. NULL: there is none. Any thread; does not
 * wait. */
const struct image_entry *image_service_find(struct image_service *service,
                                             const struct image_key *key);
/* Drops what was made of a blob that is no more. Any thread; does not wait. */
void image_service_forget(struct image_service *service, uint32_t volume_id, uint64_t needle);

/* The caller's until `done`, which runs on `loop`. */
struct image_job {
    struct image_key key;
    struct slice source; /* borrowed */
    struct loop *loop;
    void (*done)(struct image_job *job);
    const struct image_entry *entry; /* for `done`, which owns it; NULL: out of memory */

    struct image_service *service;
    struct worker_task worker_task;
    struct loop_task loop_task;
};

/* Any thread. KELP_E_LIMIT: too much waits; nothing happens then. */
int image_service_submit(struct image_service *service, struct image_job *job);

/* Room for a source that is still to be put together, until it is submitted: false if there is
 * none now. */
bool image_service_enter(struct image_service *service, uint64_t bytes);
void image_service_leave(struct image_service *service, uint64_t bytes);

/* A JPEG that lies on its side, upright; on the calling thread, which may have to wait for its
 * turn. False: it stays as it is. *ret is the caller's, to be freed. */
bool image_service_turn_upright(struct image_service *service, struct slice source, char **ret,
                                size_t *ret_size);
