/* One thread of a benchmark: an event loop with a number of slots, each of which does one blob at a
 * time.
 *
 *     write:  assign -> put -> (delete) -> next        503 on assign: the cluster grows; again in a
 * while read:   get -> next                              401: ask the master for a token, then get
 *
 * The time of a write is that of its assign and its put, as the peer counts; deletes are not in it.
 */
#include "cli/benchmark.h"
#include "cli/load_client.h"
#include "common/buffer.h"
#include "common/check.h"
#include "common/os.h"
#include "common/url.h"

#include <json-c/json.h>
#include <stddef.h>
#include <stdlib.h>

#define HEAD_SIZE          (FILE_TOKEN_MAX + 1024)
#define STAMP_SIZE         8
#define GROWTH_PAUSE_MS    200
#define GROWTH_ATTEMPTS    60
#define FAILURES_EACH_SLOT 10
#define FAILURES_ANYWAY    100

struct team { /* the slots of one thread */
    struct benchmark_worker *worker;
    struct benchmark_phase *phase;
    const struct benchmark_options *options;
    struct load_client *client;
    char *assign_path, *zeros;
    int64_t busy_slots;
    uint64_t seed;
    bool wants_read_tokens; /* a server has said so */
};

struct slot {
    struct load_call call;
    struct team *team;
    uv_timer_t pause;
    int64_t start_ns;
    size_t length; /* of the blob */
    unsigned attempts;
    char fid[64], server[ADDRESS_TEXT_SIZE], head[HEAD_SIZE];
    char authorization[FILE_TOKEN_MAX + 8];
};

static void begin(struct slot *slot);

