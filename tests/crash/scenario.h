/* What is interrupted: a disk as it was before, and acts on it. The matrices run each scenario again and
 * again, every time struck at the next call, and judge what is left.
 *
 * A scenario's disk is made once, all of it synced; every run works on a copy. */
#pragma once

#include "tests/fixtures/disk_os.h"
#include "tests/fixtures/fault_os.h"
#include "tests/fixtures/volume_stage.h"

#include <pthread.h>

/* Where the needle index is kept: in memory, or in a LevelDB, which the os seam does not reach: it lies in
 * the real file system, and what a run or a loss has left of it is copied or dropped as a whole. */
enum world_index { INDEX_IN_MEMORY, INDEX_IN_LEVELDB };

/* One run, and before any run the base that it is a copy of. */
struct world {
    struct disk_os *disk;
    struct fault_os *fault; /* around the disk; NULL in the base */
    struct stage stage;
    uint32_t first_seed; /* of what the run writes */
    char store_path[64]; /* of the LevelDB; "": in memory */
    unsigned put_count;  /* while a commit runs, on the thread that it runs on */
    pthread_t thread;
};

enum scenario_end { /* what a start after the interruption may find */
    END_VOLUME,     /* the volume */
    END_MAY_LACK,   /* the volume, or nothing if nothing was acknowledged: it was being created */
    END_ALL_OR_NONE /* the volume with all it had, or nothing: it was being removed */
};

struct scenario {
    const char *name;
    int (*prepare)(struct world *base);
    bool is_opened; /* before anything is counted */
    /* Ends early once the world has stopped. 0 when all went through. */
    int (*act)(struct world *world);
    enum scenario_end end;
};

extern const struct scenario scenarios[];
extern const size_t scenario_count;

/* KELP_SCENARIO names one that is to run alone. */
bool scenario_is_chosen(const struct scenario *scenario);

void world_prepare(struct world *base, const struct scenario *scenario, enum world_index index);
void world_begin(struct world *world, const struct world *base, const struct scenario *scenario);
void world_end(struct world *world); /* takes a base too */
/* The LevelDB of a world as the base had it, or without any: what a disk may have left of it. */
void world_store_revert(struct world *world, const struct world *base);
void world_store_drop(struct world *world);
static inline bool world_is_stopped(const struct world *world)
{
    return fault_os_is_stopped(world->fault);
}

/* Starts on this disk as a server does and judges what is there: every key as it must be, no reason to
 * be read-only; what a second start finds it leaves byte by byte; the volume takes writes and a vacuum.
 * `remembered` is what was acknowledged; with `is_power_lost` only what was promised must be there. Fails
 * the test with `when`. */
void check_start(struct disk_os *disk, const struct stage *remembered, bool is_power_lost,
                 enum scenario_end end, const char *when);
