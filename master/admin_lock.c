/* A table from name to holder. A lease that has run out counts as not held, whoever comes: also its
 * old holder gets a fresh one. Any thread; one lock. */
#include "master/admin_lock.h"

#include "common/check.h"

#include <pthread.h>
#include <string.h>
#include <uthash.h>

struct admin_lock {
    char *name; /* the key */
    char client[ADMIN_LOCK_CLIENT_SIZE];
    struct admin_lease lease;
    UT_hash_handle hh;
};

struct admin_locks {
    pthread_mutex_t lock;
    struct admin_lock *by_name;
};

struct admin_locks *admin_locks_create(void)
{
    struct admin_locks *locks = must(calloc(1, sizeof(*locks)));
    pthread_mutex_init(&locks->lock, NULL);
    return locks;
}

static void forget(struct admin_locks *locks, struct admin_lock *lock)
{
    HASH_DEL(locks->by_name, lock);
    free(lock->name);
    free(lock);
}

void admin_locks_destroy(struct admin_locks *locks)
{
    if (!locks)
        return;
    struct admin_lock *lock, *next;
    HASH_ITER(hh, locks->by_name, lock, next)
        forget(locks, lock);
    pthread_mutex_destroy(&locks->lock);
    free(locks);
}

static bool is_alive(const struct admin_lock *lock, int64_t now_ns)
{
    return now_ns < lock->lease.time_ns + ADMIN_LOCK_LIFE_NS;
}

static void forget_expired(struct admin_locks *locks, int64_t now_ns)
{
    struct admin_lock *lock, *next;
    HASH_ITER(hh, locks->by_name, lock, next)
        if (!is_alive(lock, now_ns))
            forget(locks, lock);
}

static struct admin_lock *find(struct admin_locks *locks, const char *name)
{
    struct admin_lock *lock;
    HASH_FIND_STR(locks->by_name, name, lock);
    return lock;
}

static bool is_holder(const struct admin_lock *lock, struct admin_lease claim)
{
    return claim.token != 0 && claim.token == lock->lease.token &&
           claim.time_ns == lock->lease.time_ns;
}

static int lease_locked(struct admin_locks *locks, const char *name, const char *client,
                        struct admin_lease previous, int64_t now_ns, uint64_t chance,
                        struct admin_lease *ret, struct error *err)
{
    struct admin_lock *lock = find(locks, name);
    if (lock && is_alive(lock, now_ns) && !is_holder(lock, previous))
        /* The text after the colon would be the holder's message; the peer never keeps one. */
        return error_set(err, KELP_E_UNKNOWN, "already locked by %s: ", lock->client);
    if (!lock) {
        if (HASH_COUNT(locks->by_name) >= ADMIN_LOCK_MAX)
            forget_expired(locks, now_ns);
        if (HASH_COUNT(locks->by_name) >= ADMIN_LOCK_MAX)
            return error_set(err, KELP_E_LIMIT,
                             "%u admin locks are held already; release one first", ADMIN_LOCK_MAX);
        lock = must(calloc(1, sizeof(*lock)));
        lock->name = must(strdup(name));
        HASH_ADD_KEYPTR(hh, locks->by_name, lock->name, strlen(lock->name), lock);
    }
    /* Zeroed first: it is copied whole. */
    memset(lock->client, 0, sizeof(lock->client));
    snprintf(lock->client, sizeof(lock->client), "%s", client);
    int64_t token = (int64_t)(chance >> 1);
    /* 0 means "no token" on the wire. */
    lock->lease = (struct admin_lease){.token = token ? token : 1, .time_ns = now_ns};
    *ret = lock->lease;
    return 0;
}

int admin_lock_lease(struct admin_locks *locks, const char *name, const char *client,
                     struct admin_lease previous, int64_t now_ns, uint64_t chance,
                     struct admin_lease *ret, struct error *err)
{
    pthread_mutex_lock(&locks->lock);
    int code = lease_locked(locks, name, client, previous, now_ns, chance, ret, err);
    pthread_mutex_unlock(&locks->lock);
    return code;
}

bool admin_lock_release(struct admin_locks *locks, const char *name, struct admin_lease held,
                        char client[ADMIN_LOCK_CLIENT_SIZE])
{
    pthread_mutex_lock(&locks->lock);
    struct admin_lock *lock = find(locks, name);
    bool is_released = lock && is_holder(lock, held);
    if (is_released) {
        memcpy(client, lock->client, ADMIN_LOCK_CLIENT_SIZE);
        forget(locks, lock);
    }
    pthread_mutex_unlock(&locks->lock);
    return is_released;
}

bool admin_lock_is_held(struct admin_locks *locks, const char *name, int64_t now_ns,
                        char client[ADMIN_LOCK_CLIENT_SIZE])
{
    client[0] = '\0';
    pthread_mutex_lock(&locks->lock);
    struct admin_lock *lock = find(locks, name);
    bool is_held = lock && is_alive(lock, now_ns);
    if (is_held)
        memcpy(client, lock->client, ADMIN_LOCK_CLIENT_SIZE);
    pthread_mutex_unlock(&locks->lock);
    return is_held;
}
