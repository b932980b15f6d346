/* Sums over all volumes, for Statistics and CollectionStatistics. Source: spec/topology.md 11,
 * spec/master-rpc.md 12. The peer leaves out volumes registered within the last minute, so that a fresh leader
 * reports an empty cluster; here a record counts as soon as a server has reported it.
 *
 * Pure; under the topology's lock, O(all volumes). */
#include "master/topology_state.h"

#define EC_DATA_SHARDS 10

struct sums {
    uint64_t used;
    uint64_t logical_used;
    uint64_t files;
};

static uint64_t minus(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

static uint64_t live_bytes(const struct volume_record *r)
{
    return minus(r->size, r->deleted_byte_count);
}

static void add_regular(const struct layout_volume *v, struct sums *sums)
{
    for (size_t i = 0; i < v->replica_count; i++) {
        const struct replica *r = v->replicas[i];
        if (r->is_provisional)
            continue;
        uint64_t live = live_bytes(&r->record);
        sums->used += live * v->replica_count;
        sums->logical_used += live;
        sums->files += minus(r->record.file_count, r->record.delete_count);
        return;
    }
}

/* Bytes of all shards held, and of the data shards, each once. */
static void ec_sizes(const struct ec_volume *v, bool each_shard_once, uint64_t *ret_physical,
                     uint64_t *ret_data)
{
    uint32_t seen = 0;
    *ret_physical = *ret_data = 0;
    for (size_t i = 0; i < v->holder_count; i++) {
        const struct ec_record *r = &v->holders[i]->record;
        size_t at = 0;
        for (unsigned shard = 0; shard < EC_SHARD_IDS; shard++) {
            if (!(r->shard_bits >> shard & 1))
                continue;
            uint64_t size = (uint64_t)r->shard_sizes[at++];
            *ret_physical += size;
            if (shard < EC_DATA_SHARDS && !(each_shard_once && seen >> shard & 1))
                *ret_data += size;
            seen |= 1u << shard;
        }
    }
}

static void add_ec(const struct ec_volume *v, struct sums *sums)
{
    uint64_t physical, data, files = 0, deletes = 0;
    ec_sizes(v, true, &physical, &data);
    for (size_t i = 0; i < v->holder_count; i++) {
        const struct ec_record *r = &v->holders[i]->record;
        files = r->file_count > files ? r->file_count : files;
        deletes = r->delete_count > deletes ? r->delete_count : deletes;
    }
    sums->used += physical;
    sums->logical_used += data;
    sums->files += minus(files, deletes);
}

/* collection NULL: all. */
static void add_all(const struct topology *t, const char *collection, struct sums *sums)
{
    for (size_t l = 0; l < t->layout_count; l++) {
        if (collection && strcmp(t->layouts[l]->key.collection, collection) != 0)
            continue;
        for (const struct layout_volume *v = t->layouts[l]->volumes; v; v = v->next)
            add_regular(v, sums);
    }
    for (const struct ec_volume *v = t->ec_volumes; v; v = v->hh.next)
        if (!collection || strcmp(v->collection, collection) == 0)
            add_ec(v, sums);
}

void topology_statistics(const struct topology *t, const char *collection, unsigned copies,
                         struct topology_statistics *ret)
{
    struct sums asked = {0}, cluster = {0};
    add_all(t, NULL, &cluster);
    if (collection && *collection)
        add_all(t, collection, &asked);
    else
        asked = cluster;
    int64_t slots = place_max_slots(&t->root);
    uint64_t total = (uint64_t)(slots > 0 ? slots : 0) * t->options.volume_size_limit_bytes;
    *ret = (struct topology_statistics){
        .total_size = total,
        .used_size = asked.used,
        .file_count = asked.files,
        .logical_used_size = asked.logical_used,
        .logical_total_size =
            asked.logical_used + minus(total, cluster.used) / (copies ? copies : 1),
    };
}

/* ---- Per collection ------------------------------------------------------------------------------ */

static void count_regular(const struct layout_volume *v, struct collection_statistics *s)
{
    const struct volume_record *best = &v->replicas[0]->record;
    for (size_t i = 0; i < v->replica_count; i++) {
        const struct volume_record *r = &v->replicas[i]->record;
        s->physical_size += r->size;
        if (live_bytes(r) > live_bytes(best))
            best = r;
    }
    s->size += best->size;
    s->file_count += best->file_count;
    s->delete_count += best->delete_count;
    s->deleted_byte_count +=
        best->deleted_byte_count < best->size ? best->deleted_byte_count : best->size;
    s->volume_count++;
}

static void count_ec(const struct ec_volume *v, struct collection_statistics *s)
{
    uint64_t physical, data, files = 0;
    if (v->holder_count == 0)
        return;
    ec_sizes(v, false, &physical, &data);
    for (size_t i = 0; i < v->holder_count; i++) {
        const struct ec_record *r = &v->holders[i]->record;
        files = r->file_count > files ? r->file_count : files;
        s->delete_count += r->delete_count;
    }
    s->physical_size += physical;
    s->size += data;
    s->file_count += files;
    s->volume_count++;
}

static struct collection_statistics *statistics_of(struct collection_statistics *all, size_t count,
                                                   const char *collection)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(all[middle].collection, collection);
        if (order == 0)
            return &all[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    CHECK(false);
    return NULL;
}

void topology_collection_statistics(const struct topology *t,
                                    void (*visit)(void *ctx, const struct collection_statistics *s),
                                    void *ctx)
{
    size_t count;
    const char **names = topology_collections(t, true, true, &count);
    struct collection_statistics *all = must(calloc(count + 1, sizeof(*all)));
    for (size_t i = 0; i < count; i++)
        all[i].collection = names[i];
    for (size_t l = 0; l < t->layout_count; l++) {
        struct collection_statistics *s =
            statistics_of(all, count, t->layouts[l]->key.collection);
        for (const struct layout_volume *v = t->layouts[l]->volumes; v; v = v->next)
            count_regular(v, s);
    }
    for (const struct ec_volume *v = t->ec_volumes; v; v = v->hh.next)
        count_ec(v, statistics_of(all, count, v->collection));
    for (size_t i = 0; i < count; i++)
        if (all[i].volume_count)
            visit(ctx, &all[i]);
    free(all);
    free(names);
}
