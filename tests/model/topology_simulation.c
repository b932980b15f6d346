/* A cluster of simulated volume servers against the topology, seeded.
 *
 * 1,000 servers and 100,000 volumes: joins, full and delta beats with digests, lost beats, deaths, rejoins,
 * growth, assigns, read-only marks, vacuums, maintenance. A server here is a plain array of records and a
 * report memory, written from the protocol alone, so it is a second opinion on what the topology must
 * hold. After each phase the invariants are checked from scratch:
 *
 *   - the counters of every place equal a recount of the records below it;
 *   - lookups answer with exactly the nodes that hold a record of the id;
 *   - a node's digest equals the server's own, whenever the server has no unreported change;
 *   - a volume is on its writable list only if every rule for it holds, and, once the cluster was quiet
 *     for longer than the recovery time, whenever they hold.
 *
 * Usage: topology_simulation [seed [servers [volumes]]]. Prints the seed; a failure aborts. */
#include "common/check.h"
#include "master/placement.h"
#include "master/topology.h"
#include "master/vacuum_snapshot.h"
#include "master/volume_growth.h"
#include "master/volume_layout.h"
#include "master/volume_pick.h"

#include <string.h>

#define SECOND 1000000000ll
#define LIMIT (64ull << 20)
#define COLLECTIONS 5

struct server_volume {
    struct volume_record record;
    bool is_changed; /* not reported in its present form */
};

struct server {
    struct data_node *node; /* NULL: down */
    struct server_volume *volumes;
    size_t count, capacity;
    uint32_t *departed; /* to be named in the next delta beat */
    size_t departed_count, departed_capacity;
    char ip[80], data_center[32], rack[32], uuid[32];
    bool needs_full;
    bool is_in_maintenance;
    bool has_silent_change; /* a change the memory does not know of: only the digest can find it */
};

struct sim {
    struct topology *t;
    struct server *servers;
    size_t server_count;
    int64_t now;
    uint64_t seed;
    struct location_update update;
    bool is_quiet; /* long enough for every eligible volume to be listed */
    uint64_t beats, full_beats, resends, picks, grown, vacuums, deaths;
};

static const char *const collections[COLLECTIONS] = {"", "pics", "logs", "mail", "video"};

static int64_t sim_now(void *ctx) { return ((struct sim *)ctx)->now; }

