/* Which volumes to vacuum, in which order: a pure function of a snapshot.
 *
 * Vacuum copies what is live to win back what is not, so the worth of a job is the garbage it frees per live
 * byte it copies. That is weighed by the pressure on the disk. On a disk that is short of space the order
 * turns around: smallest live part first, because a copy needs room for the live bytes, and each run pays
 * for the next. Jobs that cannot fit are left out and say how much is missing.
 *
 * Nothing is ever planned twice at once: one job per volume id, none for a volume in flight, and the
 * limits per server, per disk and per layout count what is already running. Every volume that gets no job
 * gets a reason, so that `volume.vacuum -plan` can show why.
 *
 * Source: VACUUM.md "On the master" 1; spec/topology.md 9. No clock, no lock, no topology here:
 * vacuum_snapshot.h makes the snapshot. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vacuum_disk {
    uint64_t total_bytes; /* 0: not known */
    uint64_t free_bytes;
    uint32_t server; /* index chosen by the caller: same number, same server */
    uint32_t running; /* jobs at work on this disk now */
};

struct vacuum_replica {
    uint32_t disk; /* index into vacuum_snapshot.disks */
    uint64_t size;
    uint64_t garbage_bytes;
    bool is_read_only;          /* reported or marked */
    bool is_read_only_harmless; /* only for low space: vacuum is the cure */
};

struct vacuum_candidate {
    uint32_t id;
    uint32_t layout; /* index chosen by the caller: same number, same layout */
    uint32_t copies; /* wanted by the replica placement */
    uint32_t first_replica; /* index into vacuum_snapshot.replicas */
    uint32_t replica_count;
    uint32_t failures;       /* in a row */
    int64_t last_failure_ns; /* unix time; meaningful when failures > 0 */
    bool is_in_flight;
};

struct vacuum_snapshot {
    struct vacuum_candidate *volumes;
    size_t volume_count;
    struct vacuum_replica *replicas;
    size_t replica_count;
    struct vacuum_disk *disks;
    size_t disk_count;
    uint32_t *layout_running; /* jobs at work per layout; NULL: none */
    size_t layout_count;
};

struct vacuum_limits {
    double threshold;        /* garbage ratio, 0 = everything */
    uint32_t per_server;     /* >= 1 */
    uint32_t per_disk;       /* >= 1; 0 = no limit of its own */
    uint32_t per_layout;     /* 100 */
    int64_t now_ns;
    uint32_t only_volume_id; /* 0: all; else read-only and back-off do not keep it away */
    bool is_by_hand;         /* whether a copy fits is left to its server: heartbeats are seconds old */
    double low_space_ratio;  /* a disk with a smaller free part is short of space; 0.1 */
};

void vacuum_limits_default(struct vacuum_limits *ret); /* 0.3, 1, 1, 100, now 0, 0, 0.1 */

/* Order of the list is the order of the tests. */
#define VACUUM_REASONS(X)                                                                          \
    X(NOT_ASKED_FOR, "another volume was asked for")                                               \
    X(IN_FLIGHT, "a vacuum of this volume is running")                                             \
    X(TOO_FEW_COPIES, "fewer replicas than its placement asks for; run volume.fix.replication")    \
    X(READ_ONLY, "read-only; name the volume to vacuum it all the same")                           \
    X(LITTLE_GARBAGE, "garbage below the threshold")                                               \
    X(BACK_OFF, "failed before, waits for its next try; name the volume to try now")               \
    X(NEEDS_ATTENTION, "failed several times, see the last message; name the volume to try now")   \
    X(NO_SPACE, "not enough free space for the copy; free or add space on the disk")               \
    X(SERVER_BUSY, "another volume on one of its servers or disks goes first")                     \
    X(LAYOUT_BUSY, "as many volumes of its layout as allowed are being vacuumed")

enum vacuum_reason {
#define X(name, text) VACUUM_LEFT_OUT_##name,
    VACUUM_REASONS(X)
#undef X
};
const char *vacuum_reason_text(enum vacuum_reason reason);

struct vacuum_job {
    uint32_t volume;   /* index into vacuum_snapshot.volumes */
    double score;
    uint64_t copy_bytes;    /* live bytes to copy, over the replicas that qualify */
    uint64_t reclaim_bytes;
    /* True: may start now, within all limits, counting the jobs before it in the list. False: queued
     * behind them; `reason` says for what. */
    bool starts_now;
    enum vacuum_reason waits_for; /* SERVER_BUSY or LAYOUT_BUSY when !starts_now */
};

struct vacuum_left_out {
    uint32_t volume;
    enum vacuum_reason reason;
    uint64_t missing_bytes;  /* NO_SPACE: how much more room the fullest disk needs */
    int64_t retry_at_ns;     /* BACK_OFF */
};

struct vacuum_plan {
    struct vacuum_job *jobs; /* in the order to run them */
    size_t job_count;
    struct vacuum_left_out *left_out; /* in the order of the snapshot */
    size_t left_out_count;
};

/* O(n log n). The plan's arrays are malloc'd: end with vacuum_plan_fini. */
void vacuum_plan_make(const struct vacuum_snapshot *s, const struct vacuum_limits *limits,
                      struct vacuum_plan *ret);
void vacuum_plan_fini(struct vacuum_plan *plan);

/* True when this replica is worth compacting: ratio of garbage >= threshold. */
bool vacuum_replica_qualifies(const struct vacuum_replica *r, double threshold);

/* Wait after n failures in a row: 1 min, doubled each time, at most 6 h. From VACUUM_ATTENTION_FAILURES on
 * the volume needs attention and is left to explicit requests and to one try a day. */
#define VACUUM_ATTENTION_FAILURES 5
int64_t vacuum_back_off_ns(uint32_t failures);
