/* A volume server as the master sees it: identity, addresses, and per disk type the arrays of what it
 * holds. An element knows its index, so that taking one out swaps the last one in: O(1), no order.
 *
 * Pure; under the topology's lock. */
#include "master/topology_state.h"

#include <stdio.h>

static char *copy_text(const char *text) { return must(strdup(text_or_empty(text))); }

char *data_node_url_of(const char *ip, uint32_t port)
{
    char *url = NULL;
    bool is_bare_ipv6 = strchr(ip, ':') && *ip != '[';
    CHECK(asprintf(&url, is_bare_ipv6 ? "[%s]:%u" : "%s:%u", ip, port) >= 0);
    return url;
}

struct data_node *data_node_create(const char *id)
{
    struct data_node *n = must(calloc(1, sizeof(*n)));
    n->place.kind = PLACE_NODE;
    n->ip = copy_text("");
    n->public_url = copy_text("");
    n->url = copy_text("");
    data_node_set_id(n, id);
    return n;
}

void data_node_set_id(struct data_node *n, const char *id)
{
    CHECK(!n->place.parent);
    char *copy = copy_text(id);
    free(n->id);
    n->id = copy;
    n->place.id = copy;
}

void data_node_set_address(struct data_node *n, const char *ip, uint32_t port, uint32_t grpc_port,
                           const char *public_url)
{
    free(n->ip);
    free(n->url);
    free(n->public_url);
    n->ip = copy_text(ip);
    n->url = data_node_url_of(n->ip, port);
    n->public_url = copy_text(public_url);
    n->port = port;
    n->grpc_port = grpc_port ? grpc_port : port + 10000;
}

static void free_tags(struct data_node *n)
{
    for (size_t i = 0; i < n->tag_count; i++)
        free((void *)n->tags[i].tags);
    free(n->tags);
    n->tags = NULL;
    n->tag_count = 0;
}

void data_node_set_tags(struct topology *t, struct data_node *n, const struct disk_tag *tags,
                        size_t count)
{
    free_tags(n);
    n->tags = must(calloc(count, sizeof(*n->tags)));
    n->tag_count = count;
    for (size_t i = 0; i < count; i++) {
        size_t type = disk_type_find(t, tags[i].disk_type);
        struct disk_tag *copy = &n->tags[i];
        *copy = tags[i];
        copy->disk_type = topology_disk_type_name(t, type);
        copy->tags = NULL;
        if (!tags[i].tag_count)
            continue;
        const char **names = must(calloc(tags[i].tag_count, sizeof(*names)));
        for (size_t j = 0; j < tags[i].tag_count; j++)
            names[j] = name_pool_intern(&t->names, tags[i].tags[j]);
        copy->tags = names;
    }
}

struct node_disk *data_node_disk(struct data_node *n, size_t type)
{
    if (type >= n->disk_count) {
        n->disks = must(realloc(n->disks, (type + 1) * sizeof(*n->disks)));
        memset(n->disks + n->disk_count, 0, (type + 1 - n->disk_count) * sizeof(*n->disks));
        n->disk_count = type + 1;
    }
    return &n->disks[type];
}

bool data_node_same_address(const struct data_node *a, const struct data_node *b)
{
    return a == b || (a->port == b->port && strcmp(a->ip, b->ip) == 0);
}

void data_node_ref(struct data_node *node) { node->refs++; }

void data_node_unref(struct data_node *n)
{
    if (!n)
        return;
    CHECK(n->refs > 0);
    if (--n->refs > 0)
        return;
    CHECK(!n->place.parent && n->uuid_count == 0);
    for (size_t type = 0; type < n->disk_count; type++) {
        CHECK(n->disks[type].replica_count == 0 && n->disks[type].ec_count == 0);
        free(n->disks[type].replicas);
        free(n->disks[type].ecs);
    }
    free(n->disks);
    free_tags(n);
    free(n->uuids);
    free(n->ip);
    free(n->url);
    free(n->public_url);
    place_fini(&n->place);
    free(n->id);
    free(n);
}

void data_node_info(const struct data_node *n, struct data_node_info *ret)
{
    *ret = (struct data_node_info){
        .id = n->id,
        .ip = n->ip,
        .public_url = n->public_url,
        .url = n->url,
        .data_center = n->data_center,
        .rack = n->rack,
        .port = n->port,
        .grpc_port = n->grpc_port,
        .is_attached = n->place.parent != NULL,
        .is_in_maintenance = n->is_in_maintenance,
    };
}

const struct disk_tag *data_node_disk_tags(const struct data_node *n, size_t *ret_count)
{
    *ret_count = n->tag_count;
    return n->tags;
}

size_t data_node_volume_count(const struct data_node *n, size_t type)
{
    return type < n->disk_count ? n->disks[type].replica_count : 0;
}

const struct volume_record *data_node_volume(const struct data_node *n, size_t type, size_t i)
{
    return &n->disks[type].replicas[i]->record;
}

size_t data_node_ec_count(const struct data_node *n, size_t type)
{
    return type < n->disk_count ? n->disks[type].ec_count : 0;
}

const struct ec_record *data_node_ec(const struct data_node *n, size_t type, size_t i)
{
    return &n->disks[type].ecs[i]->record;
}

uint64_t data_node_digest(const struct data_node *n) { return n->digest; }
