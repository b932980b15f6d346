/* The heartbeat's thread: finds the leader, opens the stream, tells what there is to tell.
 * Everything here runs on that thread, but for the callbacks of the stream and of the store,
 * which only put an event into the inbox. */
#include "volume/heartbeat_internal.h"

#include "common/check.h"
#include "common/log.h"
#include "common/rpc_client.h"

#include <string.h>

#define SEND_HEARTBEAT     "/master_pb.Seaweed/SendHeartbeat"
#define PULSE_MS           5000u
#define EC_BEAT_PULSES     17u
#define FAREWELL_MS        2000u
#define DUPLICATES_ALLOWED 3u

enum stream_end { STREAM_LOST, STREAM_REDIRECTED, STREAM_REFUSED, STREAM_LEFT };

/* ---- what happens elsewhere ---- */

static struct heartbeat_event *make_event(enum heartbeat_event_kind kind)
{
    struct heartbeat_event *event = must(calloc(1, sizeof(*event)));
    event->kind = kind;
    return event;
}

static void put_volume(struct heartbeat *heartbeat, enum heartbeat_event_kind kind,
                       const struct disk_location *location, struct volume *volume)
{
    struct volume_stat stat;
    volume_stat(volume, &stat);
    struct heartbeat_event *event = make_event(kind);
    MasterPb__VolumeInformationMessage whole;
    heartbeat_describe(&whole, volume_id(volume), volume_collection(volume),
                       disk_location_disk_type(location), disk_location_id(location), &stat);
    heartbeat_describe_short(&event->volume, &whole);
    event->volume.collection = must(strdup(whole.collection));
    event->volume.disk_type = must(strdup(whole.disk_type));
    event->max_key = stat.is_data_missing ? 0 : stat.max_key;
    heartbeat_inbox_put(&heartbeat->inbox, event);
}

void heartbeat_volume_added(struct heartbeat *heartbeat, const struct disk_location *location,
                            struct volume *volume)
{
    put_volume(heartbeat, HEARTBEAT_VOLUME_ADDED, location, volume);
}

void heartbeat_volume_removed(struct heartbeat *heartbeat, const struct disk_location *location,
                              struct volume *volume)
{
    put_volume(heartbeat, HEARTBEAT_VOLUME_REMOVED, location, volume);
}

void heartbeat_state_changed(struct heartbeat *heartbeat)
{
    heartbeat_inbox_put(&heartbeat->inbox, make_event(HEARTBEAT_STATE_CHANGED));
}

static void on_open(struct rpc_stream *stream, void *ctx)
{
    struct heartbeat *heartbeat = ctx;
    heartbeat_inbox_put(&heartbeat->inbox, make_event(HEARTBEAT_OPENED));
}

static void on_message(struct rpc_stream *stream, const ProtobufCMessage *message, void *ctx)
{
    struct heartbeat *heartbeat = ctx;
    /* The message is the stream's; a copy goes into the inbox by way of its bytes. */
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *bytes = must(malloc(size + 1));
    protobuf_c_message_pack(message, bytes);
    struct heartbeat_event *event = make_event(HEARTBEAT_RESPONSE);
    event->response = master_pb__heartbeat_response__unpack(NULL, size, bytes);
    free(bytes);
    CHECK(event->response != NULL);
    heartbeat_inbox_put(&heartbeat->inbox, event);
}

static void on_closed(struct rpc_stream *stream, enum rpc_status status, const struct error *err,
                      void *ctx)
{
    struct heartbeat *heartbeat = ctx;
    struct heartbeat_event *event = make_event(HEARTBEAT_CLOSED);
    if (err)
        event->err = *err;
    else
        error_set(&event->err, KELP_E_UNAVAILABLE, "the master ended the stream");
    rpc_stream_ref(stream); /* let go of by the thread when it takes the event */
    heartbeat_inbox_put(&heartbeat->inbox, event);
}

/* ---- the master ---- */

bool heartbeat_master(struct heartbeat *heartbeat, struct address *ret)
{
    pthread_mutex_lock(&heartbeat->master_lock);
    bool has_master = heartbeat->has_master;
    if (has_master)
        *ret = heartbeat->master;
    pthread_mutex_unlock(&heartbeat->master_lock);
    return has_master;
}

