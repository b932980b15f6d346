/* How a copy moves on: a place among the jobs of its disk, the rate, the clients' share, the
 * operator's pause, and what is told of it.
 *
 * All waiting of a copy is here. While it waits it goes on telling, several times a second, so that
 * whoever listens can end it; a cancel is seen within a few hundredths of a second. Runs on the
 * copying thread. */
#include "common/check.h"
#include "volume/storage/vacuum_internal.h"

#define NAP_NS     20000000  /* between two looks whether a wait is over */
#define TELL_NS    200000000 /* of a copy that does not move */
#define MEASURE_NS 250000000 /* the rate is that of pieces so long, the newest weighing a third */

static int tell(struct vacuum_pace *pace, struct error *err)
{
    struct vacuum *v = pace->v;
    struct vacuum_progress progress;
    pthread_mutex_lock(&v->progress_lock);
    progress = v->progress;
    pthread_mutex_unlock(&v->progress_lock);
    pace->told_at_ns = os_monotonic_ns(v->volume->os);
    if (pace->options->on_progress && pace->options->on_progress(pace->options->ctx, &progress) != 0)
        return error_set(err, KELP_E_CANCELLED, "cancelled");
    return vacuum_check_cancelled(v, err);
}

static int nap_and_tell(struct vacuum_pace *pace, struct error *err)
{
    os_sleep(pace->v->volume->os, NAP_NS);
    if (os_monotonic_ns(pace->v->volume->os) - pace->told_at_ns >= TELL_NS)
        return tell(pace, err);
    return vacuum_check_cancelled(pace->v, err);
}

static void set_waiting(struct vacuum *v, bool is_waiting)
{
    pthread_mutex_lock(&v->progress_lock);
    v->progress.is_waiting = is_waiting;
    pthread_mutex_unlock(&v->progress_lock);
}

int vacuum_pace_begin(struct vacuum_pace *pace, struct vacuum *v,
                      const struct vacuum_options *options, struct error *err)
{
    *pace = (struct vacuum_pace){.v = v, .options = options};
    int code = 0;
    set_waiting(v, true);
    while (code == 0 && !(pace->has_place = vacuum_budget_join(options->budget)))
        code = nap_and_tell(pace, err);
    set_waiting(v, false);
    pace->worked_since_ns = pace->measured_at_ns = os_monotonic_ns(v->volume->os);
    return code;
}

void vacuum_pace_end(struct vacuum_pace *pace)
{
    if (pace->has_place)
        vacuum_budget_leave(pace->options->budget);
    pace->has_place = false;
}

/* progress_lock held. */
static void measure(struct vacuum_pace *pace, int64_t now_ns)
{
    struct vacuum_progress *progress = &pace->v->progress;
    int64_t took_ns = now_ns - pace->measured_at_ns;
    if (took_ns < MEASURE_NS)
        return;
    double rate = (double)(progress->source_offset - pace->measured_offset) * 1e9 / (double)took_ns;
    if (progress->bytes_per_second > 0)
        rate = (double)progress->bytes_per_second * 2 / 3 + rate / 3;
    progress->bytes_per_second = (uint64_t)rate;
    uint64_t left = progress->bytes_total > progress->source_offset
                        ? progress->bytes_total - progress->source_offset
                        : 0;
    progress->left_ns = rate >= 1 ? (uint64_t)((double)left * 1e9 / rate) : 0;
    pace->measured_at_ns = now_ns;
    pace->measured_offset = progress->source_offset;
}

static int hold_while_paused(struct vacuum_pace *pace, struct error *err)
{
    struct vacuum *v = pace->v;
    int code = 0;
    bool has_held = false;
    while (code == 0 && atomic_load(&v->is_paused)) {
        has_held = true;
        code = nap_and_tell(pace, err);
    }
    if (has_held) { /* the rate is that of the work */
        pthread_mutex_lock(&v->progress_lock);
        pace->measured_at_ns = os_monotonic_ns(v->volume->os);
        pace->measured_offset = v->progress.source_offset;
        pthread_mutex_unlock(&v->progress_lock);
    }
    return code;
}

/* In pieces, so that the wait behind a large record is told of, and ends, like the others. */
static int take_and_tell(struct vacuum_pace *pace, uint64_t moved, struct error *err)
{
    struct vacuum_budget *budget = pace->options->budget;
    struct vacuum *v = pace->v;
    int code = 0;
    while (code == 0 && moved > 0) {
        uint64_t piece = vacuum_budget_piece(budget, moved);
        vacuum_budget_take(budget, piece, &v->is_cancelled);
        moved -= piece;
        if (os_monotonic_ns(v->volume->os) - pace->told_at_ns >= TELL_NS)
            code = tell(pace, err);
    }
    return code;
}

int vacuum_pace_step(struct vacuum_pace *pace, uint64_t source_offset, uint64_t moved,
                     struct error *err)
{
    struct vacuum *v = pace->v;
    struct os *os = v->volume->os;
    int64_t now_ns = os_monotonic_ns(os);
    pthread_mutex_lock(&v->progress_lock);
    v->progress.source_offset = source_offset;
    /* All that was passed by and not copied: the super block is neither. */
    uint64_t kept = v->progress.bytes_copied + SUPER_BLOCK_SIZE;
    v->progress.bytes_reclaimed = source_offset > kept ? source_offset - kept : 0;
    measure(pace, now_ns);
    pthread_mutex_unlock(&v->progress_lock);
    int code = tell(pace, err);
    if (code == 0)
        code = take_and_tell(pace, moved, err);
    if (code == 0)
        vacuum_budget_yield(pace->options->budget, now_ns - pace->worked_since_ns, &v->is_cancelled);
    if (code == 0)
        code = hold_while_paused(pace, err);
    if (code == 0)
        code = vacuum_check_cancelled(v, err);
    pace->worked_since_ns = os_monotonic_ns(os);
    return code;
}
