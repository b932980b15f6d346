/* A bounded pool of threads for work that may block: cold reads, compaction, copies, RPC handlers
 * that wait. Plain sequential code runs here. */
#pragma once

#include "common/error.h"

#include <stddef.h>

struct worker_pool;

/* Embedded in what the work is about. The pool's from submit until `run` is called, which may free
 * it. */
struct worker_task {
    struct worker_task *next;
    void (*run)(struct worker_task *task);
};

/* Threads are started on demand up to `threads`; at most `queue_limit` tasks wait. */
int worker_pool_create(struct worker_pool **ret, const char *name, unsigned threads,
                       size_t queue_limit, struct error *err);
/* Refuses new tasks, runs those that wait, joins: not from a task. NULL is fine. */
void worker_pool_destroy(struct worker_pool *pool);
/* Any thread. KELP_E_LIMIT when the queue is full; the task is then untouched. */
int worker_pool_submit(struct worker_pool *pool, struct worker_task *task);