/* splitmix64: cheap, and good enough to choose sizes and keys. */
static uint64_t draw(struct team *team)
{
    uint64_t z = team->seed += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

bool benchmark_has_given_up(const struct benchmark_phase *phase)
{
    return atomic_load_explicit(&phase->failures_in_a_row, memory_order_relaxed) >
           (uint64_t)phase->options->concurrency * FAILURES_EACH_SLOT + FAILURES_ANYWAY;
}

/* ---- Outcomes -------------------------------------------------------------------------------- */

static void count_failure(struct slot *slot, const struct error *err)
{
    struct benchmark_result *result = &slot->team->worker->result;
    if (result->failures++ == 0)
        result->first_error = *err;
    atomic_fetch_add_explicit(&slot->team->phase->failures_in_a_row, 1, memory_order_relaxed);
}

static void fail_slot(struct slot *slot, const struct error *err)
{
    count_failure(slot, err);
    begin(slot);
}

/* The answer's own words, where it has some. */
static void refuse(struct slot *slot, const char *what)
{
    struct load_call *call = &slot->call;
    struct error err;
    if (call->code != 0) {
        err = call->err;
        error_prefix(&err, "%s", what);
    } else {
        struct json_object *document = json_tokener_parse(call->kept), *text = NULL;
        if (document && json_object_is_type(document, json_type_object))
            json_object_object_get_ex(document, "error", &text);
        error_set(&err, KELP_E_UNKNOWN, "%s http://%s/%s: status %d%s%.200s", what, call->server,
                  slot->fid, call->status, text ? ": " : " ",
                  text ? json_object_get_string(text) : call->kept);
        json_object_put(document);
    }
    fail_slot(slot, &err);
}

static void count_success(struct slot *slot, uint64_t bytes)
{
    struct benchmark_phase *phase = slot->team->phase;
    struct benchmark_result *result = &slot->team->worker->result;
    latency_add(&result->latencies, (uint64_t)(os_monotonic_ns(os_real()) - slot->start_ns) / 1000);
    result->completed++;
    result->bytes += bytes;
    atomic_fetch_add_explicit(&phase->completed, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&phase->bytes, bytes, memory_order_relaxed);
    if (atomic_load_explicit(&phase->failures_in_a_row, memory_order_relaxed))
        atomic_store_explicit(&phase->failures_in_a_row, 0, memory_order_relaxed);
}

static bool is_fine(const struct load_call *call)
{
    return call->code == 0 && call->status >= 200 && call->status <= 299;
}

/* `extra` is the header beyond Host and Authorization, with its line ends. `stamp` goes out with
 * the head, and zeros follow, until there are `length` bytes. */
static void send_blob(struct slot *slot, const char *server, const char *method, const char *path,
                      const char *extra, struct slice stamp, size_t length,
                      void (*done)(struct load_call *call))
{
    struct slice head = slice_of(slot->head, 0);
    int written = snprintf(slot->head, sizeof(slot->head) - STAMP_SIZE,
                           "%s /%s HTTP/1.1\r\nHost: %s\r\n%s%s%s%s\r\n", method, path, server,
                           *slot->authorization ? "Authorization: " : "", slot->authorization,
                           *slot->authorization ? "\r\n" : "", extra);
    CHECK(written > 0 && (size_t)written < sizeof(slot->head) - STAMP_SIZE);
    head.len = (size_t)written;
    if (stamp.len > 0)
        memcpy(slot->head + head.len, stamp.ptr, stamp.len);
    head.len += stamp.len;
    slot->call.server = server;
    slot->call.is_plain =
        server == slot->team->options->master && slot->team->options->is_master_plain;
    slot->call.head = head;
    slot->call.body = slice_of(slot->team->zeros, length - stamp.len);
    slot->call.done = done;
    load_client_send(slot->team->client, &slot->call);
}

static void send_request(struct slot *slot, const char *server, const char *method,
                         const char *path, void (*done)(struct load_call *call))
{
    send_blob(slot, server, method, path, "", SLICE(""), 0, done);
}

/* ---- Writing --------------------------------------------------------------------------------- */

static struct slot *slot_of(struct load_call *call)
{
    return (struct slot *)(void *)((char *)call - offsetof(struct slot, call));
}

static void list_blob(struct slot *slot)
{
    struct benchmark_phase *phase = slot->team->phase;
    size_t index = atomic_fetch_add_explicit(&phase->written_count, 1, memory_order_relaxed);
    snprintf(phase->written->items[index], BENCHMARK_FID_SIZE, "%.*s", BENCHMARK_FID_SIZE - 1,
             slot->fid);
}

static void on_deleted(struct load_call *call)
{
    struct slot *slot = slot_of(call);
    if (!is_fine(call)) {
        refuse(slot, "delete");
        return;
    }
    slot->team->worker->result.deleted++;
    begin(slot);
}

static void on_put(struct load_call *call)
{
    struct slot *slot = slot_of(call);
    struct team *team = slot->team;
    if (!is_fine(call)) {
        refuse(slot, "put");
        return;
    }
    count_success(slot, slot->length);
    if (draw(team) % 100 < (uint64_t)team->options->delete_percent) {
        send_request(slot, slot->server, "DELETE", slot->fid, on_deleted);
        return;
    }
    list_blob(slot);
    begin(slot);
}

static bool take_text(struct json_object *document, const char *key, char *ret, size_t size)
{
    struct json_object *value;
    if (!json_object_object_get_ex(document, key, &value))
        return false;
    int length = snprintf(ret, size, "%s", json_object_get_string(value));
    return length > 0 && (size_t)length < size;
}

static bool read_assignment(struct slot *slot)
{
    struct json_object *document = json_tokener_parse(slot->call.kept);
    bool is_whole = document && json_object_is_type(document, json_type_object) &&
                    take_text(document, "fid", slot->fid, sizeof(slot->fid)) &&
                    take_text(document, "url", slot->server, sizeof(slot->server));
    json_object_put(document);
    snprintf(slot->authorization, sizeof(slot->authorization), "%s", slot->call.authorization);
    return is_whole;
}

static void on_assigned(struct load_call *call);

static void assign(struct slot *slot)
{
    slot->authorization[0] = '\0';
    /* no file id yet: what messages name */
    snprintf(slot->fid, sizeof(slot->fid), "dir/assign");
    send_request(slot, slot->team->options->master, "GET", slot->team->assign_path, on_assigned);
}

static void on_pause_over(uv_timer_t *timer)
{
    assign(timer->data);
}

static void on_assigned(struct load_call *call)
{
    struct slot *slot = slot_of(call);
    struct team *team = slot->team;
    char extra[96], path[80];
    if (call->code == 0 && call->status == 503 && ++slot->attempts < GROWTH_ATTEMPTS) {
        uv_timer_start(&slot->pause, on_pause_over, GROWTH_PAUSE_MS, 0);
        return;
    }
    if (!is_fine(call) || !read_assignment(slot)) {
        refuse(slot, "assign");
        return;
    }
    slot->length = (size_t)team->options->size_bytes + draw(team) % BENCHMARK_PADDING_MAX;
    snprintf(extra, sizeof(extra),
             "Content-Type: application/octet-stream\r\nContent-Length: %zu\r\n", slot->length);
    snprintf(path, sizeof(path), "%s%s", slot->fid, team->options->is_durable ? "?fsync=true" : "");
    uint64_t stamp = draw(team);
    send_blob(slot, slot->server, "PUT", path, extra,
              slice_of(&stamp, slot->length < STAMP_SIZE ? slot->length : STAMP_SIZE), slot->length,
              on_put);
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void on_fetched(struct load_call *call);

static void on_token(struct load_call *call)
{
    struct slot *slot = slot_of(call);
    if (!is_fine(call) || !*call->authorization) {
        refuse(slot, "ask for a token");
        return;
    }
    memcpy(slot->authorization, call->authorization, sizeof(slot->authorization));
    send_request(slot, slot->server, "GET", slot->fid, on_fetched);
}

static void ask_for_token(struct slot *slot)
{
    char path[128];
    snprintf(path, sizeof(path), "dir/lookup?fileId=%.*s&read=yes", (int)strcspn(slot->fid, "_"),
             slot->fid);
    send_request(slot, slot->team->options->master, "GET", path, on_token);
}

static void on_fetched(struct load_call *call)
{
    struct slot *slot = slot_of(call);
    if (call->code == 0 && call->status == 401 && !*slot->authorization) {
        slot->team->wants_read_tokens = true;
        ask_for_token(slot);
    } else if (!is_fine(call)) {
        refuse(slot, "get");
    } else {
        count_success(slot, call->body_bytes);
        begin(slot);
    }
}

static void fetch(struct slot *slot)
{
    slot->authorization[0] = '\0';
    if (slot->team->wants_read_tokens)
        ask_for_token(slot);
    else
        send_request(slot, slot->server, "GET", slot->fid, on_fetched);
}

/* ---- The loop -------------------------------------------------------------------------------- */

static void on_slot_closed(uv_handle_t *handle)
{
    struct slot *slot = handle->data;
    struct team *team = slot->team;
    free(slot);
    if (--team->busy_slots == 0)
        load_client_stop(team->client);
}

/* False when it has failed already. */
static bool begin_read(struct slot *slot, int64_t i)
{
    struct team *team = slot->team;
    const struct fid_list *list = team->phase->to_read;
    size_t index = team->options->is_sequential ? (size_t)i : draw(team) % list->count;
    const struct benchmark_volume *volume =
        benchmark_volumes_find(team->phase->volumes, list->items[index]);
    if (volume->replicas.count == 0) {
        count_failure(slot, &volume->err);
        return false;
    }
    snprintf(slot->fid, sizeof(slot->fid), "%s", list->items[index]);
    snprintf(slot->server, sizeof(slot->server), "%s",
             volume->replicas.urls[draw(team) % volume->replicas.count]);
    fetch(slot);
    return true;
}

static bool begin_write(struct slot *slot)
{
    slot->attempts = 0;
    assign(slot);
    return true;
}

/* The slot's next blob; where none is left, its end. */
static void begin(struct slot *slot)
{
    struct benchmark_phase *phase = slot->team->phase;
    int64_t i;
    while (!atomic_load_explicit(slot->team->options->is_interrupted, memory_order_relaxed) &&
           !benchmark_has_given_up(phase) &&
           (i = atomic_fetch_add_explicit(&phase->next, 1, memory_order_relaxed)) < phase->total) {
        slot->start_ns = os_monotonic_ns(os_real());
        if (phase->to_read ? begin_read(slot, i) : begin_write(slot))
            return;
    }
    uv_close((uv_handle_t *)&slot->pause, on_slot_closed);
}

static char *assign_path(const struct benchmark_options *options)
{
    struct buffer path = BUFFER_INIT;
    const struct blob_place *place = &options->place;
    const char *const params[][2] = {{"collection", place->collection},
                                     {"replication", place->replication},
                                     {"disk", place->disk_type}};
    buffer_printf(&path, "dir/assign?dataSize=%lld", (long long)options->size_bytes);
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        if (!params[i][1] || !*params[i][1])
            continue;
        buffer_printf(&path, "&%s=", params[i][0]);
        url_encode_query(&path, slice_cstr(params[i][1]));
    }
    buffer_cstr(&path);
    return path.data; /* the caller's now */
}

void *benchmark_work(void *arg)
{
    struct benchmark_worker *worker = arg;
    struct benchmark_phase *phase = worker->phase;
    struct team team = {
        .worker = worker, .phase = phase, .options = phase->options, .seed = os_random(os_real())};
    struct error err;
    if (load_client_create(&team.client, phase->options->tls, &err) != 0) {
        worker->result.failures = 1;
        worker->result.first_error = err;
        return NULL;
    }
    team.zeros = must(calloc(1, (size_t)phase->options->size_bytes + BENCHMARK_PADDING_MAX));
    team.assign_path = assign_path(phase->options);
    team.busy_slots = worker->slot_count;
    for (int64_t i = 0; i < worker->slot_count; i++) {
        struct slot *slot = must(calloc(1, sizeof(*slot)));
        slot->team = &team;
        slot->pause.data = slot;
        uv_timer_init(load_client_uv(team.client), &slot->pause);
        begin(slot);
    }
    load_client_run(team.client);
    load_client_destroy(team.client);
    free(team.assign_path);
    free(team.zeros);
    return NULL;
}
