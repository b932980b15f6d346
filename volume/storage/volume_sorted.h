/* A volume that an operator has closed to writes is looked up in its .sdx file, one that is open to them in
 * an index of the configured kind. Source: spec/storage-format.md 11.3 (10), 21. Both block. */
#pragma once

#include "volume/storage/volume_internal.h"

/* While a volume is opened: replaces the generation's index, complete and nobody else's yet, by the sorted
 * file. On failure all is as before. */
int volume_sort_index(struct volume *volume, struct volume_generation *generation, struct error *err);
/* Replaces the sorted file, if that is what the volume has, by the configured kind, in a new generation of
 * the same files; reads go on. No lock held. */
int volume_unsort_index(struct volume *volume, struct error *err);
