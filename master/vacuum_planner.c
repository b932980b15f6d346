/* Three steps: a reason for or against each volume, the order, and who may start within the limits. See
 * the header for the idea. */
#include "master/vacuum_planner.h"

#include "common/check.h"

#include <string.h>

#define MINUTE_NS (60ll * 1000000000)
#define DAY_NS (24 * 60 * MINUTE_NS)
#define LONGEST_BACK_OFF_NS (6 * 60 * MINUTE_NS)
#define COPY_SLACK (1u << 20) /* super block, padding, first index rows */
#define MOST_PRESSURE 100.0

void vacuum_limits_default(struct vacuum_limits *ret)
{
    *ret = (struct vacuum_limits){.threshold = 0.3,
                                  .per_server = 1,
                                  .per_disk = 1,
                                  .per_layout = 100,
                                  .low_space_ratio = 0.1};
}

const char *vacuum_reason_text(enum vacuum_reason reason)
{
    static const char *const texts[] = {
#define X(name, text) text,
        VACUUM_REASONS(X)
#undef X
    };
    return (size_t)reason < sizeof(texts) / sizeof(texts[0]) ? texts[reason] : "";
}

int64_t vacuum_back_off_ns(uint32_t failures)
{
    if (failures == 0)
        return 0;
    if (failures >= VACUUM_ATTENTION_FAILURES)
        return DAY_NS;
    int64_t wait = MINUTE_NS << (failures - 1);
    return wait < LONGEST_BACK_OFF_NS ? wait : LONGEST_BACK_OFF_NS;
}

bool vacuum_replica_qualifies(const struct vacuum_replica *r, double threshold)
{
    double ratio = r->size ? (double)r->garbage_bytes / (double)r->size : 0;
    return ratio >= threshold;
}

/* ---- For or against one volume ------------------------------------------------------------------- */

static uint64_t live_bytes(const struct vacuum_replica *r)
{
    return r->size > r->garbage_bytes ? r->size - r->garbage_bytes : 0;
}

/* Room that a copy takes while both generations exist; index rows go with the live bytes. */
static uint64_t copy_room(const struct vacuum_replica *r)
{
    uint64_t live = live_bytes(r);
    return live + live / 64 + COPY_SLACK;
}

static bool is_short(const struct vacuum_disk *d, const struct vacuum_limits *limits)
{
    return d->total_bytes && (double)d->free_bytes < (double)d->total_bytes * limits->low_space_ratio;
}

static double pressure(const struct vacuum_disk *d)
{
    if (d->total_bytes == 0)
        return 1;
    double free_part = (double)d->free_bytes / (double)d->total_bytes;
    return free_part * MOST_PRESSURE <= 1 ? MOST_PRESSURE : free_part >= 1 ? 1 : 1 / free_part;
}

struct weighed {
    struct vacuum_job job;
    uint32_t id;
    bool is_on_short_disk;
};

/* Sums over the replicas that qualify; missing bytes of the disk that needs most. */
static bool weigh(const struct vacuum_snapshot *s, const struct vacuum_candidate *c,
                  const struct vacuum_limits *limits, struct weighed *ret, uint64_t *ret_missing)
{
    bool is_any = false;
    double most = 1;
    *ret = (struct weighed){.id = c->id};
    *ret_missing = 0;
    for (uint32_t i = 0; i < c->replica_count; i++) {
        const struct vacuum_replica *r = &s->replicas[c->first_replica + i];
        const struct vacuum_disk *d = &s->disks[r->disk];
        if (!vacuum_replica_qualifies(r, limits->threshold))
            continue;
        is_any = true;
        ret->job.copy_bytes += live_bytes(r);
        ret->job.reclaim_bytes += r->size < r->garbage_bytes ? r->size : r->garbage_bytes;
        ret->is_on_short_disk = ret->is_on_short_disk || is_short(d, limits);
        most = pressure(d) > most ? pressure(d) : most;
        uint64_t room = copy_room(r);
        if (d->total_bytes && room > d->free_bytes && room - d->free_bytes > *ret_missing)
            *ret_missing = room - d->free_bytes;
    }
    uint64_t copied = ret->job.copy_bytes ? ret->job.copy_bytes : 1;
    ret->job.score = (double)ret->job.reclaim_bytes / (double)copied * most;
    ret->is_on_short_disk = ret->is_on_short_disk && ret->job.reclaim_bytes > 0;
    return is_any;
}

