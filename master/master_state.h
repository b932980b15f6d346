/* What a master must never forget: the highest volume id, the file-key ceiling, the topology id.
 *
 * Raising a value is a proposal that returns once it is durable; only then may what it covers be
 * used, so no volume id and no file key is ever handed out twice. Everything else is rebuilt from
 * heartbeats. Here the values live in one file of one master; a quorum can stand behind the same
 * calls.
 *
 *   <directory>/lock         held (flock) by the one process that uses the folder
 *   <directory>/master.json  {"maxVolumeId":n,"fileKeyCeiling":n,"topologyId":"<uuid>"} */
#pragma once

#include "common/os.h"

struct master_state;

#define TOPOLOGY_ID_SIZE 37

struct master_values {
    uint32_t max_volume_id;
    uint64_t key_ceiling; /* keys below it may have been handed out */
    char topology_id[TOPOLOGY_ID_SIZE];
};

/* Makes the folder when only its last part is missing, locks it, loads the values or makes the
 * first ones (a fresh topology id). KELP_E_NOT_FOUND, KELP_E_DENIED, KELP_E_BUSY (another process),
 * KELP_E_CORRUPT: the text says what to do. Blocks. */
int master_state_open(struct master_state **ret, struct os *os, const char *directory,
                      struct error *err);
void master_state_close(struct master_state *state);

/* Any thread, never blocks: the durable values. */
void master_state_read(struct master_state *state, struct master_values *ret);

/* Each value becomes the larger of what it is and what is asked; returns when that is durable. On
 * failure the values are as before. Worker threads only: it syncs. */
int master_state_raise(struct master_state *state, uint32_t max_volume_id, uint64_t key_ceiling,
                       struct error *err);
/* On a clean stop: keys from `next_key` on were never handed out, so the ceiling may fall to it.
 * Ends the use of the state: nothing may be handed out afterwards. */
int master_state_settle(struct master_state *state, uint64_t next_key, struct error *err);
