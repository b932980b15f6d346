/* /col/delete and /collection/info. Both on a worker: one calls volume servers, the other walks all
 * layouts. Source: spec/master-http.md 7. */
#include "common/check.h"
#include "master/http_reply.h"
#include "master/http_routes.h"
#include "master/volume_layout.h"

struct collection_work {
    struct master_http_work base;
    char *name;
    bool is_detailed;
};

static bool collection_exists(const struct topology *t, const char *name)
{
    size_t count;
    bool is_found = false;
    const char **names = topology_collections(t, true, false, &count);
    for (size_t i = 0; i < count; i++)
        is_found |= strcmp(names[i], name) == 0;
    free(names);
    return is_found;
}

static bool is_known(struct services *s, const char *name)
{
    cluster_lock(s->cluster);
    bool is_found = collection_exists(s->cluster->topology, name);
    cluster_unlock(s->cluster);
    return is_found;
}

static void run_delete(struct master_http_work *base)
{
    struct collection_work *work = (struct collection_work *)base;
    enum rpc_status status = RPC_OK;
    struct error err;
    base->status = 204;
    if (!is_known(base->services, work->name))
        master_http_work_fail(base, 400, "collection %s does not exist", work->name);
    else if (services_delete_collection(base->services, work->name, false, &status, &err))
        master_http_work_fail(base, 500, "rpc error: code = %s desc = %s", rpc_status_name(status),
                              err.message);
}

static void answer(struct master_http_work *base)
{
    struct collection_work *work = (struct collection_work *)base;
    if (base->status == 204)
        http_respond_empty(base->request, 204);
    else
        master_http_send_json(base->request, base->status, &base->body);
    free(work->name);
}

static struct collection_work *make_work(struct http_request *request, struct services *s)
{
    struct collection_work *work = master_http_work_create(request, s, sizeof(*work));
    work->base.answer = answer;
    work->name = must(strdup(master_http_text(request, "collection")));
    return work;
}

void master_http_collection_delete(struct http_request *request, struct services *s)
{
    struct collection_work *work = make_work(request, s);
    work->base.run = run_delete;
    work->base.is_patient = true;
    master_http_work_submit(&work->base);
}

/* ---- Info ------------------------------------------------------------------------------------ */

struct layout_sums {
    uint64_t files, total, used;
};

static uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

/* The first replica that a server has reported stands for the volume. */
static void add_volume(const struct layout_volume *volume, uint64_t limit, struct layout_sums *sums)
{
    struct layout_volume_info info;
    layout_volume_info(volume, &info);
    uint64_t live = 0, files = 0;
    bool is_marked = false, is_counted = false;
    for (size_t i = 0; i < info.replica_count; i++) {
        struct layout_replica_info replica;
        layout_volume_replica(volume, i, &replica);
        is_marked |= replica.is_marked_read_only;
        if (is_counted || replica.is_provisional)
            continue;
        is_counted = true;
        live = minus(replica.record->size, replica.record->deleted_byte_count);
        files = minus(replica.record->file_count, replica.record->delete_count);
    }
    sums->used += live * info.replica_count;
    sums->total += (is_marked ? live : limit) * info.replica_count;
    sums->files += files;
}

static void add_layout(const struct volume_layout *layout, uint64_t limit, struct layout_sums *sums)
{
    for (const struct layout_volume *v = volume_layout_first(layout); v; v = layout_volume_next(v))
        add_volume(v, limit, sums);
}

/* `layouts` 0: left out. */
static void write_sums(const struct services *s, const char *name, const struct layout_sums *sums,
                       size_t layouts, struct json_writer *w)
{
    json_writer_begin_object(w);
    json_writer_member_text(w, "Collection", name);
    json_writer_member_uint(w, "FileCount", sums->files);
    json_writer_member_uint(w, "TotalSize", sums->total);
    json_writer_member_uint(w, "UsedSize", sums->used);
    json_writer_member_text(w, "Version", s->version);
    if (layouts > 0)
        json_writer_member_uint(w, "VolumeCount", layouts);
    json_writer_end_object(w);
}

static void write_info(struct collection_work *work)
{
    struct services *s = work->base.services;
    const struct topology *t = s->cluster->topology;
    struct json_writer *w = &work->base.json;
    uint64_t limit = (uint64_t)s->volume_size_limit_mb << 20;
    struct layout_sums all = {0, 0, 0};
    size_t layouts = 0;
    if (work->is_detailed)
        json_writer_begin_array(w);
    for (size_t i = 0; i < topology_layout_count(t); i++) {
        const struct volume_layout *layout = topology_layout(t, i);
        struct volume_layout_info info;
        volume_layout_info(layout, &info);
        if (strcmp(info.collection, work->name) != 0)
            continue;
        struct layout_sums one = {0, 0, 0};
        layouts++;
        add_layout(layout, limit, work->is_detailed ? &one : &all);
        if (work->is_detailed)
            write_sums(s, work->name, &one, 0, w);
    }
    if (work->is_detailed)
        json_writer_end_array(w);
    else
        write_sums(s, work->name, &all, layouts, w);
}

static void run_info(struct master_http_work *base)
{
    struct collection_work *work = (struct collection_work *)base;
    struct cluster *cluster = base->services->cluster;
    cluster_lock(cluster);
    bool is_found = collection_exists(cluster->topology, work->name);
    if (is_found)
        write_info(work);
    cluster_unlock(cluster);
    if (!is_found)
        master_http_work_fail(base, 400, "collection %s does not exist", work->name);
}

void master_http_collection_info(struct http_request *request, struct services *s)
{
    if (master_http_param(request, "collection").len == 0) {
        master_http_fail(request, 400, "collection is required");
        return;
    }
    struct collection_work *work = make_work(request, s);
    work->is_detailed = strcmp(master_http_text(request, "detail"), "true") == 0;
    work->base.run = run_info;
    master_http_work_submit(&work->base);
}
