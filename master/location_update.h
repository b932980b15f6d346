/* What changed in the location of volumes on one data node: the pure form of the VolumeLocation message
 * that a master broadcasts to its KeepConnected clients. Source: spec/master-rpc.md 4.2 step 11.
 *
 * Owned by the caller, memory and all: it stays valid after the topology's lock is dropped and after the
 * node is gone. One thread at a time. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct id_list {
    uint32_t *ids;
    size_t count;
    size_t capacity;
};

struct location_update {
    char *url; /* "ip:port"; NULL until an update was filled */
    char *public_url;
    char *data_center;
    uint32_t grpc_port;
    struct id_list new_vids;
    struct id_list deleted_vids;
    struct id_list new_ec_vids;
    struct id_list deleted_ec_vids;
    /* Those of new_vids that have the property; an entry of new_vids that is absent here lost it. */
    struct id_list remote_vids;
    struct id_list read_only_vids;
    struct id_list read_only_can_delete_vids;
};

/* An array of updates; for events that touch several nodes. */
struct location_updates {
    struct location_update *items;
    size_t count;
    size_t capacity;
};

void id_list_add(struct id_list *list, uint32_t id);
bool id_list_contains(const struct id_list *list, uint32_t id); /* linear */
void id_list_sort_unique(struct id_list *list);                 /* ascending, each id once */
void id_list_fini(struct id_list *list);

void location_update_init(struct location_update *u);
void location_update_fini(struct location_update *u); /* also of a zeroed one */
void location_update_clear(struct location_update *u);
bool location_update_is_empty(const struct location_update *u); /* no id in the four main lists */

void location_updates_init(struct location_updates *list);
void location_updates_fini(struct location_updates *list);
/* A fresh empty update at the end; valid until the next call. */
struct location_update *location_updates_add(struct location_updates *list);
