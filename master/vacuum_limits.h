/* Counted limits by name: how many vacuum jobs are at work on a server, or in a layout. The
 * caller's lock guards them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vacuum_limit;
struct vacuum_limit_table {
    struct vacuum_limit *by_name;
};

/* What one job needs a unit of. */
struct vacuum_claim {
    struct vacuum_limit **limits;
    size_t count;
};

/* Adds a need; the same name twice counts once. The limit's size is set by its first user. */
void vacuum_claim_add(struct vacuum_limit_table *table, struct vacuum_claim *claim,
                      const char *name, uint32_t size);
/* Takes one unit of each, or none. */
bool vacuum_claim_take(struct vacuum_claim *claim);
void vacuum_claim_give_back(struct vacuum_claim *claim);
/* Not while taken. Limits that nobody claims are forgotten. */
void vacuum_claim_fini(struct vacuum_limit_table *table, struct vacuum_claim *claim);
