/* What kind of volume a client asks for, and where: the question behind Assign, VolumeGrow and
 * placement. Strings are borrowed for the length of a call. Pure; any thread. */
#pragma once

#include "common/replica_placement.h"
#include "common/ttl.h"

#define VOLUME_OPTION_TEXT_SIZE 2048

struct volume_option {
    const char *collection; /* NULL reads as "", here and below */
    const char *disk_type;  /* as the client wrote it; "hdd" and "" are the same type */
    const char *data_center;
    const char *rack;
    const char *data_node; /* node id */
    struct replica_placement placement;
    struct ttl ttl;
    int64_t preallocate_bytes;
    uint32_t memory_map_max_size_mb;
    uint32_t version; /* 3 */
};

/* The JSON form that ends up in error texts (spec/master-http.md 2.3):
 * {"collection":"pics","replication":{"node":1},"ttl":{"Count":0,"Unit":0},"version":3}.
 * Always terminated; cut when it does not fit. Returns text. */
const char *volume_option_format(const struct volume_option *o, char text[VOLUME_OPTION_TEXT_SIZE]);

static inline bool volume_option_is_filtered(const struct volume_option *o)
{
    return (o->data_center && *o->data_center) || (o->rack && *o->rack) ||
           (o->data_node && *o->data_node);
}