static bool is_read_only(const struct vacuum_snapshot *s, const struct vacuum_candidate *c)
{
    for (uint32_t i = 0; i < c->replica_count; i++) {
        const struct vacuum_replica *r = &s->replicas[c->first_replica + i];
        if (r->is_read_only && !r->is_read_only_harmless)
            return true;
    }
    return false;
}

/* True: worth a job. */
static bool consider(const struct vacuum_snapshot *s, const struct vacuum_candidate *c,
                     const struct vacuum_limits *limits, struct weighed *ret_job,
                     struct vacuum_left_out *ret_out)
{
    bool is_explicit = limits->only_volume_id != 0;
    int64_t retry_at = c->last_failure_ns + vacuum_back_off_ns(c->failures);
    uint64_t missing;
    bool is_worth_it = weigh(s, c, limits, ret_job, &missing);
    enum vacuum_reason reason;
    if (is_explicit && c->id != limits->only_volume_id)
        reason = VACUUM_LEFT_OUT_NOT_ASKED_FOR;
    else if (c->is_in_flight)
        reason = VACUUM_LEFT_OUT_IN_FLIGHT;
    else if (c->replica_count < c->copies)
        reason = VACUUM_LEFT_OUT_TOO_FEW_COPIES;
    else if (!is_explicit && is_read_only(s, c))
        reason = VACUUM_LEFT_OUT_READ_ONLY;
    else if (!is_worth_it)
        reason = VACUUM_LEFT_OUT_LITTLE_GARBAGE;
    else if (!is_explicit && c->failures && limits->now_ns < retry_at)
        reason = c->failures < VACUUM_ATTENTION_FAILURES ? VACUUM_LEFT_OUT_BACK_OFF
                                                         : VACUUM_LEFT_OUT_NEEDS_ATTENTION;
    else if (missing && !limits->is_by_hand && !is_explicit) /* else its server refuses, with figures */
        reason = VACUUM_LEFT_OUT_NO_SPACE;
    else
        return true;
    *ret_out = (struct vacuum_left_out){.reason = reason};
    if (reason == VACUUM_LEFT_OUT_NO_SPACE)
        ret_out->missing_bytes = missing;
    if (reason == VACUUM_LEFT_OUT_BACK_OFF || reason == VACUUM_LEFT_OUT_NEEDS_ATTENTION)
        ret_out->retry_at_ns = retry_at;
    return false;
}

/* ---- Order --------------------------------------------------------------------------------------- */

