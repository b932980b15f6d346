/* Volumes in a folder, for the tools that work on files without a server: finding them, locking
 * their folder, opening them for reading. Main thread but where it says otherwise; blocks. */
#pragma once

#include "volume/storage/format/volume_files.h"
#include "volume/storage/volume_generation.h"
#include "volume/storage/format/volume_info_file.h"

/* Which volumes of a folder are meant. */
struct offline_selection {
    const char *index_directory; /* "" : beside the data */
    const char *collection;
    bool any_collection; /* whatever `collection` says */
    int64_t volume_id;   /* <= 0: all */
};

struct offline_volume {
    char *directory, *collection; /* owned */
    uint32_t id;
    struct volume_files files;
    bool has_dat, has_idx;
    bool has_info;        /* a .vif that can be read; then: */
    struct volume_info info;
    bool is_info_foreign; /* a .vif that cannot be read; `info_error` says why */
    struct error info_error;
    uint8_t offset_bytes; /* as the .vif says, else as its rows look */
};

struct offline_list {
    struct offline_volume *volumes; /* owned, in order of their names */
    size_t count;
};

/* Adds the volumes of a folder that have a .dat or an .idx, or the one that a file name means
 * ("/data/photos_3.dat"). Finding none is no error. */
int offline_list_add(struct offline_list *list, const char *path,
                     const struct offline_selection *selection, struct error *err);
/* As above, and exactly one volume is wanted: KELP_E_NOT_FOUND says what there is. */
int offline_list_one(struct offline_list *list, const char *directory,
                     const struct offline_selection *selection, struct error *err);
void offline_list_fini(struct offline_list *list); /* takes a zeroed one too */

/* Opens .dat and .idx for reading only. With `has_index` the rows are loaded into memory, as far
 * as they make sense. Any thread. */
int offline_open(const struct offline_volume *volume, bool has_index,
                 struct volume_generation **ret, struct error *err);

/* Takes the lock that a server holds on its folders; KELP_E_BUSY says what to do. Close the fd to
 * release. */
int offline_lock(const char *directory, int *ret_fd, struct error *err);
/* Whether a server or a tool holds that lock. Several may ask at a time. */
bool offline_is_in_use(const char *directory);

/* "1.5 GB" in a static ring of a few buffers; main thread. */
const char *offline_bytes(uint64_t bytes);
