/* Erasure-coded volumes: which node holds which shards. One holder object per (node, volume, physical
 * disk); it hangs in its node's disk and in its volume. EC volumes have no layout. A volume once known
 * stays known, without holders, until its collection is deleted: readers are answered with empty shard
 * lists instead of "not found".
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

struct ec_volume *ec_volume_find(const struct topology *t, uint32_t id)
{
    struct ec_volume *v;
    HASH_FIND(hh, t->ec_volumes, &id, sizeof(id), v);
    return v;
}

bool ec_is_held(const struct topology *t, const struct data_node *n, uint32_t id)
{
    const struct ec_volume *v = ec_volume_find(t, id);
    for (size_t i = 0; v && i < v->holder_count; i++)
        if (v->holders[i]->node == n)
            return true;
    return false;
}

static struct ec_holder *holder_find(const struct ec_volume *v, const struct data_node *n,
                                     uint32_t disk_id)
{
    for (size_t i = 0; v && i < v->holder_count; i++)
        if (v->holders[i]->node == n && v->holders[i]->record.disk_id == disk_id)
            return v->holders[i];
    return NULL;
}

static struct ec_volume *volume_open(struct topology *t, uint32_t id, const char *collection)
{
    struct ec_volume *v = ec_volume_find(t, id);
    if (!v) {
        v = must(calloc(1, sizeof(*v)));
        v->id = id;
        HASH_ADD(hh, t->ec_volumes, id, sizeof(v->id), v);
    }
    v->collection = name_pool_intern(&t->names, collection);
    topology_raise_max_volume_id(t, id);
    return v;
}

static struct ec_holder *holder_create(struct topology *t, struct data_node *n, size_t type,
                                       const struct ec_record *record)
{
    struct ec_volume *v = volume_open(t, record->id, record->collection);
    struct ec_holder *h = must(calloc(1, sizeof(*h)));
    struct node_disk *disk = data_node_disk(n, type);
    CHECK(type <= UINT16_MAX && disk->ec_count < UINT32_MAX);
    h->node = n;
    h->volume = v;
    h->type = (uint16_t)type;
    h->record.id = record->id;
    h->record.disk_id = record->disk_id;
    h->disk_index = (uint32_t)disk->ec_count;
    disk->ecs =
        array_reserve(disk->ecs, disk->ec_count, &disk->ec_capacity, sizeof(struct ec_holder *));
    disk->ecs[disk->ec_count++] = h;
    v->holders = array_reserve(v->holders, v->holder_count, &v->holder_capacity,
                               sizeof(struct ec_holder *));
    v->holders[v->holder_count++] = h;
    return h;
}

/* The size of one shard in a packed list; 0 when the sender gave none. */
static int64_t shard_size(const struct ec_record *record, unsigned shard)
{
    if (!(record->shard_bits >> shard & 1))
        return 0;
    size_t at = (size_t)__builtin_popcount(record->shard_bits & ((1u << shard) - 1));
    return at < record->size_count ? record->shard_sizes[at] : 0;
}

/* Gives the holder `bits`; sizes come from `fresh` where it has the shard, else from before. */
static void set_shards(struct ec_holder *h, uint32_t bits, const struct ec_record *fresh)
{
    size_t count = (size_t)__builtin_popcount(bits), at = 0;
    int64_t before = __builtin_popcount(h->record.shard_bits);
    int64_t *sizes = count ? must(malloc(count * sizeof(*sizes))) : NULL;
    for (unsigned shard = 0; shard < EC_SHARD_IDS; shard++)
        if (bits >> shard & 1) {
            CHECK(at < count && sizes);
            sizes[at++] = shard_size(fresh->shard_bits >> shard & 1 ? fresh : &h->record, shard);
        }
    free((void *)h->record.shard_sizes);
    h->record.shard_sizes = sizes;
    h->record.size_count = count;
    h->record.shard_bits = bits;
    int64_t delta = (int64_t)count - before;
    if (delta)
        place_add_usage(&h->node->place, h->type, &(struct disk_usage){.ec_shards = delta});
}

static void set_properties(struct topology *t, struct ec_holder *h, const struct ec_record *record)
{
    h->record.collection = h->volume->collection;
    h->record.disk_type = name_pool_intern(&t->names, record->disk_type);
    h->record.expire_at_sec = record->expire_at_sec;
    h->record.encode_ts_ns = record->encode_ts_ns;
}

void ec_holder_remove(struct topology *t, struct ec_holder *h)
{
    struct ec_volume *v = h->volume;
    set_shards(h, 0, &(struct ec_record){0});
    size_t i = 0;
    while (v->holders[i] != h)
        i++;
    v->holder_count--;
    memmove(&v->holders[i], &v->holders[i + 1], (v->holder_count - i) * sizeof(*v->holders));
    struct node_disk *disk = data_node_disk(h->node, h->type);
    struct ec_holder *last = disk->ecs[--disk->ec_count];
    disk->ecs[h->disk_index] = last;
    last->disk_index = h->disk_index;
    free(h);
}

void ec_replace(struct topology *t, struct data_node *n, size_t type, const struct ec_record *record,
                uint32_t *ret_gained, uint32_t *ret_lost)
{
    struct ec_holder *h = holder_find(ec_volume_find(t, record->id), n, record->disk_id);
    uint32_t before = h ? h->record.shard_bits : 0;
    *ret_gained = record->shard_bits & ~before;
    *ret_lost = before & ~record->shard_bits;
    if (h && h->type != type) {
        ec_holder_remove(t, h);
        h = NULL;
    }
    if (record->shard_bits == 0) {
        if (h)
            ec_holder_remove(t, h);
        return;
    }
    if (!h)
        h = holder_create(t, n, type, record);
    volume_open(t, record->id, record->collection);
    set_properties(t, h, record);
    h->record.file_count = record->file_count;
    h->record.delete_count = record->delete_count;
    h->seen_epoch = n->list_epoch;
    set_shards(h, record->shard_bits, record);
}

void ec_merge(struct topology *t, struct data_node *n, size_t type, const struct ec_record *record)
{
    if (record->shard_bits == 0)
        return;
    struct ec_holder *h = holder_find(ec_volume_find(t, record->id), n, record->disk_id);
    if (!h)
        h = holder_create(t, n, type, record);
    volume_open(t, record->id, record->collection);
    set_properties(t, h, record);
    set_shards(h, h->record.shard_bits | record->shard_bits, record);
}

void ec_subtract(struct topology *t, struct data_node *n, const struct ec_record *record)
{
    struct ec_holder *h = holder_find(ec_volume_find(t, record->id), n, record->disk_id);
    if (!h)
        return;
    uint32_t left = h->record.shard_bits & ~record->shard_bits;
    if (left)
        set_shards(h, left, &(struct ec_record){0});
    else
        ec_holder_remove(t, h);
}

void ec_volume_destroy(struct topology *t, struct ec_volume *v)
{
    CHECK(v->holder_count == 0);
    HASH_DEL(t->ec_volumes, v);
    free(v->holders);
    free(v);
}

bool topology_lookup_ec(const struct topology *t, uint32_t id,
                        void (*visit)(void *ctx, unsigned shard, const struct data_node *node),
                        void *ctx)
{
    const struct ec_volume *v = ec_volume_find(t, id);
    if (!v)
        return false;
    for (unsigned shard = 0; shard < EC_SHARD_IDS; shard++)
        for (size_t i = 0; i < v->holder_count; i++)
            if (v->holders[i]->record.shard_bits >> shard & 1)
                visit(ctx, shard, v->holders[i]->node);
    return true;
}
