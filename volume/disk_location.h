/* A disk location: one data directory, its lock, its identity and its free space.
 *
 * Knows names and bytes, not volumes: the store decides what lives here. Setting it up blocks; the
 * getters are for any thread and never wait. Source: spec/storage-format.md 1, 20. */
#pragma once

#include "common/os.h"

struct disk_location;

struct disk_location_config {
    struct os *os;
    uint32_t id;             /* its number in the order of the flags: disk_id on the wire */
    const char *directory;
    const char *index_directory; /* NULL or "": beside the data */
    unsigned max_volumes;    /* 0: automatic */
    const char *disk_type;   /* any case; "" and "hdd" are the same */
    const char *tags;        /* "a:b"; NULL or "": none */
    double min_free_percent; /* used when min_free_bytes is 0 */
    uint64_t min_free_bytes;
};

/* Checks that the directory is there and writable, locks it (flock on the directory itself)
 * against a second process, reads or makes vol_dir.uuid, probes the space. Errors say what to
 * do: KELP_E_NOT_FOUND, KELP_E_DENIED, KELP_E_BUSY. */
int disk_location_open(struct disk_location **ret, const struct disk_location_config *config,
                       struct error *err);
/* Releases the lock. NULL is fine. */
void disk_location_close(struct disk_location *location);

uint32_t disk_location_id(const struct disk_location *location);
const char *disk_location_directory(const struct disk_location *location);
const char *disk_location_index_directory(const struct disk_location *location);
const char *disk_location_disk_type(const struct disk_location *location); /* "" is hdd */
const char *disk_location_uuid(const struct disk_location *location);
/* Trimmed, lower-cased, each once. */
const char *const *disk_location_tags(const struct disk_location *location, size_t *ret_count);
unsigned disk_location_max_configured(const struct disk_location *location); /* 0: automatic */

/* "" for "", "hdd", "HDD"; else lower-cased. */
void disk_type_normalize(const char *text, char ret[32]);

struct disk_space {
    uint64_t total_bytes, free_bytes;
    uint64_t reserve_bytes; /* what uploads must leave: what the flag keeps free, or the floor */
    bool is_low;            /* there was less at the last probe */
    bool is_unavailable;    /* several probes in a row failed */
};
/* Looks at the file system; blocks. Returns whether is_low or is_unavailable changed. */
bool disk_location_probe(struct disk_location *location);
/* What uploads must leave whatever the flag says, counting as free what vacuums hold for a while.
 * Takes effect with the next probe or look. */
void disk_location_set_floor(struct disk_location *location, uint64_t floor_bytes, uint64_t held_bytes);
/* Whether a probe would find now that the disk has become low, or has room again, and not just a
 * little. Blocks; an answer that does not come counts as no. *ret_room: how much may still be
 * uploaded to a disk that is not low; else untouched. */
bool disk_location_has_turned(const struct disk_location *location, uint64_t *ret_room);
/* As of the last probe. */
void disk_location_space(const struct disk_location *location, struct disk_space *ret);
