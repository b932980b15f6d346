/* The needle index of kind "leveldb": kept in the disk's LevelDB (index_store.h). */
#pragma once

#include "volume/storage/index/needle_index.h"

/* Empty; what config->store keeps of the volume is taken up by recall. */
int needle_index_leveldb_create(struct needle_index **ret, const struct needle_index_config *config,
                                struct error *err);
