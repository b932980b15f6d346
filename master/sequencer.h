/* File keys: handing out ranges of a counter that survives restarts.
 *
 * Keys are taken below a ceiling that is already durable. When the room below it runs short, a higher ceiling
 * is asked for through a callback (raft, or a file); until the answer comes, sequencer_take says "again".
 * After a restart the counter continues at the durable ceiling, so that no key is ever handed out twice,
 * assigned but unwritten ones included. A heartbeat's max_file_key lifts the counter as well (servers moved in
 * from another cluster). Source: spec/topology.md 8; the ceiling is ours.
 *
 *   1 ... next ....... ceiling (durable) ....... wanted (asked for, not yet durable)
 *
 * The snowflake kind needs no ceiling: time makes its keys unique.
 * No lock inside; one thread at a time. Pure: time comes in through the caller. */
#pragma once

#include "common/error.h"

#include <stdbool.h>
#include <stdint.h>

#define SEQUENCER_BLOCK 1000000u /* keys per durable step; also the most that a restart skips */

#define SEQUENCER_SNOWFLAKE_STEPS 4096u

enum sequencer_kind { SEQUENCER_COUNTER, SEQUENCER_SNOWFLAKE };

/* Starts making `ceiling` durable. Completes, now or later, with sequencer_persisted or
 * sequencer_persist_failed on the same sequencer; at most one is in flight. */
typedef void sequencer_persist(void *ctx, uint64_t ceiling);

struct sequencer {
    enum sequencer_kind kind;
    uint64_t next;    /* first key not handed out */
    uint64_t ceiling; /* keys below are covered by what is durable */
    uint64_t wanted;  /* ceiling in flight, 0 when none */
    sequencer_persist *persist;
    void *ctx;
    bool is_started;
    /* snowflake */
    uint16_t node;
    uint16_t step; /* first one not handed out in last_ms */
    int64_t last_ms;
};

/* Counter from 1. Nothing can be taken before sequencer_start. */
void sequencer_init(struct sequencer *s, sequencer_persist *persist, void *ctx);

/* node: low 10 bits of `configured_id` when non-zero, else of FNV-1a-32 over the master's full address. */
void sequencer_init_snowflake(struct sequencer *s, uint32_t configured_id, const char *address);

/* At start, and again at each new leadership: `durable_ceiling` is the highest that was ever made durable (0
 * when none). All keys below it count as used. A request in flight from before is forgotten. */
void sequencer_start(struct sequencer *s, uint64_t durable_ceiling);

/* n consecutive keys, n >= 1; snowflake lets time wait never: it borrows from the next millisecond (the peer
 * draws one key whatever n is, so that the next request gets the same ones again). KELP_E_AGAIN: the ceiling is
 * being raised, ask again when sequencer_persisted was called. KELP_E_LIMIT: n is larger than a block (snowflake:
 * than SEQUENCER_SNOWFLAKE_STEPS), or the key space is used up. */
int sequencer_take(struct sequencer *s, uint64_t n, int64_t now_ns, uint64_t *ret_first,
                   struct error *err);

/* Undoes the last take, which was this one and was not shown to anybody. */
void sequencer_give_back(struct sequencer *s, uint64_t first, uint64_t n);

/* A key seen in use: the counter goes on above it. Ignored by snowflake, and when it is a leap into the upper
 * half of all keys: one upload under a made-up key must not use up the rest. Its server reports it as long as it
 * is there, so the counter steps over it should it ever come near. */
void sequencer_raise(struct sequencer *s, uint64_t seen_key);

void sequencer_persisted(struct sequencer *s, uint64_t ceiling);
void sequencer_persist_failed(struct sequencer *s); /* the next take asks again */
