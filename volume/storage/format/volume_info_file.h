/* The .vif file: what is known of a volume beside its records, as JSON. Source: spec/storage-format.md 10.
 *
 * Read with tolerance (numbers or strings, camelCase or snake_case, missing keys, the legacy shape);
 * written with exactly the peer's keys, and with those unknown ones that were there before (a later version
 * may need them), whole or not at all. May block. Any thread. */
#pragma once

#include "common/os.h"

struct volume_info_remote { /* a copy in remote storage; entry 0 is the one in use */
    char *backend_type, *backend_id, *key, *extension; /* owned, never NULL */
    uint64_t offset, file_size, modified_time;
    char *foreign; /* keys that we do not know, as JSON members; owned, NULL for none */
};

struct volume_info {
    struct volume_info_remote *files; /* owned */
    size_t file_count;
    uint32_t version;
    char replication[4]; /* "xyz", or "" for what the super block says */
    uint32_t bytes_offset; /* 4 or 5; 0 unknown */
    uint64_t dat_file_size;
    uint64_t expire_at_second;
    bool is_read_only, can_delete;
    bool has_ec; /* then: */
    uint32_t ec_data_shards, ec_parity_shards;
    int64_t ec_encoded_at_ns;
    char *foreign; /* as above */
};

void volume_info_fini(struct volume_info *info); /* takes a zeroed one too */
/* KELP_E_NOT_FOUND when absent or empty; KELP_E_CORRUPT when it is not such a document. */
int volume_info_file_load(struct os *os, const char *path, struct volume_info *ret,
                          struct error *err);
/* KELP_E_DENIED when the file is there without owner write permission. */
int volume_info_file_save(struct os *os, const char *path, const struct volume_info *info,
                          struct error *err);
