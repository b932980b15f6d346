/* Finishing or undoing a vacuum that was cut off, before its volume is opened. Source:
 * spec/storage-format.md 16.5. Knows names only, no volume. May block. */
#pragma once

#include "volume/storage/format/volume_files.h"

/* For one volume that is not open: with a .cpc the swap is completed, else the temporary files are
 * removed. Changes nothing, and syncs nothing, when none of them is there. Idempotent. */
int vacuum_recover_volume(struct os *os, const struct volume_files *files, struct error *err);
/* The same, by the vacuum that has just synced all that it decided about. */
int vacuum_recover_settled(struct os *os, const struct volume_files *files, struct error *err);
