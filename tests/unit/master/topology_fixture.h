/* A topology with a clock and dice of its own, and one-line ways to send it beats. Every test starts with
 * fixture_create and ends with fixture_destroy; `f->update` holds what the last event would broadcast. */
#pragma once

#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "master/topology.h"
#include "master/volume_layout.h"
#include "master/volume_pick.h"

#include <stdio.h>
#include <stdlib.h>

#define MEBIBYTE (1ull << 20)
#define SECOND 1000000000ll
#define FIXTURE_NODES 64

struct fixture {
    struct topology *t;
    int64_t now_ns;
    uint64_t seed;
    struct data_node *nodes[FIXTURE_NODES]; /* bound to a stream */
    size_t node_count;
    struct location_update update;
    struct heartbeat_result result;
    struct error err;
};

static inline int64_t fixture_now(void *ctx) { return ((struct fixture *)ctx)->now_ns; }

static inline uint64_t fixture_random(void *ctx) /* splitmix64 */
{
    struct fixture *f = ctx;
    uint64_t z = f->seed += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static inline struct fixture *fixture_create_with(const struct topology_options *options)
{
    struct fixture *f = must(calloc(1, sizeof(*f)));
    f->now_ns = 1700000000 * SECOND;
    f->seed = 7;
    f->t = topology_create(options, (struct topology_env){fixture_now, fixture_random, f});
    return f;
}

/* A size limit of 100 MiB. */
static inline struct fixture *fixture_create(void)
{
    struct topology_options options;
    topology_options_default(&options);
    options.volume_size_limit_bytes = 100 * MEBIBYTE;
    return fixture_create_with(&options);
}

static inline void fixture_destroy(struct fixture *f)
{
    location_update_clear(&f->update);
    for (size_t i = 0; i < f->node_count; i++)
        if (f->nodes[i])
            topology_unregister_node(f->t, f->nodes[i], &f->update);
    location_update_fini(&f->update);
    topology_destroy(f->t);
    free(f);
}

static inline int fixture_register(struct fixture *f, const struct heartbeat *h,
                                   struct data_node **ret)
{
    const char *duplicates[4];
    size_t duplicate_count;
    location_update_clear(&f->update);
    int code = topology_register_node(f->t, h, ret, duplicates, 4, &duplicate_count, &f->update,
                                      &f->err);
    if (code == 0)
        f->nodes[f->node_count++] = *ret;
    return code;
}

static inline void fixture_unregister(struct fixture *f, struct data_node *n)
{
    location_update_clear(&f->update);
    topology_unregister_node(f->t, n, &f->update);
    for (size_t i = f->node_count; i-- > 0;)
        if (f->nodes[i] == n) {
            f->nodes[i] = NULL;
            break;
        }
}

/* A server at ip:8080 with `slots` hdd slots, registered and with its first, empty, full list. */
static inline struct data_node *fixture_add_node(struct fixture *f, const char *data_center,
                                                 const char *rack, const char *ip, uint64_t slots)
{
    struct disk_type_count max = {"", slots};
    struct heartbeat h = {.ip = ip,
                          .port = 8080,
                          .public_url = ip,
                          .data_center = data_center,
                          .rack = rack,
                          .max_volume_counts = &max,
                          .max_volume_count_count = 1,
                          .has_no_volumes = true,
                          .has_no_ec_shards = true,
                          .has_volume_digest = true};
    struct data_node *n = NULL;
    assert_int_equal(fixture_register(f, &h, &n), 0);
    assert_int_equal(topology_apply_heartbeat(f->t, n, &h, &f->result, &f->update, &f->err), 0);
    return n;
}

static inline void fixture_beat(struct fixture *f, struct data_node *n, const struct heartbeat *h)
{
    location_update_clear(&f->update);
    assert_int_equal(topology_apply_heartbeat(f->t, n, h, &f->result, &f->update, &f->err), 0);
}

static inline void fixture_send_full(struct fixture *f, struct data_node *n,
                                     const struct volume_record *records, size_t count)
{
    struct heartbeat h = {.ip = "x",
                          .volumes = records,
                          .volume_count = count,
                          .has_no_volumes = count == 0};
    fixture_beat(f, n, &h);
}

static inline void fixture_send_changed(struct fixture *f, struct data_node *n,
                                        const struct volume_record *records, size_t count)
{
    struct heartbeat h = {.ip = "x", .changed_volumes = records, .changed_volume_count = count};
    fixture_beat(f, n, &h);
}

static inline const struct layout_volume *fixture_volume(const struct fixture *f, uint32_t id)
{
    for (size_t i = 0; i < topology_layout_count(f->t); i++)
        for (const struct layout_volume *v = volume_layout_first(topology_layout(f->t, i)); v;
             v = layout_volume_next(v)) {
            struct layout_volume_info info;
            layout_volume_info(v, &info);
            if (info.id == id)
                return v;
        }
    return NULL;
}

static inline bool fixture_is_writable(const struct fixture *f, uint32_t id)
{
    struct layout_volume_info info = {0};
    const struct layout_volume *v = fixture_volume(f, id);
    if (v)
        layout_volume_info(v, &info);
    return info.is_writable;
}

static inline size_t fixture_lookup_count(const struct fixture *f, uint32_t id)
{
    struct topology_location locations[16];
    bool is_ec;
    return topology_lookup(f->t, id, NULL, locations, 16, &is_ec);
}

static inline struct disk_usage fixture_usage(const struct fixture *f)
{
    struct disk_usage usage = {0};
    place_usage(topology_root(f->t), 0, &usage);
    return usage;
}
