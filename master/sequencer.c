/* See the header. The next block is asked for when half of the current one is used, so that in steady
 * use no take ever waits. */
#include "master/sequencer.h"

#include "common/check.h"

#include <string.h>

#define SNOWFLAKE_EPOCH_MS 1288834974657ll
#define SNOWFLAKE_NODE_MASK 0x3ffu
#define LONGEST_LEAP (UINT64_C(1) << 40) /* in the upper half of all keys */

void sequencer_init(struct sequencer *s, sequencer_persist *persist, void *ctx)
{
    *s = (struct sequencer){
        .kind = SEQUENCER_COUNTER, .next = 1, .persist = persist, .ctx = ctx};
}

void sequencer_init_snowflake(struct sequencer *s, uint32_t configured_id, const char *address)
{
    uint32_t node = configured_id;
    if (node == 0) {
        node = 2166136261u; /* FNV-1a */
        for (const char *c = address; *c; c++)
            node = (node ^ (unsigned char)*c) * 16777619u;
    }
    *s = (struct sequencer){
        .kind = SEQUENCER_SNOWFLAKE, .node = (uint16_t)(node & SNOWFLAKE_NODE_MASK)};
}

void sequencer_start(struct sequencer *s, uint64_t durable_ceiling)
{
    s->is_started = true;
    s->wanted = 0;
    s->ceiling = durable_ceiling;
    if (s->next < durable_ceiling)
        s->next = durable_ceiling;
}

static void ask_for_block(struct sequencer *s)
{
    if (s->wanted)
        return;
    uint64_t from = s->next > s->ceiling ? s->next : s->ceiling;
    if (from > UINT64_MAX - SEQUENCER_BLOCK)
        return;
    s->wanted = from + SEQUENCER_BLOCK;
    s->persist(s->ctx, s->wanted);
}

static int take_snowflake(struct sequencer *s, uint64_t n, int64_t now_ns, uint64_t *ret_first,
                          struct error *err)
{
    if (n == 0 || n > SEQUENCER_SNOWFLAKE_STEPS)
        return error_set(err, KELP_E_LIMIT, "a request may ask for 1 to %u file keys, not %llu",
                         SEQUENCER_SNOWFLAKE_STEPS, (unsigned long long)n);
    int64_t now_ms = now_ns / 1000000 - SNOWFLAKE_EPOCH_MS;
    if (now_ms > s->last_ms) {
        s->last_ms = now_ms;
        s->step = 0;
    } else if (s->step + n > SEQUENCER_SNOWFLAKE_STEPS) {
        s->last_ms++;
        s->step = 0;
    }
    *ret_first = (uint64_t)s->last_ms << 22 | (uint64_t)s->node << 12 | s->step;
    s->step = (uint16_t)(s->step + n);
    return 0;
}

int sequencer_take(struct sequencer *s, uint64_t n, int64_t now_ns, uint64_t *ret_first,
                   struct error *err)
{
    if (s->kind == SEQUENCER_SNOWFLAKE)
        return take_snowflake(s, n, now_ns, ret_first, err);
    if (n == 0 || n > SEQUENCER_BLOCK)
        return error_set(err, KELP_E_LIMIT, "a request may ask for 1 to %u file keys, not %llu",
                         SEQUENCER_BLOCK, (unsigned long long)n);
    if (s->next > UINT64_MAX - 2 * (uint64_t)SEQUENCER_BLOCK)
        return error_set(err, KELP_E_LIMIT, "all 64-bit file keys are used up");
    if (s->is_started && s->next + n > s->ceiling)
        ask_for_block(s); /* may be answered before it returns */
    if (!s->is_started || s->next + n > s->ceiling)
        return error_set(err, KELP_E_AGAIN, "file keys are being reserved; try again");
    *ret_first = s->next;
    s->next += n;
    if (s->ceiling - s->next < SEQUENCER_BLOCK / 2)
        ask_for_block(s);
    return 0;
}

void sequencer_give_back(struct sequencer *s, uint64_t first, uint64_t n)
{
    if (s->kind == SEQUENCER_SNOWFLAKE)
        return; /* there is always more time */
    CHECK(s->next == first + n);
    s->next = first;
}

void sequencer_raise(struct sequencer *s, uint64_t seen_key)
{
    if (s->kind != SEQUENCER_COUNTER || seen_key < s->next)
        return;
    if (seen_key > INT64_MAX && seen_key - s->next > LONGEST_LEAP)
        return;
    if (seen_key < UINT64_MAX)
        s->next = seen_key + 1;
}

void sequencer_persisted(struct sequencer *s, uint64_t ceiling)
{
    if (ceiling > s->ceiling)
        s->ceiling = ceiling;
    if (s->wanted && ceiling >= s->wanted)
        s->wanted = 0;
}

void sequencer_persist_failed(struct sequencer *s) { s->wanted = 0; }
