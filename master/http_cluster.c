/* Health, /cluster/status, the web page and the metrics page. Source: spec/master-http.md 9, 11. */
#include "common/html.h"
#include "master/http_reply.h"
#include "master/http_routes.h"

/* A lone master always has a leader, itself, and never keeps its topology locked. */
void master_http_healthz(struct http_request *request, struct services *s)
{
    (void)s;
    http_respond_empty(request, 200);
}

void master_http_cluster_status(struct http_request *request, struct services *s)
{
    cluster_lock(s->cluster);
    uint32_t max_volume_id = topology_max_volume_id(s->cluster->topology);
    cluster_unlock(s->cluster);
    struct buffer body = BUFFER_INIT;
    struct json_writer w;
    json_writer_init(&w, &body, master_http_is_pretty(request));
    json_writer_begin_object(&w);
    json_writer_member_bool(&w, "IsLeader", true);
    json_writer_member_text(&w, "Leader", s->address);
    if (max_volume_id > 0)
        json_writer_member_uint(&w, "MaxVolumeId", max_volume_id);
    json_writer_end_object(&w);
    master_http_send_json(request, 200, &body);
}

void master_http_metrics(struct http_request *request, struct services *s)
{
    struct buffer body = BUFFER_INIT;
    metrics_print(s->cluster->metrics->registry, &body);
    master_http_send_text(request, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

/* ---- The web page ---------------------------------------------------------------------------- */

#define PAGE_NODES_MAX 1000u

static void append_node(struct buffer *out, const struct topology *t, const struct place *place)
{
    struct data_node_info info;
    data_node_info(place_node(place), &info);
    int64_t volumes = 0;
    for (size_t type = 0; type < topology_disk_type_count(t); type++) {
        struct disk_usage usage;
        if (place_usage(place, type, &usage))
            volumes += usage.volumes;
    }
    buffer_append_text(out, "<tr><td>");
    html_append_escaped(out, slice_cstr(info.data_center));
    buffer_append_text(out, "</td><td>");
    html_append_escaped(out, slice_cstr(info.rack));
    buffer_append_text(out, "</td><td><a href=\"http://");
    html_append_escaped(out, slice_cstr(info.public_url));
    buffer_append_text(out, "/ui/index.html\">");
    html_append_escaped(out, slice_cstr(info.url));
    buffer_printf(out, "</a></td><td>%lld</td><td>%lld</td></tr>\n", (long long)volumes,
                  (long long)place_max_slots(place));
}

static void append_nodes(struct buffer *out, const struct topology *t, const struct place *place,
                         size_t *room)
{
    if (place_kind(place) == PLACE_NODE && *room > 0) {
        append_node(out, t, place);
        --*room;
    }
    for (size_t i = 0; i < place_child_count(place) && *room > 0; i++)
        append_nodes(out, t, place_child(place, i), room);
}

static void run_page(struct master_http_work *work)
{
    struct services *s = work->services;
    struct buffer *out = &work->body;
    size_t room = PAGE_NODES_MAX;
    buffer_append_text(out, "<!DOCTYPE html>\n<html><head><title>kelp master</title></head>\n"
                            "<body><h1>kelp master ");
    html_append_escaped(out, slice_cstr(s->address));
    buffer_append_text(out, "</h1>\n<p>Version ");
    html_append_escaped(out, slice_cstr(s->version));
    cluster_lock(s->cluster);
    const struct topology *t = s->cluster->topology;
    const struct place *root = topology_root(t);
    buffer_printf(out,
                  "; volume size limit %u MB; %lld of %lld volume slots free; highest volume id "
                  "%u; up %lld s.</p>\n<p><a href=\"/kelp/vacuum/jobs?pretty=y\">Vacuum "
                  "jobs</a>, <a href=\"/kelp/metrics\">metrics</a></p>\n<table>\n"
                  "<tr><th>Data center</th><th>Rack</th><th>Server</th><th>Volumes</th>"
                  "<th>Slots</th></tr>\n",
                  s->volume_size_limit_mb, (long long)place_free_slots(root),
                  (long long)place_max_slots(root), topology_max_volume_id(t),
                  (long long)((cluster_now_ns(s->cluster) - s->start_ns) / 1000000000));
    append_nodes(out, t, root, &room);
    cluster_unlock(s->cluster);
    buffer_append_text(out, "</table></body></html>\n");
}

static void answer_page(struct master_http_work *work)
{
    master_http_send_text(work->request, work->status, "text/html; charset=utf-8", &work->body);
}

void master_http_page(struct http_request *request, struct services *s)
{
    struct master_http_work *work = master_http_work_create(request, s, sizeof(*work));
    work->run = run_page;
    work->answer = answer_page;
    master_http_work_submit(work);
}
