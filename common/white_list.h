/* A white list: which addresses may write, and call what changes things. Only the TCP peer counts.
 * Source: spec/master-http.md 1.2, spec/volume-http.md 6.1. Immutable; any thread. */
#pragma once

#include "common/error.h"

struct white_list;

/* Comma separated addresses and CIDRs. An empty text, or NULL, gives NULL, which admits everybody.
 * KELP_E_INVALID names an entry that is neither: a list that silently lost an entry would lock its
 * owner out. */
int white_list_create(struct white_list **ret, const char *text, struct error *err);
void white_list_destroy(struct white_list *list); /* NULL is fine */
/* `ip` without port and brackets; IPv4 in IPv6 clothes counts as IPv4, and no block of
 * IPv6 wider than a /96 covers it. */
bool white_list_admits(const struct white_list *list, const char *ip);