static uint64_t sim_random(void *ctx)
{
    struct sim *s = ctx;
    uint64_t z = s->seed += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t draw(struct sim *s, uint64_t n) { return sim_random(s) % n; }

/* ---- Servers ------------------------------------------------------------------------------------- */

static uint64_t server_digest(const struct server *v)
{
    uint64_t digest = 0;
    for (size_t i = 0; i < v->count; i++)
        digest ^= volume_digest_of(&v->volumes[i].record);
    return digest;
}

static struct server_volume *server_find(struct server *v, uint32_t id)
{
    for (size_t i = 0; i < v->count; i++)
        if (v->volumes[i].record.id == id)
            return &v->volumes[i];
    return NULL;
}

static void server_add(struct server *v, const struct volume_record *record)
{
    if (v->count == v->capacity) {
        v->capacity = v->capacity ? v->capacity * 2 : 16;
        v->volumes = must(realloc(v->volumes, v->capacity * sizeof(*v->volumes)));
    }
    v->volumes[v->count++] = (struct server_volume){*record, true};
}

static void server_drop(struct server *v, size_t i)
{
    if (v->departed_count == v->departed_capacity) {
        v->departed_capacity = v->departed_capacity ? v->departed_capacity * 2 : 16;
        v->departed = must(realloc(v->departed, v->departed_capacity * sizeof(*v->departed)));
    }
    v->departed[v->departed_count++] = v->volumes[i].record.id;
    v->volumes[i] = v->volumes[--v->count];
}

static void server_beat(struct sim *s, struct server *v)
{
    bool is_full = v->needs_full;
    size_t sent = 0;
    struct volume_record *records = must(calloc(v->count + 1, sizeof(*records)));
    struct volume_record *departed = must(calloc(v->departed_count + 1, sizeof(*departed)));
    for (size_t i = 0; i < v->count; i++)
        if (is_full || v->volumes[i].is_changed) {
            records[sent++] = v->volumes[i].record;
            v->volumes[i].is_changed = false;
        }
    for (size_t i = 0; i < v->departed_count && !is_full; i++)
        departed[i] = (struct volume_record){.id = v->departed[i]};
    struct disk_type_count max = {"", 400};
    const char *uuid = v->uuid;
    struct heartbeat h = {
        .ip = v->ip,
        .port = 8080,
        .data_center = v->data_center,
        .rack = v->rack,
        .max_volume_counts = &max,
        .max_volume_count_count = 1,
        .location_uuids = &uuid,
        .location_uuid_count = 1,
        .has_volume_digest = true,
        .volume_digest = server_digest(v),
        .has_no_ec_shards = true,
        .has_state = true,
        .is_in_maintenance = v->is_in_maintenance,
    };
    if (is_full) {
        h.volumes = records;
        h.volume_count = sent;
        h.has_no_volumes = v->count == 0;
    } else {
        h.changed_volumes = records;
        h.changed_volume_count = sent;
        h.deleted_volumes = departed;
        h.deleted_volume_count = v->departed_count;
    }
    if (!v->node) {
        size_t duplicates;
        struct error err;
        CHECK(topology_register_node(s->t, &h, &v->node, NULL, 0, &duplicates, &s->update, &err) ==
              0);
    }
    struct heartbeat_result result;
    CHECK(topology_apply_heartbeat(s->t, v->node, &h, &result, &s->update, NULL) == 0);
    CHECK(!result.is_superseded);
    location_update_clear(&s->update);
    v->departed_count = 0;
    v->needs_full = result.needs_full_list;
    CHECK(v->has_silent_change || is_full || !result.needs_full_list ||
          data_node_digest(v->node) != h.volume_digest);
    if (!result.needs_full_list && !result.digest_mismatch_in_full_list) {
        CHECK(data_node_digest(v->node) == server_digest(v));
        v->has_silent_change = false;
    }
    s->beats++;
    s->full_beats += is_full;
    s->resends += result.needs_full_list;
    free(records);
    free(departed);
}

static void server_die(struct sim *s, struct server *v)
{
    if (!v->node)
        return;
    topology_unregister_node(s->t, v->node, &s->update);
    location_update_clear(&s->update);
    v->node = NULL;
    v->needs_full = true;
    s->deaths++;
}

static struct server *server_of(struct sim *s, const struct data_node *n)
{
    for (size_t i = 0; i < s->server_count; i++)
        if (s->servers[i].node == n)
            return &s->servers[i];
    return NULL;
}

/* ---- What happens -------------------------------------------------------------------------------- */

static struct volume_option random_option(struct sim *s)
{
    static const struct replica_placement placements[] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {1, 0, 0}};
    return (struct volume_option){.collection = collections[draw(s, COLLECTIONS)],
                                  .placement = placements[draw(s, 4)],
                                  .ttl = {draw(s, 8) == 0 ? 3 : 0, 3},
                                  .version = 3};
}

static void check_placement(const struct placement *p, struct replica_placement want)
{
    unsigned centers = 0, racks = 0, same = 0;
    struct data_node_info main, other;
    CHECK(p->count == replica_placement_copies(want));
    data_node_info(p->nodes[0], &main);
    for (size_t i = 1; i < p->count; i++) {
        data_node_info(p->nodes[i], &other);
        if (strcmp(main.data_center, other.data_center) != 0)
            centers++;
        else if (strcmp(main.rack, other.rack) != 0)
            racks++;
        else
            same++;
        for (size_t j = 0; j < i; j++)
            CHECK(p->nodes[i] != p->nodes[j]);
    }
    CHECK(centers == want.other_data_centers && racks == want.other_racks && same == want.same_rack);
}

static void grow(struct sim *s, const struct volume_option *o)
{
    struct placement p;
    if (!volume_growth_begin(s->t, o))
        CHECK(volume_growth_is_pending(s->t, o));
    if (placement_choose(s->t, o, &p, NULL) == 0) {
        uint32_t id = topology_max_volume_id(s->t) + 1;
        topology_raise_max_volume_id(s->t, id);
        check_placement(&p, o->placement);
        CHECK(topology_register_grown_volume(s->t, id, o, p.nodes, p.count, NULL, NULL) == 0);
        struct volume_record record = {.id = id,
                                       .size = 8,
                                       .collection = o->collection,
                                       .replica_placement = replica_placement_to_byte(o->placement),
                                       .ttl = ttl_to_u32(o->ttl),
                                       .version = 3,
                                       .modified_at_second = s->now / SECOND};
        for (size_t i = 0; i < p.count; i++)
            server_add(server_of(s, p.nodes[i]), &record);
        placement_release(s->t, &p);
        s->grown++;
    }
    volume_growth_end(s->t, o);
}

