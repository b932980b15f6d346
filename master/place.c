/* The tree and its counters. Every change of a disk's counters walks up the parents at once, so reading
 * any level is free and nothing is ever summed up again. A detached node keeps its own counters; its
 * ancestors lose them at the detachment and get them back when it returns.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

#include <ctype.h>

int64_t disk_usage_free_slots(const struct disk_usage *u)
{
    return u->max + u->remote - u->volumes - (u->ec_shards + 9) / 10;
}

/* ---- Disk types ---------------------------------------------------------------------------------- */

static bool type_matches(const char *name, const char *text)
{
    return strcasecmp(name, text) == 0 || (*name == '\0' && strcasecmp(text, "hdd") == 0);
}

size_t disk_type_find(const struct topology *t, const char *text)
{
    text = text_or_empty(text);
    for (size_t i = 0; i < t->disk_type_count; i++)
        if (type_matches(t->disk_types[i], text))
            return i;
    return NO_DISK_TYPE;
}

int disk_type_open(struct topology *t, const char *text, size_t *ret_type, struct error *err)
{
    text = text_or_empty(text);
    size_t type = disk_type_find(t, text);
    if (type == NO_DISK_TYPE) {
        if (t->disk_type_count == TOPOLOGY_DISK_TYPES_MAX)
            return error_set(err, KELP_E_LIMIT,
                             "disk type %.64s is one too many: a cluster has at most %d; use fewer tags",
                             text, TOPOLOGY_DISK_TYPES_MAX);
        char lower[256];
        size_t length = 0;
        for (; text[length] && length < sizeof(lower) - 1; length++)
            lower[length] = (char)tolower((unsigned char)text[length]);
        if (text[length])
            return error_set(err, KELP_E_LIMIT, "disk type %.32s... is too long", text);
        lower[length] = '\0';
        if (strcmp(lower, "hdd") == 0)
            lower[0] = '\0';
        type = t->disk_type_count++;
        t->disk_types[type] = name_pool_intern(&t->names, lower);
    }
    *ret_type = type;
    return 0;
}

size_t topology_disk_type_count(const struct topology *t) { return t->disk_type_count; }

const char *topology_disk_type_name(const struct topology *t, size_t type)
{
    return type < t->disk_type_count ? t->disk_types[type] : "";
}

/* ---- Counters ------------------------------------------------------------------------------------ */

struct place_disk *place_disk(struct place *p, size_t type)
{
    if (type >= p->disk_count) {
        p->disks = must(realloc(p->disks, (type + 1) * sizeof(*p->disks)));
        memset(p->disks + p->disk_count, 0, (type + 1 - p->disk_count) * sizeof(*p->disks));
        p->disk_count = type + 1;
    }
    p->disks[type].is_present = true;
    return &p->disks[type];
}

static void add_disk(struct place_disk *d, const struct place_disk *delta, int sign)
{
    struct disk_usage *u = &d->usage;
    const struct disk_usage *x = &delta->usage;
    u->max += sign * x->max;
    u->volumes += sign * x->volumes;
    u->remote += sign * x->remote;
    u->active += sign * x->active;
    u->ec_shards += sign * x->ec_shards;
    u->total_bytes += sign < 0 ? 0 - x->total_bytes : x->total_bytes;
    u->free_bytes += sign < 0 ? 0 - x->free_bytes : x->free_bytes;
    d->reserved += sign * delta->reserved;
    d->blocked += sign * delta->blocked;
}

static void add_upwards(struct place *p, size_t type, const struct place_disk *delta, int sign)
{
    for (; p; p = p->parent)
        add_disk(place_disk(p, type), delta, sign);
}

void place_add_usage(struct place *p, size_t type, const struct disk_usage *delta)
{
    struct place *node = p;
    add_upwards(p, type, &(struct place_disk){.usage = *delta}, 1);
    if (node->kind == PLACE_NODE)
        data_node_refresh_blocked((struct data_node *)node);
}

void place_add_reserved(struct place *p, size_t type, int64_t delta)
{
    add_upwards(p, type, &(struct place_disk){.reserved = delta}, 1);
}

