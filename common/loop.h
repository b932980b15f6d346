/* An event loop on a thread of its own, with a thread-safe way in.
 *
 * One wake-up (uv_async) brings in all tasks posted since the last turn. A loop never blocks: no
 * disk wait, no lock held across I/O; turns longer than LOOP_SLOW_TURN_MS are counted,
 * each with its cause (loop_watch.h). */
#pragma once

#include "common/error.h"
#include "common/loop_watch.h"

#include <stdint.h>
#include <uv.h>

struct loop;

/* Embed it in what the task is about. Owned by the loop from post until run. */
struct loop_task {
    struct loop_task *next;
    void (*run)(struct loop_task *task);
};

/* Starts the thread; `name` shows up in ps and gdb (15 characters). */
int loop_create(struct loop **ret, const char *name, struct error *err);
/* Runs what is posted already, then waits for all handles to be closed and for the thread to end.
 * Call from any other thread, after everything on the loop has been told to close. NULL is fine. */
void loop_destroy(struct loop *loop);

uv_loop_t *loop_uv(struct loop *loop); /* loop thread only */
bool loop_is_current(const struct loop *loop);
/* Milliseconds of the loop's clock, updated once a turn. Loop thread only. */
uint64_t loop_now_ms(const struct loop *loop);

/* Any thread. Tasks of one poster run in order. */
void loop_post(struct loop *loop, struct loop_task *task);

/* Loop thread only: runs the task once at the end of the current turn, after all I/O callbacks and
 * before the loop waits again. This is where a turn's appends are handed over in one go. */
void loop_at_turn_end(struct loop *loop, struct loop_task *task);

/* For the watchdog, on a loop's thread (elsewhere they do nothing): names the piece of work in
 * hand, a static text; and says that it has ended. Tasks are ended by the loop itself. */
void loop_doing(const char *what);
void loop_lap(void);

/* Any thread. */
const char *loop_name(const struct loop *loop);
uint64_t loop_slow_turns(const struct loop *loop);
void loop_turns(const struct loop *loop, struct loop_turns *ret);
size_t loop_slow_causes(struct loop *loop, struct loop_slow_cause ret[LOOP_CAUSES_MAX]);
