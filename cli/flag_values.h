/* Checks on flag values that more than one command makes. Main thread, at start. */
#pragma once

#include "common/error.h"

#include <stdint.h>

/* A port, 0 included. */
int flag_port(const char *name, int64_t value, uint16_t *ret, struct error *err);
/* 0 to 2^32-1. */
int flag_u32(const char *name, int64_t value, uint32_t *ret, struct error *err);

/* A comma-separated list, cut into pieces (empty ones too, blanks trimmed). The result is one block:
 * free it. An empty text is one empty piece. */
struct flag_list {
    const char **items;
    size_t count;
};
void flag_list_init(struct flag_list *list, const char *text);
void flag_list_fini(struct flag_list *list);
/* The item for the i-th of `count` things: a single one goes for all; NULL when the counts differ. */
const char *flag_list_at(const struct flag_list *list, size_t i, size_t count);

/* What is to stay free: a plain number from 0 to 100 is a percentage, a size with a unit, over 100 bytes, is
 * itself. The other one of the two is untouched. */
int flag_min_free(const char *name, const char *text, double *ret_percent, uint64_t *ret_bytes,
                  struct error *err);
