/* Putting a finished .idx in the place of the old one, for a volume that nobody has open.
 *
 * Whatever moment it is cut off at, the volume has either the old .idx or the new one, whole.
 * Blocks. */
#pragma once

#include "volume/storage/format/volume_files.h"

/* `made` is on the .idx's file system and synced. A copy of the old .idx is kept first as
 * <idx>.bak, unless there is none. What was derived from the old rows (.sdx, .ldb, .kix) is
 * removed. */
int index_swap(const struct volume_files *files, struct os *os, const char *made, struct error *err);
/* "<idx>.tmp", "<idx>.bak": malloc'd. */
char *index_swap_made_path(const struct volume_files *files);
char *index_swap_kept_path(const struct volume_files *files);
/* KELP_E_PRECONDITION while a vacuum's commit waits to be finished: the .idx is about to be
 * replaced. */
int index_swap_check(const struct volume_files *files, struct os *os, struct error *err);
