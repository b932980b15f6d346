/* A parked assign is owned by the list, or by the one thread that took it off to try it again, so
 * it is answered once. The list has its own lock, never held together with the topology's. */
#include "master/assigner.h"

#include "common/check.h"
#include "master/volume_growth.h"
#include "master/volume_pick.h"

#include <inttypes.h>

#define WARMING_UP "master is warming up, topology is still loading"

struct parked {
    struct assign_query query;
    char *texts[5];
    assign_done *done;
    bool (*is_abandoned)(void *ctx);
    void *ctx;
    int64_t deadline_ns;
    bool waits_for_growth; /* which it, or another one, has set off */
    struct parked *next;
};

struct assigner {
    struct cluster *cluster;
    struct grower *grower;
    pthread_mutex_t lock; /* the list, is_stopping */
    struct parked *first;
    size_t parked_count;
    bool is_stopping;
};

struct assigner *assigner_create(struct cluster *cluster)
{
    struct assigner *assigner = must(calloc(1, sizeof(*assigner)));
    assigner->cluster = cluster;
    pthread_mutex_init(&assigner->lock, NULL);
    return assigner;
}

void assigner_set_grower(struct assigner *assigner, struct grower *grower)
{
    assigner->grower = grower;
}

void assigner_destroy(struct assigner *assigner)
{
    if (!assigner)
        return;
    CHECK(assigner->first == NULL);
    pthread_mutex_destroy(&assigner->lock);
    free(assigner);
}

/* ---- One try --------------------------------------------------------------------------------- */

/* What a try came to. Owns what the result points to. */
struct attempt {
    struct assign_result result;
    bool must_wait;
    bool sets_off_growth; /* volume_growth_begin said yes: hand the request to the grower */
    bool joins_growth;    /* another one's */
    struct buffer message;
    struct assign_location *locations;
};

static void attempt_fini(struct attempt *a)
{
    for (size_t i = 0; i < a->result.location_count; i++) {
        free((char *)a->locations[i].url);
        free((char *)a->locations[i].public_url);
        free((char *)a->locations[i].data_center);
    }
    free(a->locations);
    buffer_fini(&a->message);
}

