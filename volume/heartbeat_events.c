/* A list behind one lock; the condition waits on the monotonic clock. */
#include "volume/heartbeat_events.h"

#include "common/check.h"

#include <errno.h>
#include <time.h>

uint64_t heartbeat_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void heartbeat_inbox_init(struct heartbeat_inbox *inbox)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&inbox->lock, NULL);
    pthread_cond_init(&inbox->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    inbox->first = NULL;
    inbox->last = &inbox->first;
    inbox->count = 0;
    inbox->has_dropped = false;
    inbox->is_stopping = false;
}

void heartbeat_event_destroy(struct heartbeat_event *event)
{
    if (!event)
        return;
    if (event->kind == HEARTBEAT_VOLUME_ADDED || event->kind == HEARTBEAT_VOLUME_REMOVED) {
        free(event->volume.collection);
        free(event->volume.disk_type);
    }
    if (event->response)
        master_pb__heartbeat_response__free_unpacked(event->response, NULL);
    free(event);
}

void heartbeat_inbox_fini(struct heartbeat_inbox *inbox)
{
    heartbeat_inbox_clear(inbox);
    pthread_mutex_destroy(&inbox->lock);
    pthread_cond_destroy(&inbox->wake);
}

static bool is_droppable(const struct heartbeat_event *event)
{
    return event->kind <= HEARTBEAT_STATE_CHANGED;
}

void heartbeat_inbox_put(struct heartbeat_inbox *inbox, struct heartbeat_event *event)
{
    event->next = NULL;
    pthread_mutex_lock(&inbox->lock);
    if (inbox->count >= HEARTBEAT_EVENTS_MAX && is_droppable(event)) {
        inbox->has_dropped = true;
    } else {
        *inbox->last = event;
        inbox->last = &event->next;
        inbox->count++;
        event = NULL;
    }
    pthread_cond_signal(&inbox->wake);
    pthread_mutex_unlock(&inbox->lock);
    heartbeat_event_destroy(event);
}

void heartbeat_inbox_stop(struct heartbeat_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    inbox->is_stopping = true;
    pthread_cond_signal(&inbox->wake);
    pthread_mutex_unlock(&inbox->lock);
}

bool heartbeat_inbox_is_stopping(struct heartbeat_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    bool is_stopping = inbox->is_stopping;
    pthread_mutex_unlock(&inbox->lock);
    return is_stopping;
}

static struct heartbeat_event *pop(struct heartbeat_inbox *inbox)
{
    struct heartbeat_event *event = inbox->first;
    if (!event)
        return NULL;
    inbox->first = event->next;
    if (!inbox->first)
        inbox->last = &inbox->first;
    inbox->count--;
    return event;
}

struct heartbeat_event *heartbeat_inbox_take(struct heartbeat_inbox *inbox, uint64_t deadline_ms,
                                             bool even_when_stopping, bool *ret_dropped)
{
    struct timespec until = {(time_t)(deadline_ms / 1000), (long)(deadline_ms % 1000) * 1000000};
    pthread_mutex_lock(&inbox->lock);
    int rc = 0;
    while (!inbox->first && (even_when_stopping || !inbox->is_stopping) && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&inbox->wake, &inbox->lock, &until);
    struct heartbeat_event *event =
        even_when_stopping || !inbox->is_stopping ? pop(inbox) : NULL;
    if (ret_dropped) {
        *ret_dropped = inbox->has_dropped;
        inbox->has_dropped = false;
    }
    pthread_mutex_unlock(&inbox->lock);
    return event;
}

struct heartbeat_event *heartbeat_inbox_take_if(struct heartbeat_inbox *inbox,
                                                enum heartbeat_event_kind kind)
{
    pthread_mutex_lock(&inbox->lock);
    struct heartbeat_event *event =
        inbox->first && inbox->first->kind == kind ? pop(inbox) : NULL;
    pthread_mutex_unlock(&inbox->lock);
    return event;
}

void heartbeat_inbox_clear(struct heartbeat_inbox *inbox)
{
    pthread_mutex_lock(&inbox->lock);
    struct heartbeat_event *event = inbox->first;
    inbox->first = NULL;
    inbox->last = &inbox->first;
    inbox->count = 0;
    inbox->has_dropped = false;
    pthread_mutex_unlock(&inbox->lock);
    while (event) {
        struct heartbeat_event *next = event->next;
        heartbeat_event_destroy(event);
        event = next;
    }
}