int64_t place_open_slots(const struct place *p, size_t type)
{
    if (type >= p->disk_count)
        return 0;
    const struct place_disk *d = &p->disks[type];
    return disk_usage_free_slots(&d->usage) - d->reserved - d->blocked;
}

void data_node_refresh_blocked(struct data_node *n)
{
    for (size_t type = 0; type < n->place.disk_count; type++) {
        struct place_disk *d = &n->place.disks[type];
        int64_t open = disk_usage_free_slots(&d->usage);
        int64_t wanted = n->is_in_maintenance && open > 0 ? open : 0;
        if (wanted != d->blocked)
            add_upwards(&n->place, type, &(struct place_disk){.blocked = wanted - d->blocked}, 1);
    }
}

bool place_usage(const struct place *p, size_t type, struct disk_usage *ret)
{
    if (type >= p->disk_count || !p->disks[type].is_present)
        return false;
    *ret = p->disks[type].usage;
    return true;
}

int64_t place_free_slots(const struct place *p)
{
    int64_t sum = 0;
    for (size_t type = 0; type < p->disk_count; type++)
        sum += disk_usage_free_slots(&p->disks[type].usage);
    return sum;
}

int64_t place_max_slots(const struct place *p)
{
    int64_t sum = 0;
    for (size_t type = 0; type < p->disk_count; type++)
        sum += p->disks[type].usage.max;
    return sum;
}

/* ---- The tree ------------------------------------------------------------------------------------ */

/* Where `id` is or belongs among the sorted children. */
static size_t child_position(const struct place *p, const char *id, bool *ret_found)
{
    size_t low = 0, high = p->child_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(p->children[middle]->id, id);
        if (order == 0) {
            *ret_found = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *ret_found = false;
    return low;
}

struct place *place_find_child(const struct place *p, const char *id)
{
    bool found;
    size_t i = child_position(p, id, &found);
    return found ? p->children[i] : NULL;
}

void place_attach(struct place *parent, struct place *child)
{
    bool found;
    size_t at = child_position(parent, child->id, &found);
    CHECK(!found && !child->parent);
    parent->children = array_reserve(parent->children, parent->child_count,
                                     &parent->child_capacity, sizeof(struct place *));
    memmove(&parent->children[at + 1], &parent->children[at],
            (parent->child_count - at) * sizeof(struct place *));
    parent->children[at] = child;
    parent->child_count++;
    child->parent = parent;
    for (size_t type = 0; type < child->disk_count; type++)
        if (child->disks[type].is_present)
            add_upwards(parent, type, &child->disks[type], 1);
}

void place_detach(struct place *child)
{
    struct place *parent = child->parent;
    bool found;
    size_t at = child_position(parent, child->id, &found);
    CHECK(found && parent->children[at] == child);
    for (size_t type = 0; type < child->disk_count; type++)
        if (child->disks[type].is_present)
            add_upwards(parent, type, &child->disks[type], -1);
    parent->child_count--;
    memmove(&parent->children[at], &parent->children[at + 1],
            (parent->child_count - at) * sizeof(struct place *));
    child->parent = NULL;
}

struct place *place_open_child(struct place *p, enum place_kind kind, const char *interned_id)
{
    struct place *child = place_find_child(p, interned_id);
    if (!child) {
        child = must(calloc(1, sizeof(*child)));
        child->kind = kind;
        child->id = interned_id;
        place_attach(p, child);
    }
    return child;
}

void place_fini(struct place *p)
{
    free(p->children);
    free(p->disks);
    p->children = NULL;
    p->disks = NULL;
    p->child_count = p->child_capacity = p->disk_count = 0;
}

const struct place *topology_root(const struct topology *t) { return &t->root; }
enum place_kind place_kind(const struct place *p) { return p->kind; }
const char *place_id(const struct place *p) { return p->id; }
const struct place *place_parent(const struct place *p) { return p->parent; }
size_t place_child_count(const struct place *p) { return p->child_count; }
const struct place *place_child(const struct place *p, size_t i) { return p->children[i]; }

const struct data_node *place_node(const struct place *p)
{
    return p->kind == PLACE_NODE ? (const struct data_node *)p : NULL;
}
