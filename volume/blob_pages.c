/* /status lists every volume, so it is put together on the pool: a server with ten thousand
 * volumes must not hold up a loop for it, and looking at a volume may look at its file. */
#include "volume/blob_pages.h"

#include <stddef.h>
#include <stdlib.h>

struct volume_row {
    struct volume_stat stat;
    char fault[VOLUME_FAULT_MAX];
    struct volume_damage *damaged; /* malloc'd, or NULL */
    size_t damaged_count;
    uint32_t id, disk_id;
    char *collection; /* malloc'd: the volume may go */
    char disk_type[32];
};

struct status_page {
    struct blob_call *call;
    struct blob_offload offload;
    struct volume_row *rows;
    size_t count, capacity;
    bool is_pretty;
    struct buffer text;
};

/* ---- collecting ---- */

static int add_damage(struct volume_row *row, struct volume *volume)
{
    row->damaged = malloc(VOLUME_DAMAGE_MAX * sizeof(*row->damaged));
    if (!row->damaged)
        return KELP_E_NO_MEMORY;
    row->damaged_count = volume_damaged(volume, row->damaged);
    return 0;
}

static int add_row(void *ctx, struct disk_location *location, struct volume *volume)
{
    struct status_page *page = ctx;
    if (page->count == page->capacity) {
        size_t capacity = page->capacity ? page->capacity * 2 : 64;
        struct volume_row *rows = realloc(page->rows, capacity * sizeof(*rows));
        if (!rows)
            return KELP_E_NO_MEMORY;
        page->rows = rows;
        page->capacity = capacity;
    }
    struct volume_row *row = &page->rows[page->count];
    row->collection = strdup(volume_collection(volume));
    if (!row->collection)
        return KELP_E_NO_MEMORY;
    row->damaged = NULL;
    row->damaged_count = 0;
    row->id = volume_id(volume);
    row->disk_id = disk_location_id(location);
    snprintf(row->disk_type, sizeof(row->disk_type), "%s", disk_location_disk_type(location));
    volume_stat(volume, &row->stat);
    volume_fault(volume, row->fault);
    page->count++;
    return row->stat.damaged_count > 0 ? add_damage(row, volume) : 0;
}

