/* The inside of the heartbeat: heartbeat.c (its life, the stream, the search for a leader) and
 * heartbeat_send.c (what is sent when). */
#pragma once

#include "volume/heartbeat.h"
#include "volume/heartbeat_events.h"

#include <pthread.h>
#include <stdatomic.h>

struct rpc_stream;

struct heartbeat {
    struct heartbeat_config config;
    struct address *masters;
    uint32_t pulse_ms;
    pthread_t thread;
    pthread_mutex_t leave_lock;
    bool is_running; /* leave_lock */
    atomic_bool has_left;
    struct heartbeat_inbox inbox;

    pthread_mutex_t master_lock;
    struct address master; /* master_lock, as all down to the blank line */
    bool has_master;
    bool is_connected;

    /* The thread's own. */
    struct heartbeat_memory *memory;
    struct rpc_stream *stream;
    struct address peer; /* whom the stream goes to */
    struct address redirect;
    bool has_redirect;
    bool has_complained; /* one line per outage, not one per attempt */
    unsigned refusals;
};

/* All on the heartbeat's thread, with a stream open. */
void heartbeat_send_volumes(struct heartbeat *heartbeat);
void heartbeat_send_ec(struct heartbeat *heartbeat);
void heartbeat_send_state(struct heartbeat *heartbeat);
void heartbeat_send_farewell(struct heartbeat *heartbeat);
/* Takes over the event, and those of its kind that wait right behind it. */
void heartbeat_send_delta(struct heartbeat *heartbeat, struct heartbeat_event *event);
