/* Two bounds: the bytes of sources that wait or run, past which a job is refused, and the pixels of
 * those that run, for which a thread waits its turn. The second is what keeps memory in bounds, as
 * a small file can be a large picture. */
#include "volume/image_service.h"

#include "common/check.h"
#include "volume/image_work.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

/* What is made of fewer pixels leaves little behind. */
#define LARGE_PIXELS (1u << 20)

struct image_service {
    struct worker_pool *pool;
    struct image_cache *cache;
    atomic_ullong source_bytes; /* of jobs that wait or run */

    pthread_mutex_t lock;
    pthread_cond_t freed;
    uint64_t free_pixels;
    bool has_crumbs; /* of large pictures, in the allocator */

    struct metrics *metrics; /* NULL: none */
    struct metrics_collector collector;
    struct metric_series *cache_bytes, *cache_entries, *waiting_bytes;
    struct metric_series *hits, *misses, *made, *refused;
};

/* ---- pixels ---- */

static void take_pixels(struct image_service *service, uint64_t pixels)
{
    pthread_mutex_lock(&service->lock);
    while (service->free_pixels < pixels)
        pthread_cond_wait(&service->freed, &service->lock);
    service->free_pixels -= pixels;
    pthread_mutex_unlock(&service->lock);
}

/* Decoders take their memory row by row, and the allocator keeps that: what many pixels were made of
 * is given back when nothing else is being made. */
static void give_pixels(struct image_service *service, uint64_t pixels)
{
    pthread_mutex_lock(&service->lock);
    service->free_pixels += pixels;
    service->has_crumbs = service->has_crumbs || pixels >= LARGE_PIXELS;
    bool is_to_trim = service->has_crumbs && service->free_pixels == IMAGE_PIXELS_MAX;
    if (is_to_trim)
        service->has_crumbs = false;
    pthread_cond_broadcast(&service->freed);
    pthread_mutex_unlock(&service->lock);
    if (is_to_trim)
        malloc_trim(0);
}

static int run(struct image_service *service, const struct image_work *work, char **ret,
               size_t *ret_size)
{
    take_pixels(service, work->cost);
    int code = image_work_run(work, ret, ret_size);
    give_pixels(service, work->cost);
    if (code == 0 && service->metrics)
        metric_add(service->made, 1);
    return code;
}

/* ---- jobs ---- */

static const struct image_entry *make(struct image_service *service, const struct image_job *job)
{
    /* Others may have asked for the same while this one waited. */
    const struct image_entry *entry = image_cache_find(service->cache, &job->key);
    if (entry)
        return entry;
    struct image_work work;
    char *bytes = NULL;
    size_t size = 0;
    if (image_work_plan(&work, job->source, &job->key.request, IMAGE_PIXELS_MAX) &&
        run(service, &work, &bytes, &size) == KELP_E_NO_MEMORY)
        return NULL;
    return image_cache_add(service->cache, &job->key, bytes, size);
}

static void on_loop(struct loop_task *task)
{
    struct image_job *job =
        (struct image_job *)((char *)task - offsetof(struct image_job, loop_task));
    job->done(job);
}

static void on_worker(struct worker_task *task)
{
    struct image_job *job =
        (struct image_job *)((char *)task - offsetof(struct image_job, worker_task));
    job->entry = make(job->service, job);
    image_service_leave(job->service, job->source.len);
    loop_post(job->loop, &job->loop_task);
}

bool image_service_enter(struct image_service *service, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add(&service->source_bytes, bytes);
    /* One alone is always taken. */
    if (before == 0 || before + bytes <= IMAGE_SERVICE_SOURCES)
        return true;
    image_service_leave(service, bytes);
    if (service->metrics)
        metric_add(service->refused, 1);
    return false;
}

void image_service_leave(struct image_service *service, uint64_t bytes)
{
    atomic_fetch_sub(&service->source_bytes, bytes);
}

