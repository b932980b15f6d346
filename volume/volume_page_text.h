/* Pieces that the page is made of: escaped text, sizes, times, bars. Pure; any thread. */
#pragma once

#include "common/buffer.h"

#include <stdint.h>

void page_text(struct buffer *out, const char *text); /* escaped */
void page_bytes(struct buffer *out, uint64_t bytes);  /* "1.23 GiB" */
void page_count(struct buffer *out, uint64_t count);  /* "1,234,567" */
void page_percent(struct buffer *out, double share);  /* of 1: "12.3 %" */
void page_duration(struct buffer *out, uint64_t seconds); /* "2 d 3 h" */
void page_latency(struct buffer *out, int64_t ns);        /* "3.2 ms" */
void page_date(struct buffer *out, int64_t unix_second);  /* "2026-01-31 12:00:00", UTC */

/* One part of a bar: a class of the style, and how much of `total` it is. */
struct page_bar_part {
    const char *class;
    uint64_t amount;
};
/* What is left of the total is empty; parts that do not fit are cut. `mark` (UINT64_MAX: none)
 * is a line there. `label` is read out instead. */
void page_bar(struct buffer *out, const char *label, uint64_t total,
              const struct page_bar_part *parts, size_t count, uint64_t mark);
