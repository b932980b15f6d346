/* The client registry with recorded streams: what each is told, and in which order. */
#include "master/client_registry.h"

#include "common/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

struct recorder {
    struct buffer log; /* one line a message */
    bool is_full;
    bool is_cut_off;
};

struct fixture {
    struct client_registry_ops ops;
    struct client_registry *registry;
    int64_t now_ns;
    unsigned wakes;
    const char *nodes[4]; /* urls */
};

static int record(void *stream, const MasterPb__KeepConnectedResponse *message)
{
    struct recorder *r = stream;
    if (r->is_full)
        return KELP_E_LIMIT;
    const MasterPb__VolumeLocation *v = message->volume_location;
    if (v) {
        buffer_printf(&r->log, "at %s", v->url);
        if (*v->leader)
            buffer_printf(&r->log, " leader %s", v->leader);
        for (size_t i = 0; i < v->n_new_vids; i++)
            buffer_printf(&r->log, " +%u", v->new_vids[i]);
        for (size_t i = 0; i < v->n_deleted_vids; i++)
            buffer_printf(&r->log, " -%u", v->deleted_vids[i]);
    }
    const MasterPb__ClusterNodeUpdate *n = message->cluster_node_update;
    if (n)
        buffer_printf(&r->log, "%s %s %s in '%s'", n->is_add ? "add" : "remove", n->node_type,
                      n->address, n->filer_group);
    const MasterPb__LockRingUpdate *l = message->lock_ring_update;
    if (l) {
        buffer_printf(&r->log, "ring '%s' v%lld:", l->filer_group,
                      (long long)(l->version / SECOND));
        for (size_t i = 0; i < l->n_servers; i++)
            buffer_printf(&r->log, " %s", l->servers[i]);
    }
    buffer_append_char(&r->log, '\n');
    return 0;
}

static void cut_off(void *stream) { ((struct recorder *)stream)->is_cut_off = true; }

static void describe(void *ctx, struct location_updates *ret)
{
    struct fixture *f = ctx;
    for (size_t i = 0; i < 4 && f->nodes[i]; i++)
        location_updates_add(ret)->url = strdup(f->nodes[i]);
}

static void wake(void *ctx) { ((struct fixture *)ctx)->wakes++; }
static int64_t now_ns(void *ctx) { return ((struct fixture *)ctx)->now_ns; }

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    f->ops = (struct client_registry_ops){record, cut_off, describe, wake, now_ns, f};
    f->registry = client_registry_create(&f->ops, "m:9333");
    f->now_ns = 100 * SECOND;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    client_registry_destroy(f->registry);
    free(f);
    return 0;
}

static struct client *join(struct fixture *f, struct recorder *r, const char *type,
                           const char *address, const char *group)
{
    const struct client_identity identity = {type, address, "v", group, "dc", "rack"};
    return client_registry_join(f->registry, r, &identity);
}

/* What was recorded since the last time. */
static void assert_told(struct recorder *r, const char *expected)
{
    assert_string_equal(buffer_cstr(&r->log), expected);
    buffer_clear(&r->log);
}

static void first_message_names_the_leader_also_without_nodes(void **state)
{
    struct fixture *f = *state;
    struct recorder a = {BUFFER_INIT}, b = {BUFFER_INIT};
    struct client *first = join(f, &a, "client", "x", "");
    assert_told(&a, "at  leader m:9333\n");
    f->nodes[0] = "n1:1";
    f->nodes[1] = "n2:1";
    struct client *second = join(f, &b, "adminShell", "y", "");
    assert_told(&b, "at n1:1 leader m:9333\nat n2:1\n");
    assert_told(&a, ""); /* shells and clients are not announced */
    client_registry_leave(f->registry, first);
    client_registry_leave(f->registry, second);
    buffer_fini(&a.log);
    buffer_fini(&b.log);
}

static void published_changes_reach_every_client_in_order(void **state)
{
    struct fixture *f = *state;
    struct recorder a = {BUFFER_INIT}, b = {BUFFER_INIT};
    struct client *first = join(f, &a, "client", "x", ""), *second = join(f, &b, "s3", "y", "g");
    buffer_clear(&a.log);
    buffer_clear(&b.log);
    struct location_update update;
    location_update_init(&update);
    client_registry_publish(f->registry, &update); /* empty: dropped */
    assert_int_equal(f->wakes, 0);
    update.url = strdup("n1:1");
    id_list_add(&update.new_vids, 7);
    client_registry_publish(f->registry, &update);
    id_list_fini(&update.new_vids);
    update.new_vids = (struct id_list){NULL, 0, 0};
    id_list_add(&update.deleted_vids, 7);
    client_registry_publish(f->registry, &update);
    location_update_fini(&update);
    assert_int_equal(f->wakes, 2);
    assert_told(&a, "");
    client_registry_flush(f->registry);
    assert_told(&a, "at n1:1 +7\nat n1:1 -7\n");
    assert_told(&b, "at n1:1 +7\nat n1:1 -7\n");
    client_registry_leave(f->registry, first);
    client_registry_leave(f->registry, second);
    buffer_fini(&a.log);
    buffer_fini(&b.log);
}