bool heartbeat_is_connected(struct heartbeat *heartbeat)
{
    pthread_mutex_lock(&heartbeat->master_lock);
    bool is_connected = heartbeat->is_connected;
    pthread_mutex_unlock(&heartbeat->master_lock);
    return is_connected;
}

static void note_connected(struct heartbeat *heartbeat, bool is_connected)
{
    pthread_mutex_lock(&heartbeat->master_lock);
    bool has_changed = heartbeat->is_connected != is_connected;
    heartbeat->is_connected = is_connected;
    if (is_connected) {
        heartbeat->master = heartbeat->peer;
        heartbeat->has_master = true;
    }
    pthread_mutex_unlock(&heartbeat->master_lock);
    char text[ADDRESS_TEXT_SIZE];
    address_format(&heartbeat->peer, text);
    if (is_connected && has_changed) {
        log_info("heartbeat connected", "master=%s", text);
        heartbeat->has_complained = false;
    }
}

static void complain(struct heartbeat *heartbeat, const char *why)
{
    char text[ADDRESS_TEXT_SIZE];
    address_format(&heartbeat->peer, text);
    if (heartbeat->config.on_lost)
        heartbeat->config.on_lost(heartbeat->config.ctx, text);
    if (heartbeat->has_complained)
        return;
    log_warning("heartbeat lost",
                "master=%s error=\"%s\" next=\"trying again until a master answers\"", text, why);
    heartbeat->has_complained = true;
}

/* ---- answers ---- */

/* Spec 7, in its order. True when the stream shall end. */
static bool take_response(struct heartbeat *heartbeat, const MasterPb__HeartbeatResponse *response,
                          enum stream_end *ret_end)
{
    struct store *store = heartbeat->config.store;
    if (response->n_duplicated_uuids > 0) {
        for (size_t i = 0; i < response->n_duplicated_uuids; i++)
            log_error("directory is served twice",
                      "uuid=%s effect=\"the master refuses this server; if the directory was "
                      "copied, remove its vol_dir.uuid\"",
                      response->duplicated_uuids[i]);
        *ret_end = STREAM_REFUSED;
        return true;
    }
    uint64_t limit = response->volume_size_limit ? response->volume_size_limit
                                                 : store_volume_size_limit(store);
    if (store_set_limits(store, limit, response->preallocate))
        heartbeat_send_volumes(heartbeat);
    if (response->volume_digest_supported)
        heartbeat_memory_accept(heartbeat->memory);
    if (response->resend_full_volume_list)
        heartbeat_memory_request_full(heartbeat->memory);
    if (response->leader[0] != '\0') {
        struct address leader;
        if (address_parse(slice_cstr(response->leader), &leader, NULL) == 0 &&
            !address_equals(&leader, &heartbeat->peer)) {
            heartbeat->redirect = leader;
            heartbeat->has_redirect = true;
            *ret_end = STREAM_REDIRECTED;
            return true;
        }
    }
    return false;
}

/* ---- one stream ---- */

static int open_stream(struct heartbeat *heartbeat)
{
    static const struct rpc_stream_ops ops = {on_open, on_message, on_closed};
    char address[ADDRESS_TEXT_SIZE];
    address_format_grpc(&heartbeat->peer, address);
    heartbeat_memory_reset(heartbeat->memory);
    heartbeat_inbox_clear(&heartbeat->inbox);
    struct error err = {0};
    int code = rpc_stream_open(heartbeat->config.client, address, SEND_HEARTBEAT,
                               &master_pb__heartbeat_response__descriptor, 0, &ops, heartbeat,
                               &heartbeat->stream, &err);
    if (code)
        complain(heartbeat, err.message);
    return code;
}

/* Cancels unless `is_over`, and waits for the end, so that nothing of it is left in the inbox. */
static void close_stream(struct heartbeat *heartbeat, bool is_over)
{
    if (!is_over) {
        rpc_stream_cancel(heartbeat->stream);
        for (bool is_closed = false; !is_closed;) {
            struct heartbeat_event *event = heartbeat_inbox_take(
                &heartbeat->inbox, heartbeat_clock_ms() + 60000, true, NULL);
            is_closed = event && event->kind == HEARTBEAT_CLOSED;
            heartbeat_event_destroy(event);
        }
    }
    rpc_stream_unref(heartbeat->stream);
    heartbeat->stream = NULL;
    note_connected(heartbeat, false);
}