static void write_blobs(struct sim *s)
{
    struct volume_option o = random_option(s);
    struct volume_pick pick;
    uint64_t bytes = (1 + draw(s, 8)) << 18;
    s->picks++;
    if (draw(s, 50) == 0)
        bytes = LIMIT / 2; /* announced, not written: some volumes go full by estimate alone */
    if (volume_pick_for_write(s->t, &o, 1, bytes, &pick, NULL)) {
        grow(s, &o);
        return;
    }
    bytes = bytes < LIMIT / 2 ? bytes : 1000;
    struct topology_location locations[8];
    bool is_ec;
    size_t n = topology_lookup(s->t, pick.volume_id, o.collection, locations, 8, &is_ec);
    CHECK(n == pick.location_count && n == replica_placement_copies(o.placement) && !is_ec);
    for (size_t i = 0; i < n; i++) {
        struct server_volume *v = server_find(server_of(s, locations[i].node), pick.volume_id);
        if (!v) /* lost silently, the next beat tells */
            continue;
        v->record.size += bytes;
        v->record.file_count++;
        if (draw(s, 3) == 0) {
            v->record.delete_count++;
            v->record.deleted_byte_count += bytes / 2;
        }
        v->is_changed = true;
    }
}

static void change_something(struct sim *s, struct server *v)
{
    if (v->count == 0)
        return;
    size_t i = draw(s, v->count);
    struct volume_record *r = &v->volumes[i].record;
    switch (draw(s, 6)) {
    case 0:
        r->read_only = !r->read_only;
        v->volumes[i].is_changed = true;
        break;
    case 1:
        server_drop(v, i);
        break;
    case 2: /* a change that slips through the report memory: only the digest can tell */
        r->file_count += 7;
        v->has_silent_change = true;
        break;
    case 3:
        r->collection = collections[draw(s, COLLECTIONS)];
        v->volumes[i].is_changed = true;
        break;
    case 4:
        v->is_in_maintenance = draw(s, 4) == 0;
        break;
    default: {
        struct volume_option o = {.collection = r->collection, .ttl = ttl_from_u32(r->ttl)};
        topology_mark_read_only(s->t, r->id, &o, v->ip, 8080, draw(s, 2));
    }
    }
}

static void vacuum_some(struct sim *s)
{
    struct vacuum_snapshot snapshot;
    struct vacuum_nodes nodes;
    struct vacuum_limits limits;
    struct vacuum_plan plan;
    vacuum_limits_default(&limits);
    limits.now_ns = s->now;
    limits.per_layout = 20;
    vacuum_snapshot_take(s->t, NULL, 0, NULL, NULL, &snapshot, &nodes);
    vacuum_plan_make(&snapshot, &limits, &plan);
    CHECK(plan.job_count + plan.left_out_count == snapshot.volume_count);
    for (size_t i = 0; i < plan.job_count; i++) {
        if (!plan.jobs[i].starts_now)
            continue;
        const struct vacuum_candidate *c = &snapshot.volumes[plan.jobs[i].volume];
        struct vacuum_outcome outcome = {.is_committed = true};
        CHECK(topology_begin_vacuum(s->t, c->id));
        for (uint32_t r = 0; r < c->replica_count; r++) {
            struct server *server = server_of(s, nodes.by_replica[c->first_replica + r]);
            struct server_volume *v = server ? server_find(server, c->id) : NULL;
            if (!v || !vacuum_replica_qualifies(&snapshot.replicas[c->first_replica + r], 0.3))
                continue;
            struct volume_record *record = &v->record;
            uint64_t garbage = record->deleted_byte_count;
            record->size -= garbage < record->size ? garbage : record->size;
            record->file_count -= record->delete_count < record->file_count ? record->delete_count
                                                                            : record->file_count;
            record->delete_count = record->deleted_byte_count = 0;
            record->compact_revision++;
            v->is_changed = true;
            if (record->size > outcome.size)
                outcome.size = record->size;
        }
        topology_end_vacuum(s->t, c->id, &outcome);
        s->vacuums++;
    }
    vacuum_plan_fini(&plan);
    vacuum_snapshot_fini(&snapshot, &nodes);
}

/* ---- Invariants ---------------------------------------------------------------------------------- */

