/* A hash set of calls behind one lock. Ending a call under the lock is fine: its on_closed comes
 * from another stack. */
#include "master/stream_list.h"

#include "common/check.h"

#include <pthread.h>
#include <uthash.h>

struct stream_entry {
    struct rpc_call *call; /* the key, and a reference */
    UT_hash_handle hh;
};

struct stream_list {
    pthread_mutex_t lock;
    struct stream_entry *entries;
    bool is_closed;
};

struct stream_list *stream_list_create(void)
{
    struct stream_list *list = must(calloc(1, sizeof(*list)));
    pthread_mutex_init(&list->lock, NULL);
    return list;
}

void stream_list_destroy(struct stream_list *list)
{
    if (!list)
        return;
    CHECK(list->entries == NULL);
    pthread_mutex_destroy(&list->lock);
    free(list);
}

bool stream_list_add(struct stream_list *list, struct rpc_call *call)
{
    pthread_mutex_lock(&list->lock);
    bool is_open = !list->is_closed;
    if (is_open) {
        struct stream_entry *entry = must(calloc(1, sizeof(*entry)));
        rpc_call_ref(call);
        entry->call = call;
        HASH_ADD_PTR(list->entries, call, entry);
    }
    pthread_mutex_unlock(&list->lock);
    return is_open;
}

void stream_list_remove(struct stream_list *list, struct rpc_call *call)
{
    struct stream_entry *entry;
    pthread_mutex_lock(&list->lock);
    HASH_FIND_PTR(list->entries, &call, entry);
    if (entry)
        HASH_DEL(list->entries, entry);
    pthread_mutex_unlock(&list->lock);
    if (!entry)
        return;
    rpc_call_unref(entry->call);
    free(entry);
}

void stream_list_close(struct stream_list *list, const char *why)
{
    struct stream_entry *entry, *next;
    pthread_mutex_lock(&list->lock);
    list->is_closed = true;
    HASH_ITER(hh, list->entries, entry, next)
        rpc_call_fail(entry->call, RPC_UNAVAILABLE, "%s", why);
    pthread_mutex_unlock(&list->lock);
}
