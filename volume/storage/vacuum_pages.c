/* What a copy does to the page cache: it reads ahead of itself, and drops behind itself what it
 * alone brought in.
 *
 * The old generation goes on serving while it is copied. Pages that readers had in the cache
 * must stay there, or every hot blob costs a disk read, at the very time when the disk writes
 * the copy. Pages that only the copy wanted must not stay, or the vacuum of a cold volume pushes
 * out the hot blobs of others. So the cache is asked, a chunk at a time, before the chunk is
 * read ahead.
 *
 * All of it is advice: where the system cannot tell what is cached, nothing is dropped. Runs on
 * the worker. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES (1u << 20)
#define CHUNK_PAGES (CHUNK_BYTES / OS_PAGE_SIZE)
#define CHUNKS      128u        /* remembered; of a larger record only the last part is dropped */
#define AHEAD_BYTES (4u << 20)

struct vacuum_pages {
    struct volume_generation *generation; /* not owned */
    uint64_t asked, dropped;              /* chunk numbers: done below them */
    uint8_t cached[CHUNKS][CHUNK_PAGES];  /* of chunk n at n % CHUNKS: before we came, per page */
};

struct vacuum_pages *vacuum_pages_create(struct volume_generation *generation)
{
    struct vacuum_pages *pages = must(calloc(1, sizeof(*pages)));
    pages->generation = generation;
    return pages;
}

static void drop_chunk(struct vacuum_pages *pages, uint64_t chunk)
{
    struct volume_generation *generation = pages->generation;
    const uint8_t *cached = pages->cached[chunk % CHUNKS];
    for (size_t i = 0; i < CHUNK_PAGES;) {
        size_t begin = i;
        while (i < CHUNK_PAGES && cached[i] == cached[begin])
            i++;
        if (!cached[begin])
            os_fadvise(generation->os, generation->dat_fd,
                       chunk * CHUNK_BYTES + begin * OS_PAGE_SIZE, (i - begin) * OS_PAGE_SIZE,
                       POSIX_FADV_DONTNEED);
    }
}

void vacuum_pages_done(struct vacuum_pages *pages, uint64_t to)
{
    uint64_t end = to / CHUNK_BYTES;
    if (end > pages->asked)
        end = pages->asked;
    if (pages->asked > CHUNKS && pages->dropped < pages->asked - CHUNKS)
        pages->dropped = pages->asked - CHUNKS; /* no longer known */
    for (; pages->dropped < end; pages->dropped++)
        drop_chunk(pages, pages->dropped);
}

void vacuum_pages_want(struct vacuum_pages *pages, uint64_t from, uint64_t to)
{
    struct volume_generation *generation = pages->generation;
    uint64_t end = (to + AHEAD_BYTES) / CHUNK_BYTES;
    if (pages->asked < from / CHUNK_BYTES) {
        vacuum_pages_done(pages, from);
        pages->asked = pages->dropped = from / CHUNK_BYTES; /* garbage between is passed over */
    }
    if (pages->asked >= end)
        return;
    uint64_t first = pages->asked;
    for (; pages->asked < end; pages->asked++) {
        uint8_t *cached = pages->cached[pages->asked % CHUNKS];
        if (os_cached_pages(generation->os, generation->dat_fd, pages->asked * CHUNK_BYTES,
                            CHUNK_PAGES, cached) < 0)
            memset(cached, 1, CHUNK_PAGES);
    }
    os_fadvise(generation->os, generation->dat_fd, first * CHUNK_BYTES, (end - first) * CHUNK_BYTES,
               POSIX_FADV_WILLNEED);
}

void vacuum_pages_destroy(struct vacuum_pages *pages)
{
    if (!pages)
        return;
    vacuum_pages_done(pages, UINT64_MAX);
    free(pages);
}
