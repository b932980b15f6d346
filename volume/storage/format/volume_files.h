/* The names of a volume's files, and which volumes a directory holds.
 * Source: spec/storage-format.md 1 and 11.2.
 *
 * Base name: "<id>" or "<collection>_<id>". D is the data directory, I the index directory; a volume
 * whose .idx lies in D keeps all its index-side files there. May block. Any thread. */
#pragma once

#include "common/bytes.h"
#include "common/os.h"

enum volume_file {
    VOLUME_FILE_DAT,   /* D */
    VOLUME_FILE_IDX,   /* I */
    VOLUME_FILE_VIF,   /* D */
    VOLUME_FILE_SDX,   /* I */
    VOLUME_FILE_LDB,   /* I, a directory */
    VOLUME_FILE_RDB,   /* I, of the peer's Rust port: removed, never read */
    VOLUME_FILE_CPD,   /* D */
    VOLUME_FILE_CPX,   /* I */
    VOLUME_FILE_CPLDB, /* I, a directory */
    VOLUME_FILE_CPC,   /* D */
    VOLUME_FILE_NOTE,  /* D */
    VOLUME_FILE_ECX,   /* I */
    VOLUME_FILE_KIX,   /* I, ours: the checkpoint of the index in memory (index_checkpoint.h) */
    VOLUME_FILE_REPAIR_LOG, /* D, ours: what repairs have changed (repair_log.h) */
    VOLUME_FILE_COUNT,
};

struct volume_files {
    char *data_dir, *index_dir;      /* index_dir: D or I, as decided for this volume */
    char *base;                      /* "photos_3" */
    char *paths[VOLUME_FILE_COUNT];  /* owned */
};

/* Looks once whether <data_dir>/<base>.idx exists, which settles index_dir. NULL or "" for index_dir:
 * data_dir. `collection` "" for none. */
int volume_files_init(struct volume_files *files, struct os *os, const char *data_dir,
                      const char *index_dir, const char *collection, uint32_t id,
                      struct error *err);
void volume_files_fini(struct volume_files *files); /* takes a zeroed one too */
static inline const char *volume_files_path(const struct volume_files *files, enum volume_file file)
{
    return files->paths[file];
}
/* "dat", "idx", ... */
const char *volume_file_extension(enum volume_file file);

bool volume_file_exists(struct os *os, const char *path);
/* Removes a file or (one level of) a directory. Nothing there is success. */
int volume_file_remove(struct os *os, const char *path, struct error *err);
/* fsync of data_dir, and of index_dir if different. */
int volume_files_sync_directories(const struct volume_files *files, struct os *os,
                                  struct error *err);
/* Removes all of the volume's files in D and I, .dat first, so that a half-done removal is never taken
 * for a volume; keeps the .vif when EC files of the id are there. */
int volume_files_remove(const struct volume_files *files, struct os *os, struct error *err);

/* Removes what may lie beside .dat, .idx and .vif: what was derived from them, begun, or noted. Before a
 * volume is made: an old .note or .cpd would undo it at the next start. */
int volume_files_remove_strays(const struct volume_files *files, struct os *os, struct error *err);

/* Splits a base name ("photos_2026_7" -> "photos_2026", 7). False when it names no volume.
 * `collection` points into base and is not terminated. */
bool volume_name_parse(struct slice base, struct slice *ret_collection, uint32_t *ret_id);

enum volume_found {
    VOLUME_FOUND,            /* load it */
    VOLUME_FOUND_STUB,       /* .dat of a super block only, leftover of an EC encode: .dat, .idx may go */
    VOLUME_FOUND_EC,         /* EC shards' metadata, not a volume */
    VOLUME_FOUND_INCOMPLETE, /* a .note is there: a copy that did not end; all its files may go */
    VOLUME_FOUND_NO_DATA,    /* no .dat and no remote copy: leave alone */
};
/* Called in name order, once per base name. `collection` is terminated. Non-zero ends it. */
typedef int volume_files_visitor(void *ctx, const char *collection, uint32_t id,
                                 enum volume_found what);
/* Every base name that has an .idx or a .vif in data_dir. Changes nothing on disk. */
int volume_files_discover(struct os *os, const char *data_dir, const char *index_dir,
                          volume_files_visitor *visit, void *ctx, struct error *err);

/* Removes half-written files under their temporary names, ours and the peer's, that nobody has written to
 * since `before_ns` (unix time). `removed` is told of each. What cannot be looked at or removed stays. */
void volume_files_sweep(struct os *os, const char *directory, int64_t before_ns,
                        void (*removed)(void *ctx, const char *path), void *ctx);
