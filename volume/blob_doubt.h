/* Writes in doubt: those to replicated volumes, from before they are stored here until all
 * replicas have answered. Any thread.
 *
 * A write that fails at a replica is to be undone where it succeeded. But its client may have
 * asked again meanwhile, found the same blob stored and taken that for success, here or through
 * another server; then undoing would destroy what somebody was promised. Every write of a
 * replicated blob passes through each of its servers before it is acknowledged, so it is enough
 * that each server knows which keys are being written to: a write that overlaps another one of
 * the same key is not undone, and one that comes while its key is being undone is refused. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct blob_doubts;
struct blob_doubt;

struct blob_doubts *blob_doubts_create(void);
/* When nothing is in doubt any more. NULL is fine. */
void blob_doubts_destroy(struct blob_doubts *doubts);

/* A write begins. NULL: its key is being undone, it must be refused. */
struct blob_doubt *blob_doubt_enter(struct blob_doubts *doubts, uint32_t volume_id, uint64_t key);
/* Whether this write may be undone: nobody else has written to the key since it began. Then nobody
 * will until blob_doubt_leave. */
bool blob_doubt_begin_undo(struct blob_doubts *doubts, struct blob_doubt *doubt);
/* It has ended. NULL is fine. */
void blob_doubt_leave(struct blob_doubts *doubts, struct blob_doubt *doubt);