int image_service_submit(struct image_service *service, struct image_job *job)
{
    job->service = service;
    job->entry = NULL;
    job->worker_task.run = on_worker;
    job->loop_task.run = on_loop;
    if (!image_service_enter(service, job->source.len))
        return KELP_E_LIMIT;
    int code = worker_pool_submit(service->pool, &job->worker_task);
    if (code == 0)
        return 0;
    image_service_leave(service, job->source.len);
    if (service->metrics)
        metric_add(service->refused, 1);
    return code;
}

bool image_service_turn_upright(struct image_service *service, struct slice source, char **ret,
                                size_t *ret_size)
{
    struct image_work work;
    return source.len <= IMAGE_SOURCE_MAX &&
           image_work_plan_upright(&work, source, IMAGE_PIXELS_MAX) &&
           run(service, &work, ret, ret_size) == 0;
}

/* ---- metrics ---- */

static void collect(struct metrics_collector *collector)
{
    struct image_service *service =
        (struct image_service *)((char *)collector - offsetof(struct image_service, collector));
    struct image_cache_facts facts;
    image_cache_look(service->cache, &facts);
    metric_set(service->cache_bytes, (double)facts.bytes);
    metric_set(service->cache_entries, (double)facts.entries);
    metric_set(service->waiting_bytes, (double)atomic_load(&service->source_bytes));
}

static struct metric_series *add(struct metrics *metrics, enum metric_kind kind, const char *name,
                                 const char *help)
{
    return metric_series(metrics_add(metrics, kind, name, help, NULL, NULL, 0), NULL);
}

static void watch(struct image_service *s, struct metrics *m)
{
    s->metrics = m;
    s->cache_bytes = add(m, METRIC_GAUGE, "kelp_image_cache_bytes",
                         "Bytes of scaled pictures kept.");
    s->cache_entries = add(m, METRIC_GAUGE, "kelp_image_cache_entries", "Scaled pictures kept.");
    s->waiting_bytes = add(m, METRIC_GAUGE, "kelp_image_source_bytes",
                           "Bytes of pictures that are being scaled or wait for it.");
    s->hits = add(m, METRIC_COUNTER, "kelp_image_cache_hits_total", "Pictures that were there.");
    s->misses = add(m, METRIC_COUNTER, "kelp_image_cache_misses_total",
                    "Pictures that were not there.");
    s->made = add(m, METRIC_COUNTER, "kelp_image_made_total",
                  "Pictures scaled, cropped or turned.");
    s->refused = add(m, METRIC_COUNTER, "kelp_image_refused_total",
                     "Requests turned away as too many pictures waited.");
    s->collector.collect = collect;
    metrics_add_collector(m, &s->collector);
}

/* ---- life ---- */

int image_service_create(struct image_service **ret, struct metrics *metrics, struct error *err)
{
    struct image_service *service = must(calloc(1, sizeof(*service)));
    int code = worker_pool_create(&service->pool, "image", IMAGE_SERVICE_THREADS,
                                  IMAGE_SERVICE_WAITING, err);
    if (code != 0) {
        free(service);
        return code;
    }
    service->cache = image_cache_create(IMAGE_SERVICE_CACHE);
    service->free_pixels = IMAGE_PIXELS_MAX;
    pthread_mutex_init(&service->lock, NULL);
    pthread_cond_init(&service->freed, NULL);
    if (metrics)
        watch(service, metrics);
    *ret = service;
    return 0;
}

const struct image_entry *image_service_find(struct image_service *service,
                                             const struct image_key *key)
{
    const struct image_entry *entry = image_cache_find(service->cache, key);
    if (service->metrics)
        metric_add(entry ? service->hits : service->misses, 1);
    return entry;
}

void image_service_forget(struct image_service *service, uint32_t volume_id, uint64_t needle)
{
    image_cache_forget(service->cache, volume_id, needle);
}

void image_service_destroy(struct image_service *service)
{
    if (!service)
        return;
    worker_pool_destroy(service->pool);
    if (service->metrics)
        metrics_remove_collector(service->metrics, &service->collector);
    image_cache_destroy(service->cache);
    pthread_cond_destroy(&service->freed);
    pthread_mutex_destroy(&service->lock);
    free(service);
}
