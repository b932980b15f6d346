/* The guard: who may write, and call what changes things. Immutable; any thread.
 * Source: spec/volume-http.md 6.1. */
#pragma once

#include "common/error.h"

struct guard;

/* "192.0.2.1, 10.0.0.0/8,2001:db8::/32,localhost": addresses, CIDR blocks, or names that are
 * compared as text. NULL and "" let everybody in. Blocks that do not parse are skipped, as the
 * peer does, and counted in *ret_skipped (may be NULL); a list of nothing but bad blocks lets
 * nobody in. */
int guard_create(struct guard **ret, const char *list, size_t *ret_skipped, struct error *err);
void guard_destroy(struct guard *guard); /* NULL is fine */
/* `ip` as rpc_call_peer_ip and http_request_peer_ip give it; an IPv4 address in IPv6 clothes
 * counts as IPv4. A NULL guard allows all. */
bool guard_allows(const struct guard *guard, const char *ip);
bool guard_is_open(const struct guard *guard); /* lets everybody in */