static struct disk_usage recount(const struct place *p)
{
    struct disk_usage sum = {0}, own;
    const struct data_node *n = place_node(p);
    if (n) {
        sum.volumes = (int64_t)data_node_volume_count(n, 0);
        for (size_t i = 0; i < data_node_volume_count(n, 0); i++)
            sum.remote += *data_node_volume(n, 0, i)->remote_storage_name != '\0';
        place_usage(p, 0, &own);
        sum.max = own.max;
        sum.active = own.active; /* counted per volume in check_invariants */
    }
    for (size_t i = 0; i < place_child_count(p); i++) {
        struct disk_usage below = recount(place_child(p, i));
        sum.max += below.max;
        sum.volumes += below.volumes;
        sum.remote += below.remote;
        sum.active += below.active;
    }
    if (place_usage(p, 0, &own))
        CHECK(own.max == sum.max && own.volumes == sum.volumes && own.remote == sum.remote &&
              own.active == sum.active);
    return sum;
}

static void check_volume(const struct sim *s, const struct volume_layout_info *layout,
                         const struct layout_volume *v, size_t *replicas, size_t *active)
{
    struct layout_volume_info info;
    layout_volume_info(v, &info);
    bool is_writable = info.replica_count == replica_placement_copies(layout->placement);
    struct topology_location found[64];
    bool is_ec;
    CHECK(info.replica_count > 0 && !info.is_held_for_vacuum);
    uint64_t largest = 0;
    size_t locations = topology_lookup(s->t, info.id, layout->collection, found, 64, &is_ec);
    CHECK(locations >= info.replica_count && locations <= 64);
    for (size_t i = 0; i < info.replica_count; i++) {
        struct layout_replica_info r;
        struct data_node_info node;
        layout_volume_replica(v, i, &r);
        data_node_info(r.node, &node);
        bool is_found = false;
        for (size_t j = 0; j < locations; j++)
            is_found = is_found || found[j].node == r.node;
        CHECK(is_found && node.is_attached && r.record->id == info.id);
        CHECK(strcmp(r.record->collection, layout->collection) == 0);
        CHECK(r.record->replica_placement == replica_placement_to_byte(layout->placement));
        is_writable = is_writable && !r.record->read_only && !r.is_marked_read_only &&
                      !node.is_in_maintenance;
        largest = r.record->size > largest ? r.record->size : largest;
        *active += !r.record->read_only && !info.is_full;
    }
    *replicas += info.replica_count;
    CHECK(!info.is_writable || (is_writable && info.effective_size < LIMIT));
    CHECK(!info.is_writable || !info.is_full);
    CHECK(!s->is_quiet ||
          info.is_writable == (is_writable && largest < LIMIT && info.effective_size < LIMIT));
}

static void check_invariants(struct sim *s)
{
    size_t replicas = 0, active = 0, writable = 0;
    struct disk_usage total = recount(topology_root(s->t));
    for (size_t i = 0; i < topology_layout_count(s->t); i++) {
        const struct volume_layout *layout = topology_layout(s->t, i);
        struct volume_layout_info info;
        size_t volumes = 0, crowded = 0, listed = 0;
        volume_layout_info(layout, &info);
        for (const struct layout_volume *v = volume_layout_first(layout); v;
             v = layout_volume_next(v)) {
            struct layout_volume_info volume;
            layout_volume_info(v, &volume);
            check_volume(s, &info, v, &replicas, &active);
            volumes++;
            listed += volume.is_writable;
            crowded += volume.is_writable && volume.is_crowded;
        }
        CHECK(volumes == info.volume_count && listed == info.writable_count);
        CHECK(crowded == info.crowded_count);
        for (size_t j = 0; j < info.writable_count; j++)
            CHECK(volume_layout_writable(layout, j) != 0);
        writable += listed;
    }
    CHECK(replicas == (size_t)total.volumes);
    CHECK(active == (size_t)total.active);
    printf("%6.0f s: replicas=%zu writable=%zu beats=%llu full=%llu resends=%llu picks=%llu "
           "grown=%llu vacuums=%llu deaths=%llu\n",
           (double)(s->now % (1000000 * SECOND)) / 1e9, replicas, writable,
           (unsigned long long)s->beats, (unsigned long long)s->full_beats,
           (unsigned long long)s->resends, (unsigned long long)s->picks,
           (unsigned long long)s->grown, (unsigned long long)s->vacuums,
           (unsigned long long)s->deaths);
}

/* Beats until nothing is left to say; then every node must agree with its server, record for record. */
static void settle(struct sim *s)
{
    for (int round = 0; round < 4; round++) {
        s->now += 11 * SECOND; /* past the grace of provisional records */
        for (size_t i = 0; i < s->server_count; i++)
            server_beat(s, &s->servers[i]);
    }
    for (size_t i = 0; i < s->server_count; i++) {
        struct server *v = &s->servers[i];
        CHECK(!v->needs_full && data_node_digest(v->node) == server_digest(v));
        CHECK(data_node_volume_count(v->node, 0) == v->count);
    }
}

