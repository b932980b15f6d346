/* Looking at every volume takes a moment and may wait for a disk, so the page is put together on
 * the pool, as /status is. */
#include "volume/volume_page.h"

#include "common/check.h"
#include "volume/volume_page_view.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define FOREGROUND_WINDOW_NS 2000000000

struct volume_page {
    struct blob_call *call;
    struct blob_offload offload;
    struct volume_page_view view; /* its lists are malloc'd */
    size_t volume_capacity;
    struct buffer text;
    int code;
};

/* ---- looking: on a thread of the pool ---- */

static void add_damage(struct volume_page_view *view, struct volume *volume)
{
    struct volume_damage damaged[VOLUME_DAMAGE_MAX];
    size_t count = volume_damaged(volume, damaged);
    for (size_t i = 0; i < count && view->damage_count < VOLUME_PAGE_DAMAGE; i++)
        view->damage[view->damage_count++] =
            (struct volume_page_damage){.volume_id = volume_id(volume), .damage = damaged[i]};
}

static int add_volume(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct volume_page *page = ctx;
    struct volume_page_view *view = &page->view;
    if (view->volume_count == page->volume_capacity) {
        size_t capacity = page->volume_capacity ? page->volume_capacity * 2 : 64;
        struct volume_page_volume *volumes =
            realloc(view->volumes, capacity * sizeof(*view->volumes));
        if (!volumes)
            return KELP_E_NO_MEMORY;
        view->volumes = volumes;
        page->volume_capacity = capacity;
    }
    struct volume_page_volume *row = &view->volumes[view->volume_count];
    char *collection = strdup(volume_collection(volume)); /* the volume may go */
    if (!collection)
        return KELP_E_NO_MEMORY;
    view->volume_count++;
    *row = (struct volume_page_volume){
        .id = volume_id(volume), .disk = disk_location_id(location), .collection = collection};
    volume_stat(volume, &row->stat);
    volume_vacuum_progress(volume, &row->vacuum);
    volume_fault(volume, row->fault);
    if (row->stat.damaged_count > 0)
        add_damage(view, volume);
    struct volume_page_disk *disk = &view->disks[row->disk];
    disk->volume_count++;
    disk->volume_bytes += row->stat.dat_bytes;
    disk->index_file_bytes += row->stat.idx_bytes;
    disk->index_memory_bytes += row->stat.index_memory_bytes;
    return 0;
}

static void look_at_disk(struct store *store, size_t index, int64_t monotonic_ns,
                         struct volume_page_disk *ret)
{
    struct disk_location *location = store_location(store, index);
    struct vacuum_budget *budget = store_location_budget(store, index);
    const struct foreground *foreground = store_location_foreground(store, index);
    ret->directory = disk_location_directory(location);
    ret->type = disk_location_disk_type(location);
    disk_location_space(location, &ret->space);
    ret->slots = store_location_max(store, location);
    vacuum_budget_state(budget, &ret->vacuum_jobs, &ret->vacuum_share);
    ret->vacuum_held_bytes = vacuum_budget_held(budget);
    for (unsigned kind = 0; kind < FOREGROUND_KINDS; kind++)
        ret->p99_ns[kind] = foreground_p99_ns(foreground, kind, monotonic_ns, FOREGROUND_WINDOW_NS);
}

static void look_at_loops(const struct volume_http_config *config, struct volume_page_view *view)
{
    view->loop_count = config->loop_count;
    view->loops = must(calloc(config->loop_count, sizeof(*view->loops)));
    for (unsigned i = 0; i < config->loop_count; i++) {
        struct volume_page_loop *loop = &view->loops[i];
        loop->name = loop_name(config->loops[i]);
        loop_turns(config->loops[i], &loop->turns);
        loop->cause_count = loop_slow_causes(config->loops[i], loop->causes);
    }
}

static void work(struct blob_offload *offload)
{
    struct volume_page *page =
        (struct volume_page *)((char *)offload - offsetof(struct volume_page, offload));
    const struct volume_http_config *config = &page->call->http->config;
    struct volume_page_view *view = &page->view;
    struct store *store = config->store;
    view->disk_count = store_location_count(store);
    view->disks = must(calloc(view->disk_count, sizeof(*view->disks)));
    int64_t monotonic_ns = os_monotonic_ns(config->os);
    for (size_t i = 0; i < view->disk_count; i++)
        look_at_disk(store, i, monotonic_ns, &view->disks[i]);
    page->code = store_for_each(store, add_volume, page);
    if (page->code)
        return;
    view->now_second = os_now_ns(config->os) / 1000000000;
    view->size_limit_bytes = store_volume_size_limit(store);
    view->loading_count = store_loading_count(store);
    view->not_loaded_count = store_not_loaded_count(store);
    view->error_count = log_recent_list(view->errors);
    look_at_loops(config, view);
    config->describe(config->ctx, &view->facts);
    volume_page_print(view, &page->text);
}

/* ---- answering: on the loop ---- */

static void release(void *ctx)
{
    struct volume_page *page = ctx;
    for (size_t i = 0; i < page->view.volume_count; i++)
        free((void *)(uintptr_t)page->view.volumes[i].collection);
    free(page->view.volumes);
    free(page->view.disks);
    free(page->view.loops);
    buffer_fini(&page->text);
    free(page);
}

static void done(struct blob_offload *offload)
{
    struct volume_page *page =
        (struct volume_page *)((char *)offload - offsetof(struct volume_page, offload));
    struct blob_call *call = page->call;
    if (page->code) {
        release(page);
        blob_call_reply_error(call, 503, "out of memory: try again later");
        return;
    }
    struct http_request *request = call->request;
    struct buffer policy = BUFFER_INIT;
    volume_page_policy(&policy);
    http_response_header(request, "Content-Type", SLICE("text/html; charset=utf-8"));
    http_response_header(request, "Content-Security-Policy", buffer_slice(&policy));
    http_response_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    http_response_header(request, "Cache-Control", SLICE("no-store"));
    buffer_fini(&policy);
    blob_call_reply(call, 200, buffer_slice(&page->text), release, page);
}

void volume_page_serve(struct blob_call *call)
{
    struct http_request *request = call->request;
    struct volume_page *page = must(calloc(1, sizeof(*page)));
    page->call = call;
    volume_page_read_query(&page->view.query, http_request_query(request, "q"),
                           http_request_query(request, "show"), http_request_query(request, "sort"),
                           http_request_query(request, "page"));
    page->offload.work = work;
    page->offload.done = done;
    if (blob_lane_offload(call->lane, &page->offload) != 0) {
        release(page);
        http_response_header(request, "Retry-After", SLICE("1"));
        blob_call_reply_error(call, 503, "too many requests wait: try again later");
    }
}
