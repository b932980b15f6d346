/* The web page of a volume server: /ui/index.html and /.
 *
 * One self-contained page that is readable without script; with it the numbers refresh
 * themselves. The volumes are shown a hundred at a time, so that it stays small however many
 * there are.
 *
 * Query: q (an id, or the beginning of a collection's name), show (all, writable, read-only,
 * garbage, damaged, vacuum), sort (id, size, garbage, files, changed), page (from 1). What is
 * not understood is as if it were not there. */
#pragma once

#include "volume/blob_call.h"

/* The whole answer. Loop thread; the looking is done on the pool. */
void volume_page_serve(struct blob_call *call);
