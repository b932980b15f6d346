/* Time to live: a count and a unit, two bytes on disk. Source: spec/storage-format.md 4.
 * Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

struct ttl {
    uint8_t count;
    uint8_t unit; /* 0 none, 1 minute, 2 hour, 3 day, 4 week, 5 month, 6 year */
};

/* "", "90m", "3h", "7d"; normalised ("24h" -> 1d). An unknown unit is no TTL; a bad number is
 * KELP_E_INVALID with the number parser's text. */
int ttl_parse(struct slice text, struct ttl *ret, struct error *err);
struct ttl ttl_from_seconds(uint64_t seconds);
struct ttl ttl_from_u32(uint32_t packed);
uint32_t ttl_to_u32(struct ttl t); /* count << 8 | unit, 0 when the count is 0 */
uint64_t ttl_minutes(struct ttl t);
void ttl_format(struct ttl t, char text[8]); /* "" for none */
static inline bool ttl_is_set(struct ttl t) { return t.count != 0 && t.unit != 0; }