static void members_are_counted_by_address(void **state)
{
    struct fixture *f = *state;
    struct recorder a = {BUFFER_INIT}, b = {BUFFER_INIT}, c = {BUFFER_INIT};
    struct client *watcher = join(f, &c, "client", "w", "");
    buffer_clear(&c.log);
    struct client *first = join(f, &a, "filer", "f:1", "g");
    assert_told(&a, "at  leader m:9333\nadd filer f:1 in 'g'\nadd filer f:1 in 'g'\n");
    assert_told(&c, "add filer f:1 in 'g'\n");
    f->now_ns += SECOND;
    struct client *second = join(f, &b, "filer", "f:1", "g");
    assert_told(&c, ""); /* known already */
    client_registry_leave(f->registry, first);
    assert_told(&c, "");
    assert_true(client_registry_knows(f->registry, "filer", "f:1"));
    assert_false(client_registry_knows(f->registry, "s3", "f:1"));
    client_registry_leave(f->registry, second);
    assert_told(&c, "remove filer f:1 in 'g'\n");
    assert_false(client_registry_knows(f->registry, "filer", "f:1"));
    client_registry_leave(f->registry, watcher);
    buffer_fini(&a.log);
    buffer_fini(&b.log);
    buffer_fini(&c.log);
}

static void visit_created(void *ctx, const struct cluster_member *member)
{
    *(int64_t *)ctx = member->created_at_ns;
    assert_string_equal(member->address, "f:1");
    assert_string_equal(member->data_center, "dc");
}

static void creation_time_of_a_member_stays(void **state)
{
    struct fixture *f = *state;
    struct recorder a = {BUFFER_INIT}, b = {BUFFER_INIT};
    struct client *first = join(f, &a, "filer", "f:1", "g");
    f->now_ns += SECOND;
    struct client *second = join(f, &b, "filer", "f:1", "g");
    client_registry_leave(f->registry, first);
    int64_t created_ns = 0;
    client_registry_visit(f->registry, "filer", "other", visit_created, &created_ns);
    assert_int_equal(created_ns, 0);
    client_registry_visit(f->registry, "filer", "g", visit_created, &created_ns);
    assert_int_equal(created_ns, 100 * SECOND);
    client_registry_leave(f->registry, second);
    buffer_fini(&a.log);
    buffer_fini(&b.log);
}

static void lock_ring_is_told_one_second_after_the_last_change(void **state)
{
    struct fixture *f = *state;
    struct recorder a = {BUFFER_INIT}, b = {BUFFER_INIT}, c = {BUFFER_INIT};
    struct client *first = join(f, &a, "filer", "f:1", "g");
    f->now_ns += SECOND / 2;
    struct client *second = join(f, &b, "filer", "f:2", "g");
    buffer_clear(&a.log);
    f->now_ns += SECOND - 1;
    client_registry_tick(f->registry);
    assert_told(&a, "");
    f->now_ns += 1;
    client_registry_tick(f->registry);
    assert_told(&a, "ring 'g' v101: f:1 f:2\n");
    client_registry_tick(f->registry);
    assert_told(&a, "");
    struct client *third = join(f, &c, "s3", "s:1", "g");
    assert_non_null(strstr(buffer_cstr(&c.log), "ring 'g' v101: f:1 f:2\n"));
    client_registry_leave(f->registry, second);
    buffer_clear(&a.log);
    f->now_ns -= 50 * SECOND; /* a clock that was set back still gives newer versions */
    client_registry_tick(f->registry);
    f->now_ns += 60 * SECOND;
    client_registry_tick(f->registry);
    assert_told(&a, "ring 'g' v111: f:1\n");
    client_registry_leave(f->registry, first);
    client_registry_leave(f->registry, third);
    buffer_fini(&a.log);
    buffer_fini(&b.log);
    buffer_fini(&c.log);
}

static void client_that_does_not_read_is_cut_off(void **state)
{
    struct fixture *f = *state;
    struct recorder a = {BUFFER_INIT}, b = {BUFFER_INIT};
    struct client *slow = join(f, &a, "client", "x", ""), *good = join(f, &b, "client", "y", "");
    buffer_clear(&b.log);
    a.is_full = true;
    struct location_update update;
    location_update_init(&update);
    update.url = strdup("n1:1");
    id_list_add(&update.new_vids, 7);
    client_registry_publish(f->registry, &update);
    location_update_fini(&update);
    client_registry_flush(f->registry);
    assert_true(a.is_cut_off);
    assert_told(&b, "at n1:1 +7\n");
    struct client_registry_stats stats;
    client_registry_stats(f->registry, &stats);
    assert_int_equal(stats.clients, 2);
    assert_int_equal(stats.cut_off, 1);
    client_registry_leave(f->registry, slow);
    client_registry_leave(f->registry, good);
    buffer_fini(&a.log);
    buffer_fini(&b.log);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(first_message_names_the_leader_also_without_nodes),
        TEST(published_changes_reach_every_client_in_order),
        TEST(members_are_counted_by_address),
        TEST(creation_time_of_a_member_stays),
        TEST(lock_ring_is_told_one_second_after_the_last_change),
        TEST(client_that_does_not_read_is_cut_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