static int compare_rows(const void *a, const void *b)
{
    const struct volume_row *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* ---- printing ---- */

static void member_unless_zero(struct json_writer *w, const char *key, uint64_t value)
{
    if (value != 0)
        json_writer_member_uint(w, key, value);
}

static void print_disks(struct json_writer *w, struct store *store)
{
    json_writer_key(w, "DiskStatuses");
    json_writer_begin_array(w);
    for (size_t i = 0; i < store_location_count(store); i++) {
        const struct disk_location *location = store_location(store, i);
        struct disk_space space;
        disk_location_space(location, &space);
        uint64_t used = space.total_bytes - space.free_bytes;
        json_writer_begin_object(w);
        json_writer_member_text(w, "dir", disk_location_directory(location));
        member_unless_zero(w, "all", space.total_bytes);
        member_unless_zero(w, "used", used);
        member_unless_zero(w, "free", space.free_bytes);
        if (space.total_bytes > 0) {
            float total = (float)space.total_bytes;
            if (space.free_bytes > 0)
                json_writer_member_float(w, "percent_free", (float)space.free_bytes / total * 100);
            if (used > 0)
                json_writer_member_float(w, "percent_used", (float)used / total * 100);
        }
        if (disk_location_disk_type(location)[0])
            json_writer_member_text(w, "disk_type", disk_location_disk_type(location));
        json_writer_end_object(w);
    }
    json_writer_end_array(w);
}

static void print_placement(struct json_writer *w, struct replica_placement placement)
{
    json_writer_key(w, "ReplicaPlacement");
    json_writer_begin_object(w);
    member_unless_zero(w, "node", placement.same_rack);
    member_unless_zero(w, "rack", placement.other_racks);
    member_unless_zero(w, "dc", placement.other_data_centers);
    json_writer_end_object(w);
}

/* What the peer has no words for. */
static void print_health(struct json_writer *w, const struct volume_row *row)
{
    json_writer_key(w, "kelp");
    json_writer_begin_object(w);
    json_writer_key(w, "readOnlyReasons");
    json_writer_begin_array(w);
    for (unsigned i = 0; i < VOLUME_READ_ONLY_REASONS; i++)
        if (row->stat.read_only & 1u << i)
            json_writer_text(w, volume_read_only_name(i));
    json_writer_end_array(w);
    if (row->fault[0])
        json_writer_member_text(w, "fault", row->fault);
    member_unless_zero(w, "damagedCount", row->stat.damaged_count);
    if (row->damaged_count > 0) {
        json_writer_key(w, "damaged");
        json_writer_begin_array(w);
        for (size_t i = 0; i < row->damaged_count; i++) {
            const struct volume_damage *damage = &row->damaged[i];
            char key[17];
            snprintf(key, sizeof(key), "%llx", (unsigned long long)damage->key);
            json_writer_begin_object(w);
            json_writer_member_text(w, "needle", key);
            json_writer_member_uint(w, "offset", damage->offset);
            json_writer_member_text(w, "reason", damage->reason);
            json_writer_member_uint(w, "foundAtSecond",
                                    (uint64_t)(damage->found_at_ns / 1000000000));
            json_writer_end_object(w);
        }
        json_writer_end_array(w);
    }
    json_writer_end_object(w);
}

static void print_volume(struct json_writer *w, const struct volume_row *row)
{
    const struct volume_stat *stat = &row->stat;
    json_writer_begin_object(w);
    json_writer_member_text(w, "Collection", row->collection);
    json_writer_member_text(w, "DiskType", row->disk_type);
    json_writer_member_text(w, "RemoteStorageName", "");
    print_placement(w, stat->replica_placement);
    json_writer_key(w, "Ttl");
    json_writer_begin_object(w);
    json_writer_member_uint(w, "Count", stat->ttl.count);
    json_writer_member_uint(w, "Unit", stat->ttl.unit);
    json_writer_end_object(w);
    json_writer_member_uint(w, "Size", stat->file_bytes);
    json_writer_member_uint(w, "DeletedByteCount", stat->deletion_bytes);
    json_writer_member_uint(w, "ModifiedAtSecond", stat->modified_at_second);
    json_writer_member_uint(w, "Id", row->id);
    json_writer_member_uint(w, "DiskId", row->disk_id);
    json_writer_member_uint(w, "CompactRevision", stat->compact_revision);
    json_writer_member_uint(w, "FileCount", stat->file_count);
    json_writer_member_uint(w, "DeleteCount", stat->deletion_count);
    json_writer_member_uint(w, "Version", stat->version);
    json_writer_member_bool(w, "ReadOnly", stat->read_only != 0);
    json_writer_member_bool(w, "ReadOnlyCanDelete",
                            (stat->read_only & VOLUME_RO_OPERATOR_CAN_DELETE) != 0);
    if (stat->read_only != 0 || stat->damaged_count > 0)
        print_health(w, row);
    json_writer_end_object(w);
}

static void print_page(struct status_page *page)
{
    const struct volume_http_config *config = &page->call->http->config;
    struct json_writer w;
    json_writer_init(&w, &page->text, page->is_pretty);
    json_writer_begin_object(&w);
    print_disks(&w, config->store);
    json_writer_member_text(&w, "Version", config->version_text);
    json_writer_key(&w, "Volumes");
    if (page->count == 0) {
        json_writer_null(&w);
    } else {
        json_writer_begin_array(&w);
        for (size_t i = 0; i < page->count; i++)
            print_volume(&w, &page->rows[i]);
        json_writer_end_array(&w);
    }
    json_writer_end_object(&w);
}

/* ---- the page ---- */

static void work(struct blob_offload *offload)
{
    struct status_page *page =
        (struct status_page *)((char *)offload - offsetof(struct status_page, offload));
    if (store_for_each(page->call->http->config.store, add_row, page) != 0)
        return;
    if (page->count > 0)
        qsort(page->rows, page->count, sizeof(*page->rows), compare_rows);
    print_page(page);
}

static void release(void *ctx)
{
    struct status_page *page = ctx;
    for (size_t i = 0; i < page->count; i++) {
        free(page->rows[i].collection);
        free(page->rows[i].damaged);
    }
    free(page->rows);
    buffer_fini(&page->text);
}

static void done(struct blob_offload *offload)
{
    struct status_page *page =
        (struct status_page *)((char *)offload - offsetof(struct status_page, offload));
    if (page->text.length == 0) {
        release(page);
        blob_call_reply_error(page->call, 503, "out of memory: try again later");
        return;
    }
    struct http_request *request = page->call->request;
    http_response_header(request, "Content-Type", SLICE("application/json"));
    http_response_header(request, "X-Content-Type-Options", SLICE("nosniff"));
    blob_call_reply(page->call, 200, buffer_slice(&page->text), release, page);
}

void blob_pages_status(struct blob_call *call)
{
    struct status_page *page = arena_calloc(call->request->arena, sizeof(*page));
    page->call = call;
    page->is_pretty = http_request_query(call->request, "pretty").len > 0;
    page->offload.work = work;
    page->offload.done = done;
    if (blob_lane_offload(call->lane, &page->offload) != 0) {
        http_response_header(call->request, "Retry-After", SLICE("1"));
        blob_call_reply_error(call, 503, "too many requests wait: try again later");
    }
}

void blob_pages_health(struct blob_call *call)
{
    const struct volume_http_config *config = &call->http->config;
    bool is_healthy = !config->is_healthy || config->is_healthy(config->ctx);
    blob_call_reply_empty(call, is_healthy ? 200 : 503);
}
