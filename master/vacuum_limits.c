/* Limits are shared by all claims that name them and live as long as one does. */
#include "master/vacuum_limits.h"

#include "common/check.h"

#include <string.h>
#include <uthash.h>

struct vacuum_limit {
    char *name; /* the key */
    uint32_t size, taken;
    size_t claims;
    UT_hash_handle hh;
};

void vacuum_claim_add(struct vacuum_limit_table *table, struct vacuum_claim *claim,
                      const char *name, uint32_t size)
{
    struct vacuum_limit *limit;
    HASH_FIND_STR(table->by_name, name, limit);
    for (size_t i = 0; i < claim->count; i++)
        if (claim->limits[i] == limit)
            return;
    if (!limit) {
        limit = must(calloc(1, sizeof(*limit)));
        limit->name = must(strdup(name));
        limit->size = size > 0 ? size : 1;
        HASH_ADD_KEYPTR(hh, table->by_name, limit->name, strlen(limit->name), limit);
    }
    limit->claims++;
    claim->limits = must(realloc(claim->limits, (claim->count + 1) * sizeof(void *)));
    claim->limits[claim->count++] = limit;
}

bool vacuum_claim_take(struct vacuum_claim *claim)
{
    for (size_t i = 0; i < claim->count; i++)
        if (claim->limits[i]->taken >= claim->limits[i]->size)
            return false;
    for (size_t i = 0; i < claim->count; i++)
        claim->limits[i]->taken++;
    return true;
}

void vacuum_claim_give_back(struct vacuum_claim *claim)
{
    for (size_t i = 0; i < claim->count; i++) {
        CHECK(claim->limits[i]->taken > 0);
        claim->limits[i]->taken--;
    }
}

void vacuum_claim_fini(struct vacuum_limit_table *table, struct vacuum_claim *claim)
{
    for (size_t i = 0; i < claim->count; i++) {
        struct vacuum_limit *limit = claim->limits[i];
        if (--limit->claims > 0)
            continue;
        HASH_DEL(table->by_name, limit);
        free(limit->name);
        free(limit);
    }
    free(claim->limits);
    *claim = (struct vacuum_claim){.count = 0};
}
