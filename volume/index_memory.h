/* What the needle index of a volume takes. */
#pragma once

#include "volume/storage/volume.h"

/* Bytes of memory; caches that all indexes of a disk share are not in it. Any thread. */
uint64_t index_memory_bytes(struct volume *volume);
