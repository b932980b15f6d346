/* Telling 4-byte from 5-byte offsets when the .vif does not say. May block. */
#pragma once

#include "common/os.h"

/* Looks at the rows themselves: whole rows, and offsets and sizes that fit a .dat of this size. When the
 * file is absent, empty, or equally good as both, 5, as the released peer has it. */
uint8_t index_width_guess(struct os *os, const char *idx_path, uint64_t dat_size);