/* Returns whether the master has closed the stream, as it does on a half-close. */
static bool say_farewell(struct heartbeat *heartbeat)
{
    heartbeat_send_farewell(heartbeat);
    uint64_t deadline = heartbeat_clock_ms() + FAREWELL_MS;
    while (heartbeat_clock_ms() < deadline) {
        struct heartbeat_event *event =
            heartbeat_inbox_take(&heartbeat->inbox, deadline, true, NULL);
        bool is_closed = event && event->kind == HEARTBEAT_CLOSED;
        heartbeat_event_destroy(event);
        if (is_closed)
            return true;
    }
    return false;
}

/* True when the stream shall end; *ret_is_over when it has. */
static bool handle_event(struct heartbeat *heartbeat, struct heartbeat_event *event,
                         enum stream_end *ret_end, bool *ret_is_over)
{
    bool is_end = false;
    switch (event->kind) {
    case HEARTBEAT_VOLUME_ADDED:
    case HEARTBEAT_VOLUME_REMOVED:
        heartbeat_send_delta(heartbeat, event);
        return false;
    case HEARTBEAT_STATE_CHANGED:
        heartbeat_send_state(heartbeat);
        break;
    case HEARTBEAT_OPENED:
        note_connected(heartbeat, true);
        break;
    case HEARTBEAT_RESPONSE:
        note_connected(heartbeat, true);
        is_end = take_response(heartbeat, event->response, ret_end);
        break;
    case HEARTBEAT_CLOSED:
        complain(heartbeat, event->err.message);
        *ret_end = STREAM_LOST;
        *ret_is_over = true;
        is_end = true;
        break;
    }
    heartbeat_event_destroy(event);
    return is_end;
}

static enum stream_end run_stream(struct heartbeat *heartbeat)
{
    if (open_stream(heartbeat))
        return STREAM_LOST;
    heartbeat_send_volumes(heartbeat);
    heartbeat_send_ec(heartbeat);
    heartbeat_send_state(heartbeat);

    enum stream_end end = STREAM_LOST;
    bool is_over = false;
    uint64_t next_tick = heartbeat_clock_ms() + heartbeat->pulse_ms;
    for (uint64_t ticks = 0;;) {
        bool has_dropped;
        struct heartbeat_event *event =
            heartbeat_inbox_take(&heartbeat->inbox, next_tick, false, &has_dropped);
        if (has_dropped)
            heartbeat_memory_request_full(heartbeat->memory);
        if (event) {
            if (handle_event(heartbeat, event, &end, &is_over))
                break;
        } else if (heartbeat_inbox_is_stopping(&heartbeat->inbox)) {
            is_over = say_farewell(heartbeat);
            end = STREAM_LEFT;
            break;
        }
        uint64_t now = heartbeat_clock_ms();
        if (now >= next_tick) {
            heartbeat_send_volumes(heartbeat);
            if (++ticks % EC_BEAT_PULSES == 0)
                heartbeat_send_ec(heartbeat);
            next_tick = now + heartbeat->pulse_ms;
        }
    }
    close_stream(heartbeat, is_over);
    return end;
}

/* ---- the search for a leader ---- */

/* False when told to leave meanwhile. What comes in is of no use without a stream. */
static bool wait_ms(struct heartbeat *heartbeat, uint64_t ms)
{
    uint64_t deadline = heartbeat_clock_ms() + ms;
    while (heartbeat_clock_ms() < deadline && !heartbeat_inbox_is_stopping(&heartbeat->inbox))
        heartbeat_event_destroy(heartbeat_inbox_take(&heartbeat->inbox, deadline, false, NULL));
    return !heartbeat_inbox_is_stopping(&heartbeat->inbox);
}

