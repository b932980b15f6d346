/* The heartbeat's inbox: what happens elsewhere, in the order in which it happened. Bounded: deltas
 * beyond HEARTBEAT_EVENTS_MAX are dropped, and the next beat is a full one instead. Any thread. */
#pragma once

#include "common/error.h"
#include "proto/master.pb-c.h"

#include <pthread.h>

#define HEARTBEAT_EVENTS_MAX 4096u

enum heartbeat_event_kind {
    HEARTBEAT_VOLUME_ADDED,
    HEARTBEAT_VOLUME_REMOVED,
    HEARTBEAT_STATE_CHANGED,
    HEARTBEAT_OPENED,   /* the master has answered the stream */
    HEARTBEAT_RESPONSE,
    HEARTBEAT_CLOSED,
};

struct heartbeat_event {
    struct heartbeat_event *next;
    enum heartbeat_event_kind kind;
    MasterPb__VolumeShortInformationMessage volume; /* its strings are owned */
    uint64_t max_key; /* of that volume */
    MasterPb__HeartbeatResponse *response;          /* owned */
    struct error err;
};

struct heartbeat_inbox {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct heartbeat_event *first, **last;
    size_t count;
    bool has_dropped;
    bool is_stopping;
};

void heartbeat_inbox_init(struct heartbeat_inbox *inbox);
void heartbeat_inbox_fini(struct heartbeat_inbox *inbox);
/* Takes over `event` (malloc'd). */
void heartbeat_inbox_put(struct heartbeat_inbox *inbox, struct heartbeat_event *event);
/* No more waiting: heartbeat_inbox_take answers at once from now on. */
void heartbeat_inbox_stop(struct heartbeat_inbox *inbox);
bool heartbeat_inbox_is_stopping(struct heartbeat_inbox *inbox);
/* The next event, or NULL when deadline_ms (heartbeat_clock_ms) has come, or when stopping unless
 * `even_when_stopping`. *ret_dropped tells once that deltas were lost. */
struct heartbeat_event *heartbeat_inbox_take(struct heartbeat_inbox *inbox, uint64_t deadline_ms,
                                             bool even_when_stopping, bool *ret_dropped);
/* The next event if it is of this kind and there already. */
struct heartbeat_event *heartbeat_inbox_take_if(struct heartbeat_inbox *inbox,
                                                enum heartbeat_event_kind kind);
void heartbeat_inbox_clear(struct heartbeat_inbox *inbox);
void heartbeat_event_destroy(struct heartbeat_event *event); /* NULL is fine */

uint64_t heartbeat_clock_ms(void);
