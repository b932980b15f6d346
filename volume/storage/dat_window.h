/* Reading along a .dat: a window of it in memory, moved on in large pieces as offsets grow. What
 * dat_scan.c and record_check.c see of the file. One thread; blocks. */
#pragma once

#include "volume/storage/volume_generation.h"

#define DAT_WINDOW_BYTES (1u << 20)

struct dat_window;

/* Of what lies below `end`. `is_guest`: for one who only looks, at a volume that serves: reads ahead, leaves
 * the page cache as it was, and where a large read fails makes do with a small one. */
int dat_window_open(struct dat_window **ret, struct volume_generation *generation, uint64_t end,
                    bool is_guest, struct error *err);
void dat_window_close(struct dat_window *window); /* NULL is fine */

/* n bytes at the offset, n at most half a window. They stay until the next call. KELP_E_CORRUPT when
 * they do not lie below the end, as a garbled row may have it. KELP_E_CANCELLED when the generation is
 * being loaded and nobody wants it any more. */
int dat_window_bytes(struct dat_window *window, uint64_t offset, size_t n, const uint8_t **ret,
                     struct error *err);
/* As many bytes as there are without reading, or else as a window can hold, up to the end; at least n
 * of them, which must lie below the end. */
int dat_window_rest(struct dat_window *window, uint64_t offset, size_t n, const uint8_t **ret,
                    size_t *ret_size, struct error *err);
/* The CRC-32C of any number of bytes below the end. */
int dat_window_sum(struct dat_window *window, uint64_t offset, uint64_t size, uint32_t *ret,
                   struct error *err);