/* False when refused for good. */
static bool wait_after_refusal(struct heartbeat *heartbeat)
{
    if (++heartbeat->refusals > DUPLICATES_ALLOWED) {
        struct error err = {0};
        error_set(&err, KELP_E_EXISTS,
                  "the master says that another server serves the same data directory: stop that "
                  "one, or remove vol_dir.uuid if the directory was copied");
        heartbeat->config.on_refused(heartbeat->config.ctx, &err);
        return false;
    }
    /* 2, 4, 8 s at the default pulse: an entry of our own last stream may not be cleaned up yet. */
    wait_ms(heartbeat, (uint64_t)heartbeat->pulse_ms * 2 / 5 << (heartbeat->refusals - 1));
    return true;
}

static void *heartbeat_main(void *arg)
{
    struct heartbeat *heartbeat = arg;
    for (size_t seed = 0; !heartbeat_inbox_is_stopping(&heartbeat->inbox);
         seed = (seed + 1) % heartbeat->config.master_count) {
        heartbeat->peer = heartbeat->masters[seed];
        if (heartbeat->has_redirect) {
            heartbeat->peer = heartbeat->redirect;
            heartbeat->has_redirect = false;
            if (!wait_ms(heartbeat, (uint64_t)heartbeat->pulse_ms * 3 / 5))
                break;
        }
        enum stream_end end = run_stream(heartbeat);
        if (end == STREAM_LEFT)
            break;
        if (end == STREAM_REFUSED) {
            if (!wait_after_refusal(heartbeat))
                break;
            continue;
        }
        if (end == STREAM_LOST) {
            heartbeat->refusals = 0;
            wait_ms(heartbeat, heartbeat->pulse_ms);
        }
    }
    /* Whatever is still told has no reader any more. */
    heartbeat_inbox_clear(&heartbeat->inbox);
    return NULL;
}

/* ---- life ---- */

int heartbeat_create(struct heartbeat **ret, const struct heartbeat_config *config,
                     struct error *err)
{
    if (config->master_count == 0)
        return error_set(err, KELP_E_INVALID, "no master: name at least one with -master");
    struct heartbeat *heartbeat = must(calloc(1, sizeof(*heartbeat)));
    heartbeat->config = *config;
    heartbeat->pulse_ms = config->pulse_ms ? config->pulse_ms : PULSE_MS;
    heartbeat->masters = must(calloc(config->master_count, sizeof(*heartbeat->masters)));
    memcpy(heartbeat->masters, config->masters, config->master_count * sizeof(*config->masters));
    heartbeat->memory = heartbeat_memory_create();
    heartbeat_inbox_init(&heartbeat->inbox);
    pthread_mutex_init(&heartbeat->leave_lock, NULL);
    pthread_mutex_init(&heartbeat->master_lock, NULL);
    *ret = heartbeat;
    return 0;
}

int heartbeat_begin(struct heartbeat *heartbeat, struct error *err)
{
    pthread_mutex_lock(&heartbeat->leave_lock);
    int rc = 0;
    if (!atomic_load(&heartbeat->has_left)) {
        rc = pthread_create(&heartbeat->thread, NULL, heartbeat_main, heartbeat);
        heartbeat->is_running = rc == 0;
    }
    if (heartbeat->is_running)
        pthread_setname_np(heartbeat->thread, "heartbeat");
    pthread_mutex_unlock(&heartbeat->leave_lock);
    return rc ? error_set_errno(err, rc, "start the heartbeat") : 0;
}

void heartbeat_leave(struct heartbeat *heartbeat)
{
    atomic_store(&heartbeat->has_left, true);
    heartbeat_inbox_stop(&heartbeat->inbox);
    pthread_mutex_lock(&heartbeat->leave_lock);
    if (heartbeat->is_running)
        pthread_join(heartbeat->thread, NULL);
    heartbeat->is_running = false;
    pthread_mutex_unlock(&heartbeat->leave_lock);
}

bool heartbeat_has_left(const struct heartbeat *heartbeat)
{
    return atomic_load(&heartbeat->has_left);
}

void heartbeat_destroy(struct heartbeat *heartbeat)
{
    if (!heartbeat)
        return;
    CHECK(!heartbeat->is_running);
    heartbeat_inbox_fini(&heartbeat->inbox);
    heartbeat_memory_destroy(heartbeat->memory);
    pthread_mutex_destroy(&heartbeat->leave_lock);
    pthread_mutex_destroy(&heartbeat->master_lock);
    free(heartbeat->masters);
    free(heartbeat);
}