/* ---- The run ------------------------------------------------------------------------------------- */

static void populate(struct sim *s, size_t volumes)
{
    for (size_t i = 0; i < s->server_count; i++) {
        struct server *v = &s->servers[i];
        v->needs_full = true;
        snprintf(v->ip, sizeof(v->ip), "10.%zu.%zu.%zu", i >> 16, i >> 8 & 255, i & 255);
        snprintf(v->uuid, sizeof(v->uuid), "uuid-%zu", i);
        snprintf(v->data_center, sizeof(v->data_center), "dc%zu", i % 5);
        snprintf(v->rack, sizeof(v->rack), "r%zu", i / 5 % 10);
    }
    for (uint32_t id = 1; id <= volumes; id++) {
        bool is_double = id % 4 == 0; /* 001: a neighbour in the same rack */
        size_t home = draw(s, s->server_count), copies = is_double ? 2 : 1;
        struct volume_record record = {.id = id,
                                       .size = 8 + draw(s, LIMIT),
                                       .file_count = 100,
                                       .collection = collections[id % COLLECTIONS],
                                       .replica_placement = is_double ? 1 : 0,
                                       .version = 3,
                                       .modified_at_second = 1700000000};
        for (size_t i = 0; i < copies; i++)
            server_add(&s->servers[(home + i * 50) % s->server_count], &record);
    }
}

static void step(struct sim *s)
{
    s->now += SECOND;
    for (size_t i = 0; i < s->server_count; i++) {
        struct server *v = &s->servers[i];
        if (!v->node) {
            if (draw(s, 20) == 0)
                server_beat(s, v);
            continue;
        }
        if ((size_t)(s->now / SECOND) % 5 == i % 5)
            server_beat(s, v);
        if (draw(s, 4000) == 0)
            server_die(s, v);
        else if (draw(s, 200) == 0)
            change_something(s, v);
    }
    for (int i = 0; i < 300; i++)
        write_blobs(s);
    if (draw(s, 7) == 0)
        topology_scan_capacity(s->t);
}

int main(int argc, char **argv)
{
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20231114;
    size_t servers = argc > 2 ? strtoull(argv[2], NULL, 10) : 1000;
    size_t volumes = argc > 3 ? strtoull(argv[3], NULL, 10) : 100000;
    struct sim *s = must(calloc(1, sizeof(*s)));
    struct topology_options options;
    topology_options_default(&options);
    options.volume_size_limit_bytes = LIMIT;
    *s = (struct sim){.seed = seed, .now = 1700000000 * SECOND, .server_count = servers};
    s->servers = must(calloc(servers, sizeof(*s->servers)));
    s->t = topology_create(&options, (struct topology_env){sim_now, sim_random, s});
    printf("seed %llu, %zu servers, %zu volumes\n", (unsigned long long)seed, servers, volumes);

    populate(s, volumes);
    for (size_t i = 0; i < servers; i++)
        server_beat(s, &s->servers[i]);
    check_invariants(s);
    for (int phase = 0; phase < 4; phase++) {
        for (int i = 0; i < 30; i++)
            step(s);
        check_invariants(s);
        vacuum_some(s);
        check_invariants(s);
        struct growth_plan plan = {0};
        volume_growth_plan(s->t, &plan);
        for (size_t i = 0; i < plan.count && i < 20; i++)
            grow(s, &plan.items[i].option);
        growth_plan_fini(&plan);
        check_invariants(s);
    }
    settle(s);
    for (int i = 0; i < 8; i++, s->now += 10 * SECOND)
        topology_scan_capacity(s->t);
    s->is_quiet = true;
    check_invariants(s);
    for (size_t i = 0; i < servers; i++)
        server_die(s, &s->servers[i]);
    check_invariants(s);
    struct disk_usage left = {0};
    CHECK(place_usage(topology_root(s->t), 0, &left));
    CHECK(left.volumes == 0 && left.active == 0 && left.max == 0);
    for (size_t i = 0; i < servers; i++) {
        free(s->servers[i].volumes);
        free(s->servers[i].departed);
    }
    free(s->servers);
    topology_destroy(s->t);
    location_update_fini(&s->update);
    free(s);
    puts("ok");
    return 0;
}
