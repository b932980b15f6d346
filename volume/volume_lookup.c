/* A table of answers and of questions under way, under one lock that is held for a look-up in a
 * hash table and never while anything is asked or told. Loops find what is cached without a hop;
 * what is not goes to the source, and the answer comes back to each asker's loop as a posted
 * task. */
#include "volume/volume_lookup.h"

#include "common/check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

struct cached_answer {
    uint32_t volume_id;
    uint64_t expires_ms;
    struct volume_locations *locations;
    UT_hash_handle hh; /* insertion order is age: an answer that is replaced goes to the end */
};

struct volume_lookup_question {
    struct volume_lookup *lookup;
    uint32_t volume_id;
    bool is_stale; /* forgotten while under way: the answer is delivered but not kept */
    struct volume_lookup_request *askers;
    UT_hash_handle hh;
};

struct volume_lookup {
    struct volume_lookup_source source;
    pthread_mutex_t lock; /* of all that follows */
    struct cached_answer *answers;
    struct volume_lookup_question *questions;
};

/* The reference count stands before what callers see. */
struct counted_locations {
    atomic_uint references;
    struct volume_locations shown;
    struct volume_location items[];
};

static struct counted_locations *counted(struct volume_locations *locations)
{
    return (struct counted_locations *)((char *)locations -
                                        offsetof(struct counted_locations, shown));
}

struct volume_locations *volume_locations_create(size_t count)
{
    struct counted_locations *made =
        must(calloc(1, sizeof(*made) + count * sizeof(struct volume_location)));
    atomic_init(&made->references, 1);
    made->shown.count = count;
    made->shown.items = made->items;
    return &made->shown;
}

struct volume_locations *volume_locations_ref(struct volume_locations *locations)
{
    atomic_fetch_add_explicit(&counted(locations)->references, 1, memory_order_relaxed);
    return locations;
}

void volume_locations_unref(struct volume_locations *locations)
{
    if (!locations || atomic_fetch_sub(&counted(locations)->references, 1) != 1)
        return;
    for (size_t i = 0; i < locations->count; i++) {
        free(locations->items[i].url);
        free(locations->items[i].public_url);
    }
    free(counted(locations));
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int volume_lookup_create(struct volume_lookup **ret, const struct volume_lookup_source *source,
                         struct error *err)
{
    struct volume_lookup *lookup = calloc(1, sizeof(*lookup));
    if (!lookup)
        return error_set(err, KELP_E_NO_MEMORY, "volume lookup: out of memory");
    lookup->source = *source;
    CHECK(pthread_mutex_init(&lookup->lock, NULL) == 0);
    *ret = lookup;
    return 0;
}

static void drop_answer(struct volume_lookup *lookup, struct cached_answer *answer)
{
    HASH_DEL(lookup->answers, answer);
    volume_locations_unref(answer->locations);
    free(answer);
}

void volume_lookup_destroy(struct volume_lookup *lookup)
{
    if (!lookup)
        return;
    CHECK(!lookup->questions);
    struct cached_answer *answer, *next;
    HASH_ITER (hh, lookup->answers, answer, next)
        drop_answer(lookup, answer);
    pthread_mutex_destroy(&lookup->lock);
    free(lookup);
}

/* Lock held. A new reference, or NULL. */
static struct volume_locations *find_answer(struct volume_lookup *lookup, uint32_t volume_id)
{
    struct cached_answer *answer;
    HASH_FIND(hh, lookup->answers, &volume_id, sizeof(volume_id), answer);
    if (!answer)
        return NULL;
    if (answer->expires_ms > now_ms())
        return volume_locations_ref(answer->locations);
    drop_answer(lookup, answer);
    return NULL;
}

/* Lock held; takes a reference of its own. */
static void keep_answer(struct volume_lookup *lookup, uint32_t volume_id,
                        struct volume_locations *locations)
{
    struct cached_answer *answer;
    HASH_FIND(hh, lookup->answers, &volume_id, sizeof(volume_id), answer);
    if (answer)
        drop_answer(lookup, answer);
    else if (HASH_COUNT(lookup->answers) >= VOLUME_LOOKUP_CACHE_MAX)
        drop_answer(lookup, lookup->answers);
    answer = must(malloc(sizeof(*answer)));
    *answer = (struct cached_answer){.volume_id = volume_id,
                                     .expires_ms = now_ms() + VOLUME_LOOKUP_CACHE_MS,
                                     .locations = volume_locations_ref(locations)};
    HASH_ADD(hh, lookup->answers, volume_id, sizeof(answer->volume_id), answer);
}

void volume_lookup_find(struct volume_lookup *lookup, struct volume_lookup_request *request)
{
    struct volume_lookup_question *question = NULL, *existing;
    request->locations = NULL;
    request->code = 0;

    pthread_mutex_lock(&lookup->lock);
    request->locations = find_answer(lookup, request->volume_id);
    if (!request->locations) {
        HASH_FIND(hh, lookup->questions, &request->volume_id, sizeof(uint32_t), existing);
        if (!existing) {
            question = must(calloc(1, sizeof(*question)));
            question->lookup = lookup;
            question->volume_id = request->volume_id;
            HASH_ADD(hh, lookup->questions, volume_id, sizeof(uint32_t), question);
            existing = question;
        }
        request->next = existing->askers;
        existing->askers = request;
    }
    bool is_cached = request->locations != NULL;
    pthread_mutex_unlock(&lookup->lock);

    if (is_cached)
        request->done(request);
    else if (question)
        lookup->source.ask(lookup->source.ctx, question->volume_id, question);
}

static void tell_asker(struct loop_task *task)
{
    struct volume_lookup_request *request =
        (struct volume_lookup_request *)((char *)task -
                                         offsetof(struct volume_lookup_request, task));
    request->done(request);
}

void volume_lookup_answer(struct volume_lookup_question *question,
                          struct volume_locations *locations, const struct error *err)
{
    struct volume_lookup *lookup = question->lookup;
    pthread_mutex_lock(&lookup->lock);
    HASH_DEL(lookup->questions, question);
    if (locations && locations->count > 0 && !question->is_stale)
        keep_answer(lookup, question->volume_id, locations);
    pthread_mutex_unlock(&lookup->lock);

    for (struct volume_lookup_request *request = question->askers, *next; request; request = next) {
        next = request->next;
        if (locations) {
            request->locations = volume_locations_ref(locations);
        } else {
            request->code = err->code;
            request->err = *err;
        }
        request->task.run = tell_asker;
        loop_post(request->loop, &request->task);
    }
    volume_locations_unref(locations);
    free(question);
}

void volume_lookup_forget(struct volume_lookup *lookup, uint32_t volume_id)
{
    struct cached_answer *answer;
    struct volume_lookup_question *question;
    pthread_mutex_lock(&lookup->lock);
    HASH_FIND(hh, lookup->answers, &volume_id, sizeof(volume_id), answer);
    if (answer)
        drop_answer(lookup, answer);
    HASH_FIND(hh, lookup->questions, &volume_id, sizeof(volume_id), question);
    if (question)
        question->is_stale = true;
    pthread_mutex_unlock(&lookup->lock);
}