static int compare_weighed(const void *a, const void *b)
{
    const struct weighed *x = a, *y = b;
    if (x->is_on_short_disk != y->is_on_short_disk)
        return x->is_on_short_disk ? -1 : 1;
    if (x->is_on_short_disk && x->job.copy_bytes != y->job.copy_bytes)
        return x->job.copy_bytes < y->job.copy_bytes ? -1 : 1;
    if (x->job.score > y->job.score || x->job.score < y->job.score)
        return x->job.score > y->job.score ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

/* ---- Who may start ------------------------------------------------------------------------------- */

struct usage {
    uint32_t *of_server;
    uint32_t *of_disk;
    uint32_t *of_layout;
    uint64_t *room; /* of a disk, what is left of its free bytes */
};

static void usage_init(struct usage *u, const struct vacuum_snapshot *s)
{
    size_t servers = 0, layouts = s->layout_count;
    for (size_t i = 0; i < s->disk_count; i++)
        servers = s->disks[i].server >= servers ? s->disks[i].server + 1u : servers;
    for (size_t i = 0; i < s->volume_count; i++)
        layouts = s->volumes[i].layout >= layouts ? s->volumes[i].layout + 1u : layouts;
    u->of_server = must(calloc(servers + 1, sizeof(*u->of_server)));
    u->of_disk = must(calloc(s->disk_count + 1, sizeof(*u->of_disk)));
    u->of_layout = must(calloc(layouts + 1, sizeof(*u->of_layout)));
    u->room = must(calloc(s->disk_count + 1, sizeof(*u->room)));
    for (size_t i = 0; i < s->disk_count; i++) {
        u->of_disk[i] = s->disks[i].running;
        u->of_server[s->disks[i].server] += s->disks[i].running;
        u->room[i] = s->disks[i].free_bytes;
    }
    for (size_t i = 0; s->layout_running && i < s->layout_count; i++)
        u->of_layout[i] = s->layout_running[i];
}

static void usage_fini(struct usage *u)
{
    free(u->of_server);
    free(u->of_disk);
    free(u->of_layout);
    free(u->room);
}

/* A server is busy with a volume of which it holds any replica: the others serve while one is compacted. */
static bool may_start(const struct usage *u, const struct vacuum_snapshot *s,
                      const struct vacuum_candidate *c, const struct vacuum_limits *limits,
                      enum vacuum_reason *ret_waits_for)
{
    *ret_waits_for = VACUUM_LEFT_OUT_SERVER_BUSY;
    for (uint32_t i = 0; i < c->replica_count; i++) {
        const struct vacuum_replica *r = &s->replicas[c->first_replica + i];
        const struct vacuum_disk *d = &s->disks[r->disk];
        if (u->of_server[d->server] >= (limits->per_server ? limits->per_server : 1))
            return false;
        if (limits->per_disk && u->of_disk[r->disk] >= limits->per_disk)
            return false;
        if (d->total_bytes && limits->only_volume_id == 0 &&
            vacuum_replica_qualifies(r, limits->threshold) && copy_room(r) > u->room[r->disk])
            return false;
    }
    *ret_waits_for = VACUUM_LEFT_OUT_LAYOUT_BUSY;
    return u->of_layout[c->layout] < limits->per_layout;
}

static void count_start(struct usage *u, const struct vacuum_snapshot *s,
                        const struct vacuum_candidate *c, double threshold)
{
    u->of_layout[c->layout]++;
    for (uint32_t i = 0; i < c->replica_count; i++) {
        const struct vacuum_replica *r = &s->replicas[c->first_replica + i];
        u->of_server[s->disks[r->disk].server]++;
        u->of_disk[r->disk]++;
        if (vacuum_replica_qualifies(r, threshold))
            u->room[r->disk] -= copy_room(r) < u->room[r->disk] ? copy_room(r) : u->room[r->disk];
    }
}

void vacuum_plan_make(const struct vacuum_snapshot *s, const struct vacuum_limits *limits,
                      struct vacuum_plan *ret)
{
    struct weighed *weighed = must(calloc(s->volume_count + 1, sizeof(*weighed)));
    *ret = (struct vacuum_plan){0};
    ret->left_out = must(calloc(s->volume_count + 1, sizeof(*ret->left_out)));
    for (size_t i = 0; i < s->volume_count; i++) {
        struct vacuum_left_out out;
        if (consider(s, &s->volumes[i], limits, &weighed[ret->job_count], &out)) {
            weighed[ret->job_count++].job.volume = (uint32_t)i;
        } else {
            out.volume = (uint32_t)i;
            ret->left_out[ret->left_out_count++] = out;
        }
    }
    qsort(weighed, ret->job_count, sizeof(*weighed), compare_weighed);

    struct usage usage;
    usage_init(&usage, s);
    ret->jobs = must(calloc(ret->job_count + 1, sizeof(*ret->jobs)));
    for (size_t i = 0; i < ret->job_count; i++) {
        struct vacuum_job *job = &ret->jobs[i];
        const struct vacuum_candidate *c = &s->volumes[weighed[i].job.volume];
        *job = weighed[i].job;
        job->starts_now = may_start(&usage, s, c, limits, &job->waits_for);
        if (job->starts_now)
            count_start(&usage, s, c, limits->threshold);
    }
    usage_fini(&usage);
    free(weighed);
}

void vacuum_plan_fini(struct vacuum_plan *plan)
{
    free(plan->jobs);
    free(plan->left_out);
    *plan = (struct vacuum_plan){0};
}
