/* The whitelist: who may write and call what changes things. Pure; any thread.
 * Source: spec/volume-http.md 6.1. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

struct guard;

/* "192.0.2.1, 10.0.0.0/8,2001:db8::/32,localhost": addresses, CIDR blocks, or names that are compared as
 * text. An empty list lets everybody in. Bad blocks are skipped; their number goes to *ret_skipped (may
 * be NULL). */
int guard_create(struct guard **ret, const char *list, size_t *ret_skipped, struct error *err);
void guard_destroy(struct guard *guard); /* NULL is fine */
/* `ip` without port and brackets. A NULL guard allows all. */
bool guard_allows(const struct guard *guard, const char *ip);
bool guard_is_open(const struct guard *guard); /* no entries */
