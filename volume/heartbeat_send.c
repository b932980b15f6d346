/* Beats on their way out. Each is built anew in an arena and packed by the stream before the arena
 * goes. The heartbeat's thread. */
#include "volume/heartbeat_internal.h"

#include "common/log.h"
#include "common/rpc_client.h"

static void send_beat(struct heartbeat *heartbeat, const MasterPb__Heartbeat *beat)
{
    /* A master that reads nothing any more: the stream is given up, a new one starts with
     * everything. */
    if (rpc_stream_send(heartbeat->stream, &beat->base) == KELP_E_LIMIT)
        rpc_stream_cancel(heartbeat->stream);
}

void heartbeat_send_volumes(struct heartbeat *heartbeat)
{
    const struct heartbeat_config *config = &heartbeat->config;
    struct arena arena;
    arena_init(&arena);
    MasterPb__Heartbeat beat;
    struct heartbeat_expired expired;
    store_resize_automatic(config->store);
    heartbeat_beat_volumes(config->identity, config->store, config->state, heartbeat->memory,
                           &arena, &beat, &expired);
    send_beat(heartbeat, &beat);
    for (size_t i = 0; i < expired.count; i++) {
        struct error err = {0};
        if (store_delete_volume(config->store, expired.ids[i], STORE_DELETE_ALWAYS, &err))
            log_warning("expired volume not deleted", "volume=%u error=\"%s\"", expired.ids[i],
                        err.message);
        else
            log_info("expired volume deleted", "volume=%u", expired.ids[i]);
    }
    arena_fini(&arena);
}

void heartbeat_send_ec(struct heartbeat *heartbeat)
{
    MasterPb__Heartbeat beat;
    master_pb__heartbeat__init(&beat);
    beat.has_no_ec_shards = true;
    send_beat(heartbeat, &beat);
}

void heartbeat_send_state(struct heartbeat *heartbeat)
{
    struct arena arena;
    arena_init(&arena);
    MasterPb__Heartbeat beat;
    heartbeat_beat_brief(heartbeat->config.identity, &beat);
    heartbeat_beat_add_state(heartbeat->config.state, &arena, &beat);
    send_beat(heartbeat, &beat);
    arena_fini(&arena);
}

/* Everything of one kind that waits in a row goes into one beat. */
void heartbeat_send_delta(struct heartbeat *heartbeat, struct heartbeat_event *event)
{
    enum heartbeat_event_kind kind = event->kind;
    struct arena arena;
    arena_init(&arena);
    struct heartbeat_event *sent = event;
    event->next = NULL;
    size_t count = 1;
    for (struct heartbeat_event *more;
         (more = heartbeat_inbox_take_if(&heartbeat->inbox, kind)) != NULL; count++) {
        more->next = sent;
        sent = more;
    }
    MasterPb__VolumeShortInformationMessage **list = arena_alloc(&arena, count * sizeof(*list));
    size_t i = count;
    uint64_t max_key = 0;
    for (struct heartbeat_event *e = sent; e; e = e->next) {
        max_key = e->max_key > max_key ? e->max_key : max_key;
        list[--i] = &e->volume;
        heartbeat_memory_forget(heartbeat->memory, e->volume.disk_id, e->volume.id);
    }
    MasterPb__Heartbeat beat;
    heartbeat_beat_brief(heartbeat->config.identity, &beat);
    if (kind == HEARTBEAT_VOLUME_ADDED) {
        beat.new_volumes = list;
        beat.n_new_volumes = count;
        /* The master may hand out keys of these volumes before the next full beat. */
        beat.max_file_key = max_key;
    } else {
        beat.deleted_volumes = list;
        beat.n_deleted_volumes = count;
    }
    send_beat(heartbeat, &beat);
    while (sent) {
        struct heartbeat_event *next = sent->next;
        heartbeat_event_destroy(sent);
        sent = next;
    }
    arena_fini(&arena);
}

void heartbeat_send_farewell(struct heartbeat *heartbeat)
{
    MasterPb__Heartbeat beat;
    heartbeat_beat_farewell(heartbeat->config.identity, &beat);
    send_beat(heartbeat, &beat);
    rpc_stream_half_close(heartbeat->stream);
}
