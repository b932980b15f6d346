/* The server's own state: maintenance mode and its version, kept in state.pb in the index
 * directory of the first location. Source: spec/storage-format.md 21. Any thread. */
#pragma once

#include "common/os.h"

struct server_state;

/* A missing file is the initial state. KELP_E_CORRUPT when it cannot be read as one. */
int server_state_open(struct server_state **ret, struct os *os, const char *directory,
                      struct error *err);
void server_state_close(struct server_state *state); /* NULL is fine */

void server_state_get(struct server_state *state, bool *ret_maintenance, uint32_t *ret_version);
/* `version` must be the stored one; it grows by one, durably (blocks), before this returns.
 * KELP_E_PRECONDITION with the wire's text when it is another. */
int server_state_set(struct server_state *state, bool maintenance, uint32_t version,
                     struct error *err);
