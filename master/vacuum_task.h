/* The vacuum of one volume: a state machine, fed with the answers of volume servers and with ticks.
 *
 *   QUEUED -> CHECKING -> DRAINING -> COMPACTING -> COMMITTING -+-> COMPACTING (next replica)
 *      |          |           |            |             |      +-> ENDED
 *      |          |           |            +-> CLEANING -+----------^
 *      +----------+-----------+-------------------------------------^
 *
 *   QUEUED -> DELETING (an empty copy) -> ENDED
 *   DRAINING, COMMITTING, CLEANING -> PAUSED -> COMPACTING (a paused job: instead of the next
 *   replica)
 *
 * A paused job that compacts has its server hold still; any other stops before it compacts the next
 * replica.
 *
 * All replicas are checked at once; those with enough garbage are then done one after another, so
 * that the others serve quietly. A replica that fails is cleaned up and the next one is tried; one
 * whose server died ends the job, because the volume has lost a copy. A commit is sent only after
 * an own compaction that succeeded, once, and never repeated: the peer's servers close the volume
 * otherwise. There is no limit on a compaction's length, only on the time without progress. Source:
 * spec/topology.md 9.3, VACUUM.md.
 *
 * Pure apart from the topology: rpcs go out through a table of callbacks. Everything here runs
 * under the host's lock; answers may come from any thread and take it themselves. */
#pragma once

#include "master/vacuum_task_state.h"

/* Lock held. May end at once (on_ended is then called from inside). */
void vacuum_task_start(struct vacuum_task *job, int64_t now_ns);
/* Every few hundred ms: drains, and cancels compactions that stand still. */
void vacuum_task_tick(struct vacuum_task *job, int64_t now_ns);
/* Holds it still as soon as it can, or lets it go on. A queued one: the host does not start it. */
void vacuum_task_pause(struct vacuum_task *job, bool is_paused);
/* Ends it at its next safe point; a commit that was sent is awaited. */
void vacuum_task_cancel(struct vacuum_task *job, const char *why);