static void refuse(struct attempt *a, enum assign_status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void refuse(struct attempt *a, enum assign_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    buffer_clear(&a->message);
    buffer_vprintf(&a->message, fmt, args);
    va_end(args);
    a->result.status = status;
    a->result.message = buffer_cstr(&a->message);
}

static void fill_locations(struct attempt *a, const struct topology *t,
                           const struct assign_query *query, const struct volume_pick *pick)
{
    size_t room = pick->location_count;
    struct topology_location *found = must(calloc(room + 1, sizeof(*found)));
    bool is_ec;
    size_t count =
        topology_lookup(t, pick->volume_id, query->option.collection, found, room, &is_ec);
    if (count > room)
        count = room;
    a->locations = must(calloc(count + 1, sizeof(*a->locations)));
    for (size_t i = 0; i < count; i++) {
        struct data_node_info info;
        data_node_info(found[i].node, &info);
        a->locations[i] = (struct assign_location){
            .url = must(strdup(info.url)),
            .public_url = must(strdup(info.public_url)),
            .data_center = must(strdup(info.data_center)),
            .grpc_port = info.grpc_port,
        };
    }
    a->result.locations = a->locations;
    a->result.location_count = count;
    free(found);
}

static void hand_out(struct attempt *a, struct cluster *cluster, const struct assign_query *query,
                     const struct volume_pick *pick, struct file_id *id)
{
    id->volume_id = pick->volume_id;
    file_id_format(id, a->result.fid);
    a->result.count = query->count;
    a->result.status = ASSIGN_OK;
    fill_locations(a, cluster->topology, query, pick);
}

static bool is_empty(const char *text) { return !text || !*text; }

/* The peer's newer rpc answers about capacity; true when one of them applies. */
static bool lacks_capacity(struct attempt *a, const struct topology *t,
                           const struct assign_query *query, const char *pick_text,
                           const char *option_text)
{
    const char *type = query->option.disk_type;
    if (query->is_http)
        return false;
    if (topology_max_slots_of_all_types(t) == 0) {
        refuse(a, ASSIGN_NO_CAPACITY, "no volume server capacity registered yet for %s",
               option_text);
        return true;
    }
    if (topology_max_slots(t, type) != 0)
        return false;
    if (is_empty(type) || strcasecmp(type, "hdd") == 0)
        refuse(a, ASSIGN_NO_VOLUME,
               "%s and no volume server carries the default (unlabeled) disk layout for %s",
               pick_text, option_text);
    else
        refuse(a, ASSIGN_NO_VOLUME, "%s and no volume server carries the \"%s\" disk layout for %s",
               pick_text, type, option_text);
    return true;
}

/* Nothing is writable: whether to grow, wait or give up. */
static void seek_growth(struct attempt *a, struct topology *t, const struct assign_query *query,
                        const char *pick_text, bool has_waited)
{
    char option_text[VOLUME_OPTION_TEXT_SIZE];
    volume_option_format(&query->option, option_text);
    const struct volume_option *option = &query->option;
    if (lacks_capacity(a, t, query, pick_text, option_text))
        return;
    bool is_disabled = topology_options(t)->growth_disabled;
    bool is_pending = volume_growth_is_pending(t, option);
    /* The last slot may be the one that growth under way has taken: then it is worth waiting. */
    if (!is_pending && topology_free_slots(t, option->disk_type) <= 0) {
        if (is_disabled || has_waited)
            refuse(a, ASSIGN_NO_VOLUME, "%s", pick_text);
        else
            refuse(a, ASSIGN_NO_VOLUME, "%s and no free volumes left for %s", pick_text,
                   option_text);
        return;
    }
    if (is_disabled) {
        refuse(a, ASSIGN_NO_VOLUME, "%s", pick_text);
        a->must_wait = true;
        return;
    }
    refuse(a, ASSIGN_GROWING, "no writable volumes for %s, volume growth in progress", option_text);
    if (has_waited) {
        a->must_wait = is_pending;
        return;
    }
    a->sets_off_growth = volume_growth_begin(t, option);
    a->joins_growth = !a->sets_off_growth && is_pending;
    a->must_wait = a->sets_off_growth || a->joins_growth;
    bool is_impatient =
        !query->is_http && (!is_empty(option->data_center) || !is_empty(option->rack));
    if (is_impatient) {
        refuse(a, ASSIGN_NO_VOLUME, "%s", pick_text);
        a->must_wait = false;
    }
}

/* Keys first, because the pick counts what is going to be written against its volume. */
static void pick_and_hand_out(struct attempt *a, struct cluster *cluster,
                              const struct assign_query *query, bool has_waited,
                              int64_t warm_up_ns)
{
    struct topology *t = cluster->topology;
    struct volume_pick pick;
    struct file_id id;
    struct error err;
    int code = cluster_take_keys(cluster, query->count, &id.key, &id.cookie, &err);
    if (code) {
        a->must_wait = code == KELP_E_AGAIN;
        refuse(a, a->must_wait ? ASSIGN_GROWING : ASSIGN_NO_VOLUME, "%s", err.message);
        return;
    }
    code = volume_pick_for_write(t, &query->option, query->count, query->bytes_per_file, &pick,
                                 &err);
    if (!code) {
        hand_out(a, cluster, query, &pick, &id);
        return;
    }
    cluster_give_back_keys(cluster, id.key, query->count);
    if (warm_up_ns > 0) {
        /* Servers may still be on their way; a volume that is here already is as good as ever,
         * because keys are durable before they are handed out. */
        refuse(a, ASSIGN_WARMING_UP, WARMING_UP);
        a->result.retry_after_ns = warm_up_ns;
    } else if (code == KELP_E_NOT_FOUND) {
        metric_add(cluster->metrics->pick_errors, 1);
        seek_growth(a, t, query, err.message, has_waited);
    } else {
        refuse(a, ASSIGN_NO_VOLUME, "%s", err.message);
    }
}

/* Takes the topology's lock. */
static void try_assign(struct assigner *assigner, const struct assign_query *query,
                       bool has_waited, struct attempt *a)
{
    struct cluster *cluster = assigner->cluster;
    cluster_lock(cluster);
    struct topology *t = cluster->topology;
    int64_t warm_up_ns = topology_warm_up_left_ns(t);
    if (!warm_up_ns && !is_empty(query->option.data_center) &&
        !topology_has_data_center(t, query->option.data_center) &&
        !topology_has_any_data_center(t)) {
        refuse(a, ASSIGN_NO_DATA_CENTER, "data center %s not found in topology",
               query->option.data_center);
    } else {
        if (!query->is_http && query->writable_volume_count > 0)
            volume_growth_set_target(t, &query->option, query->writable_volume_count);
        pick_and_hand_out(a, cluster, query, has_waited, warm_up_ns);
    }
    cluster_unlock(cluster);
}

/* ---- Parking --------------------------------------------------------------------------------- */

static const char *keep(struct parked *parked, size_t slot, const char *text)
{
    parked->texts[slot] = must(strdup(text ? text : ""));
    return parked->texts[slot];
}

static struct parked *parked_create(const struct assign_query *query)
{
    struct parked *parked = must(calloc(1, sizeof(*parked)));
    parked->query = *query;
    struct volume_option *option = &parked->query.option;
    option->collection = keep(parked, 0, option->collection);
    option->disk_type = keep(parked, 1, option->disk_type);
    option->data_center = keep(parked, 2, option->data_center);
    option->rack = keep(parked, 3, option->rack);
    option->data_node = keep(parked, 4, option->data_node);
    return parked;
}

static void parked_free(struct parked *parked)
{
    for (size_t i = 0; i < sizeof(parked->texts) / sizeof(parked->texts[0]); i++)
        free(parked->texts[i]);
    free(parked);
}

/* False when there is no room, or no time left to wait. */
static bool park(struct assigner *assigner, struct parked *parked)
{
    pthread_mutex_lock(&assigner->lock);
    bool is_parked = !assigner->is_stopping && assigner->parked_count < ASSIGNS_PARKED_MAX;
    if (is_parked) {
        parked->next = assigner->first;
        assigner->first = parked;
        assigner->parked_count++;
    }
    pthread_mutex_unlock(&assigner->lock);
    return is_parked;
}

static void answer(struct assigner *assigner, struct attempt *a, assign_done *done, void *ctx)
{
    static const char *const names[] = {
        [ASSIGN_OK] = "ok",
        [ASSIGN_WARMING_UP] = "warming_up",
        [ASSIGN_NO_DATA_CENTER] = "no_data_center",
        [ASSIGN_NO_VOLUME] = "no_volume",
        [ASSIGN_NO_CAPACITY] = "no_capacity",
        [ASSIGN_GROWING] = "growing",
        [ASSIGN_STOPPING] = "stopping",
    };
    const char *name = names[a->result.status];
    metric_add(metric_series(assigner->cluster->metrics->assigns, (const char *[]){name}), 1);
    done(ctx, &a->result);
    attempt_fini(a);
}

static void set_off_growth(struct assigner *assigner, const struct assign_query *query)
{
    const struct topology_options *options = topology_options(assigner->cluster->topology);
    struct grow_request request = {
        .option = query->option,
        .count = volume_growth_count(options, query->option.placement,
                                     query->writable_volume_count),
        .reason = query->is_http ? "http assign" : "grpc assign",
        .is_begun = true,
        .is_optional = true,
    };
    /* A full queue ends the growth again; the waiting assign then finds it gone and is sent
     * away. */
    grower_submit(assigner->grower, &request, NULL);
}

/* One try for a query; parks or answers. `parked` NULL: the first try. */
static void advance(struct assigner *assigner, const struct assign_query *query,
                    struct parked *parked, assign_done *done, bool (*is_abandoned)(void *ctx),
                    void *ctx)
{
    struct attempt a = {.message = BUFFER_INIT};
    int64_t now_ns = cluster_now_ns(assigner->cluster);
    try_assign(assigner, query, parked && parked->waits_for_growth, &a);
    bool sets_off_growth = a.sets_off_growth;
    bool waits = a.must_wait && (!parked || now_ns < parked->deadline_ns);
    if (waits) {
        if (!parked) {
            parked = parked_create(query);
            parked->done = done;
            parked->is_abandoned = is_abandoned;
            parked->ctx = ctx;
            parked->deadline_ns =
                now_ns + (a.joins_growth ? ASSIGN_JOIN_BUDGET_NS : ASSIGN_BUDGET_NS);
        }
        parked->waits_for_growth |= sets_off_growth || a.joins_growth;
    }
    /* Parked first, so that growth that ends at once finds it. */
    struct assign_query grow_query = *query;
    struct parked *grow_texts = sets_off_growth ? parked_create(query) : NULL;
    if (grow_texts)
        grow_query = grow_texts->query;
    bool is_parked = waits && park(assigner, parked);
    if (grow_texts) {
        set_off_growth(assigner, &grow_query);
        parked_free(grow_texts);
    }
    if (is_parked) {
        attempt_fini(&a);
        return;
    }
    answer(assigner, &a, done, ctx);
    if (parked)
        parked_free(parked);
}

static void answer_stopping(struct assigner *assigner, assign_done *done, void *ctx)
{
    struct attempt a = {.message = BUFFER_INIT};
    refuse(&a, ASSIGN_STOPPING, "the master is stopping");
    answer(assigner, &a, done, ctx);
}

void assigner_assign(struct assigner *assigner, const struct assign_query *query,
                     assign_done *done, bool (*is_abandoned)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&assigner->lock);
    bool is_stopping = assigner->is_stopping;
    pthread_mutex_unlock(&assigner->lock);
    if (is_stopping)
        answer_stopping(assigner, done, ctx);
    else
        advance(assigner, query, NULL, done, is_abandoned, ctx);
}

static struct parked *take_all(struct assigner *assigner, bool is_last)
{
    pthread_mutex_lock(&assigner->lock);
    struct parked *list = assigner->first;
    assigner->first = NULL;
    assigner->parked_count = 0;
    if (is_last)
        assigner->is_stopping = true;
    pthread_mutex_unlock(&assigner->lock);
    return list;
}

void assigner_retry(struct assigner *assigner)
{
    struct parked *list = take_all(assigner, false);
    while (list) {
        struct parked *parked = list;
        list = parked->next;
        if (parked->is_abandoned && parked->is_abandoned(parked->ctx)) {
            struct attempt a = {.message = BUFFER_INIT};
            refuse(&a, ASSIGN_GROWING, "the client went away");
            answer(assigner, &a, parked->done, parked->ctx);
            parked_free(parked);
            continue;
        }
        advance(assigner, &parked->query, parked, parked->done, parked->is_abandoned, parked->ctx);
    }
}

void assigner_stop(struct assigner *assigner)
{
    struct parked *list = take_all(assigner, true);
    while (list) {
        struct parked *parked = list;
        list = parked->next;
        answer_stopping(assigner, parked->done, parked->ctx);
        parked_free(parked);
    }
}
