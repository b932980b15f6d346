/* How lookups read a volume id: the text before the first comma of "3,01637037d6", taken as it is.
 * A number that is too large is a number that nobody has. Pure; any thread. */
#pragma once

#include "common/bytes.h"

static inline struct slice volume_lookup_id_text(struct slice text)
{
    ptrdiff_t comma = slice_find(text, ',');
    return comma > 0 ? slice_until(text, (size_t)comma) : text;
}

/* False: not a number. Too large: true, and 0, which no volume has. */
static inline bool volume_lookup_parse(struct slice text, uint32_t *ret)
{
    uint64_t id = 0;
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        if (id <= UINT32_MAX)
            id = id * 10 + (uint64_t)(text.ptr[i] - '0');
    }
    *ret = id <= UINT32_MAX ? (uint32_t)id : 0;
    return true;
}
