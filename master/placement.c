/* The walk: data center, rack, node, each tier drawn by free slots. A weighted draw without replacement is
 * done as one sort: each candidate gets the key -ln(u) / weight for a uniform u, and the ascending order
 * of the keys has the distribution of repeated draws (Efraimidis and Spirakis, 2006). So ten thousand
 * nodes in one rack cost n log n.
 *
 * Pure; under the topology's lock. */
#include "master/placement.h"

#include "master/topology_state.h"

#include <math.h>
#include <stdio.h>

struct candidate {
    struct place *place;
    double key;
};

struct walk {
    struct topology *t;
    const struct volume_option *option;
    size_t type;
    struct placement *result;
};

/* Fills `reason` when the place may not be the main one. */
typedef bool main_filter(const struct walk *w, const struct place *p, char reason[160]);

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

/* malloc'd, in draw order. */
static struct candidate *draw_order(const struct walk *w, const struct place *p, size_t *ret_count)
{
    size_t count = 0;
    struct candidate *all = must(calloc(p->child_count + 1, sizeof(*all)));
    for (size_t i = 0; i < p->child_count; i++) {
        int64_t slots = place_open_slots(p->children[i], w->type);
        if (slots <= 0)
            continue;
        double u = ((double)(w->t->env.random(w->t->env.ctx) >> 11) + 0.5) / 9007199254740992.0;
        all[count++] = (struct candidate){p->children[i], -log(u) / (double)slots};
    }
    if (count)
        qsort(all, count, sizeof(*all), compare_candidates);
    *ret_count = count;
    return all;
}

static size_t nodes_with_slot(const struct walk *w, const struct place *rack)
{
    size_t count = 0;
    for (size_t i = 0; i < rack->child_count; i++)
        count += place_open_slots(rack->children[i], w->type) > 0;
    return count;
}

static bool is_other(const char *wanted, const char *id)
{
    return wanted && *wanted && strcmp(wanted, id) != 0;
}

/* The peer looks at the wanted node only in the rack that the draw happened to reach; here the draw is led
 * there. */
static bool holds_wanted_node(const struct walk *w, const struct place *p)
{
    const char *wanted = w->option->data_node;
    if (!wanted || !*wanted)
        return true;
    if (p->kind == PLACE_RACK)
        return place_find_child(p, wanted) != NULL;
    for (size_t i = 0; i < p->child_count; i++)
        if (holds_wanted_node(w, p->children[i]))
            return true;
    return false;
}

static bool data_center_fits(const struct walk *w, const struct place *dc, char reason[160])
{
    unsigned y = w->option->placement.other_racks, z = w->option->placement.same_rack;
    int64_t slots = place_open_slots(dc, w->type);
    size_t fitting = 0;
    for (size_t i = 0; i < dc->child_count; i++)
        fitting += nodes_with_slot(w, dc->children[i]) >= z + 1u;
    if (is_other(w->option->data_center, dc->id))
        snprintf(reason, 160, "Not matching preferred data center:%.100s", w->option->data_center);
    else if (!holds_wanted_node(w, dc))
        snprintf(reason, 160, "Not matching preferred data node:%.100s", w->option->data_node);
    else if (dc->child_count < y + 1u)
        snprintf(reason, 160, "Only has %zu racks, not enough for %u.", dc->child_count, y + 1);
    else if (slots < (int64_t)y + z + 1)
        snprintf(reason, 160, "Free:%lld < Expected:%u", (long long)slots, y + z + 1);
    else if (fitting < y + 1u)
        snprintf(reason, 160,
                 "Only has %zu racks with more than %u free data nodes, not enough for %u.", fitting,
                 z + 1, y + 1);
    else
        return true;
    return false;
}

static bool rack_fits(const struct walk *w, const struct place *rack, char reason[160])
{
    unsigned z = w->option->placement.same_rack;
    int64_t slots = place_open_slots(rack, w->type);
    size_t open = nodes_with_slot(w, rack);
    if (is_other(w->option->rack, rack->id))
        snprintf(reason, 160, "Not matching preferred rack:%.100s", w->option->rack);
    else if (!holds_wanted_node(w, rack))
        snprintf(reason, 160, "Not matching preferred data node:%.100s", w->option->data_node);
    else if (slots < (int64_t)z + 1)
        snprintf(reason, 160, "Free:%lld < Expected:%u", (long long)slots, z + 1);
    else if (rack->child_count < z + 1u)
        snprintf(reason, 160, "Only has %zu data nodes, not enough for %u.", rack->child_count,
                 z + 1);
    else if (open < z + 1u)
        snprintf(reason, 160, "Only has %zu data nodes with a slot, not enough for %u.", open,
                 z + 1);
    else
        return true;
    return false;
}

static bool node_fits(const struct walk *w, const struct place *node, char reason[160])
{
    if (!is_other(w->option->data_node, node->id))
        return true;
    snprintf(reason, 160, "Not matching preferred data node:%.100s", w->option->data_node);
    return false;
}

