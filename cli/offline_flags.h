/* The flags that all tools for volumes have: a folder, and which of the volumes in it. Main
 * thread. */
#pragma once

#include "cli/offline_volume.h"
#include "common/config.h"

struct offline_flags {
    const char *directory, *index_directory, *collection;
    int64_t volume_id;
};

extern struct offline_flags offline_flags;

#define OFFLINE_DIRECTORY_ROW(help) {"dir", CONFIG_STRING, &offline_flags.directory, ".", help}
#define OFFLINE_INDEX_DIRECTORY_ROW                                                                \
    {"dir.idx", CONFIG_STRING, &offline_flags.index_directory, NULL,                               \
     "folder of the index files, if it is another"}

/* Rows of a tool that works on one volume. */
#define OFFLINE_ONE_ROWS                                                                           \
    OFFLINE_DIRECTORY_ROW("folder with the volume"),                                               \
    OFFLINE_INDEX_DIRECTORY_ROW,                                                                   \
    {"collection", CONFIG_STRING, &offline_flags.collection, NULL, "the volume's collection"},     \
    {"volumeId", CONFIG_INT, &offline_flags.volume_id, "-1", "the volume's number"}
/* Of one that takes several; it adds the row of -dir, if it has one. */
#define OFFLINE_MANY_ROWS                                                                          \
    OFFLINE_INDEX_DIRECTORY_ROW,                                                                   \
    {"collection", CONFIG_STRING, &offline_flags.collection, NULL,                                 \
     "only volumes of this collection"},                                                           \
    {"volumeId", CONFIG_INT, &offline_flags.volume_id, NULL, "only this volume; 0: all"}

/* For a tool with OFFLINE_ONE_ROWS: the volume that they mean. KELP_E_INVALID without a number,
 * KELP_E_NOT_FOUND says what there is. */
int offline_flags_find_one(struct offline_list *list, struct error *err);
/* For one with OFFLINE_MANY_ROWS: KELP_E_INVALID where -volumeId is none. */
int offline_flags_check(struct error *err);
/* Adds the volumes at `path` that they mean, as offline_list_add. */
int offline_flags_add(struct offline_list *list, const char *path, struct error *err);
