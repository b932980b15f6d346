/* The append queue: a writer thread per disk carries out all writes and deletes, in batches.
 *
 * A loop hands over at the end of a turn all that the turn collected. The writer takes
 * everything that waits for a volume: one pwritev for the records, one for the index rows, one
 * fdatasync if any of them asked for durability (group commit, by helper threads: what needs no sync
 * waits for none), then one delivery per sink with all its completions. The
 * index is published after the data is safe at the level that was asked for. A short or failed
 * write is cut off again and all its requests fail; a failed fsync quarantines the volume. */
#pragma once

#include "volume/storage/append_request.h"

struct append_queue;

int append_queue_create(struct append_queue **ret, const char *name, struct error *err);
/* Carries out what waits, then ends the thread. NULL is fine. */
void append_queue_destroy(struct append_queue *queue);

/* Any thread. A list linked by `next`; requests of one volume are carried out in this order. All
 * volumes of one disk use the same queue. KELP_E_LIMIT beyond APPEND_QUEUE_BYTES waiting:
 * nothing is taken. */
#define APPEND_QUEUE_BYTES (512u << 20)
int append_queue_submit(struct append_queue *queue, struct append_request *list);

/* From now on every put and delete is carried out as a durable one. Any thread. */
void append_queue_set_always_durable(struct append_queue *queue, bool is_always);

/* Submits one request and waits for it. Worker threads only. Returns its code. */
int append_queue_wait(struct append_queue *queue, struct append_request *request);