/* Moves the main one to the front; the others keep their draw order. */
static int find_main(const struct walk *w, struct candidate *all, size_t count, main_filter *fits,
                     struct error *err)
{
    char reason[160], text[ERROR_MESSAGE_MAX];
    size_t length = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        if (fits(w, all[i].place, reason)) {
            struct candidate main = all[i];
            memmove(&all[1], &all[0], i * sizeof(*all));
            all[0] = main;
            return 0;
        }
        if (length < sizeof(text))
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%.64s:%s",
                                       i ? "\n" : "", all[i].place->id, reason);
    }
    return error_set(err, KELP_E_NO_SPACE, "No matching data node found! \n%s", text);
}

/* n of the children, the main one first; malloc'd, at least n elements. */
static int draw_tier(const struct walk *w, const struct place *p, size_t n, main_filter *fits,
                     struct candidate **ret, size_t *ret_count, struct error *err)
{
    struct candidate *all = draw_order(w, p, ret_count);
    int code = *ret_count < n
                   ? error_set(err, KELP_E_NO_SPACE, "Not enough data nodes found!")
                   : find_main(w, all, *ret_count, fits, err);
    if (code) {
        free(all);
        return code;
    }
    *ret = all;
    return 0;
}

static void take_node(struct walk *w, struct place *p)
{
    struct placement *result = w->result;
    CHECK(p->kind == PLACE_NODE && result->count < PLACEMENT_COPIES_MAX);
    struct data_node *n = (struct data_node *)p;
    data_node_ref(n);
    place_add_reserved(p, w->type, 1);
    result->nodes[result->count++] = n;
}

static bool is_host_used(const struct placement *result, const struct data_node *n)
{
    for (size_t i = 0; i < result->count; i++)
        if (strcmp(result->nodes[i]->ip, n->ip) == 0)
            return true;
    return false;
}

/* The main node and z others of the rack; hosts not used yet come first. */
static void take_rack_nodes(struct walk *w, struct candidate *all, size_t count, size_t n)
{
    take_node(w, all[0].place);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 1; i < count && w->result->count < n; i++) {
            if (!all[i].place || (pass == 0 && is_host_used(w->result, (void *)all[i].place)))
                continue;
            take_node(w, all[i].place);
            all[i].place = NULL;
        }
}

/* One node somewhere below, drawn by open slots. */
static int take_one_below(struct walk *w, struct place *p, struct error *err)
{
    while (p->kind != PLACE_NODE) {
        int64_t total = 0, slots;
        for (size_t i = 0; i < p->child_count; i++)
            if ((slots = place_open_slots(p->children[i], w->type)) > 0)
                total += slots;
        if (total == 0)
            return error_set(err, KELP_E_NO_SPACE, "No free volume slot found!");
        int64_t r = (int64_t)topology_draw(w->t, (uint64_t)total);
        struct place *next = NULL;
        for (size_t i = 0; i < p->child_count && !next; i++) {
            if ((slots = place_open_slots(p->children[i], w->type)) <= 0)
                continue;
            if (r < slots)
                next = p->children[i];
            else
                r -= slots;
        }
        p = next;
    }
    take_node(w, p);
    return 0;
}

static int walk_down(struct walk *w, struct error *err)
{
    struct replica_placement p = w->option->placement;
    struct candidate *centers = NULL, *racks = NULL, *nodes = NULL;
    size_t center_count, rack_count, node_count;
    int code = draw_tier(w, &w->t->root, p.other_data_centers + 1u, data_center_fits, &centers,
                         &center_count, err);
    if (!code) {
        CHECK(centers);
        code = draw_tier(w, centers[0].place, p.other_racks + 1u, rack_fits, &racks, &rack_count,
                         err);
    }
    if (!code)
        code = draw_tier(w, racks[0].place, p.same_rack + 1u, node_fits, &nodes, &node_count, err);
    if (!code)
        take_rack_nodes(w, nodes, node_count, p.same_rack + 1u);
    for (size_t i = 1; !code && i <= p.other_racks; i++)
        code = take_one_below(w, racks[i].place, err);
    for (size_t i = 1; !code && i <= p.other_data_centers; i++)
        code = take_one_below(w, centers[i].place, err);
    free(centers);
    free(racks);
    free(nodes);
    return code;
}

int placement_choose(struct topology *t, const struct volume_option *option, struct placement *ret,
                     struct error *err)
{
    size_t type = disk_type_find(t, option->disk_type);
    struct placement result = {.disk_type = type};
    struct walk w = {t, option, type, &result};
    if (type == NO_DISK_TYPE ||
        replica_placement_copies(option->placement) > PLACEMENT_COPIES_MAX)
        return error_set(err, KELP_E_NO_SPACE, "Not enough data nodes found!");
    int code = walk_down(&w, err);
    if (code)
        placement_release(t, &result);
    else
        *ret = result;
    return code;
}

void placement_release(struct topology *t, struct placement *p)
{
    (void)t;
    for (size_t i = 0; i < p->count; i++) {
        place_add_reserved(&p->nodes[i]->place, p->disk_type, -1);
        data_node_unref(p->nodes[i]);
    }
    *p = (struct placement){0};
}
