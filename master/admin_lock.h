/* The locks that shells and admin servers hold while they change the cluster: spec/master-rpc.md
 * 17.
 *
 * Leases of ADMIN_LOCK_LIFE_NS each, renewed with the token and time of the last answer. They live
 * in memory only. Time and tokens come from the caller, so that tests need no clock. Any thread;
 * one lock inside. */
#pragma once

#include "common/error.h"

#include <stdint.h>

#define ADMIN_LOCK_LIFE_NS (10 * INT64_C(1000000000))
/* Names that can be leased at the same time; expired ones make room. */
#define ADMIN_LOCK_MAX 1024u

struct admin_locks;

struct admin_lease {
    int64_t token;
    int64_t time_ns;
};

struct admin_locks *admin_locks_create(void);
void admin_locks_destroy(struct admin_locks *locks);

/* Grants or renews: *ret is the new pair to use next time. `chance` is any random number, the token
 * is made of it. Held by another: KELP_E_UNKNOWN, "already locked by <client>: ". */
int admin_lock_lease(struct admin_locks *locks, const char *name, const char *client,
                     struct admin_lease previous, int64_t now_ns, uint64_t chance,
                     struct admin_lease *ret, struct error *err);

#define ADMIN_LOCK_CLIENT_SIZE 256
/* Lets go when token and time are those of the holder, who is told; otherwise nothing happens. */
bool admin_lock_release(struct admin_locks *locks, const char *name, struct admin_lease held,
                        char client[ADMIN_LOCK_CLIENT_SIZE]);
/* Whether it is held now, and by whom ("" when not). */
bool admin_lock_is_held(struct admin_locks *locks, const char *name, int64_t now_ns,
                        char client[ADMIN_LOCK_CLIENT_SIZE]);
