/* One data directory. Opening it is where a user learns that a path is wrong, so each refusal
 * says what to do. Getters read what is fixed after opening, or atomics that the probe sets: any
 * thread. */
#include "volume/disk_location.h"

#include "common/bytes.h"
#include "common/check.h"

#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAGS_MAX 16
/* So many probes in a row may fail before the disk counts as gone. */
#define PROBE_FAILURES_MAX 3
/* So much of a low disk has to be free again before the next probe looks: it would be full in a moment. */
#define ROOM_AGAIN_PART 100

struct disk_location {
    struct os *os;
    uint32_t id;
    int lock_fd;
    char *directory;
    char *index_directory;
    char disk_type[32];
    char uuid[37];
    char *tag_text;
    const char *tags[TAGS_MAX];
    size_t tag_count;
    unsigned max_volumes;
    double min_free_percent;
    uint64_t min_free_bytes;

    unsigned probe_failures; /* the probing thread's own */
    atomic_uint_fast64_t total_bytes, free_bytes;
    atomic_uint_fast64_t flag_bytes;              /* what the flag keeps free */
    atomic_uint_fast64_t floor_bytes, held_bytes; /* see disk_location_set_floor */
    atomic_bool is_low, is_unavailable;
};

void disk_type_normalize(const char *text, char ret[32])
{
    size_t length = 0;
    for (; text && *text && length < 31; text++)
        if (!isspace((unsigned char)*text))
            ret[length++] = (char)tolower((unsigned char)*text);
    ret[length] = '\0';
    if (strcmp(ret, "hdd") == 0)
        ret[0] = '\0';
}

static void split_tags(struct disk_location *location, const char *text)
{
    location->tag_text = must(strdup(text ? text : ""));
    char *rest = location->tag_text;
    for (char *tag; (tag = strsep(&rest, ":")) != NULL && location->tag_count < TAGS_MAX;) {
        while (isspace((unsigned char)*tag))
            tag++;
        for (char *end = tag + strlen(tag); end > tag && isspace((unsigned char)end[-1]);)
            *--end = '\0';
        for (char *c = tag; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        bool is_known = *tag == '\0';
        for (size_t i = 0; i < location->tag_count; i++)
            is_known |= strcmp(location->tags[i], tag) == 0;
        if (!is_known)
            location->tags[location->tag_count++] = tag;
    }
}

/* ---- opening ---- */

static int check_directory(struct os *os, const char *path, struct error *err)
{
    struct os_stat stat;
    int rc = os_stat(os, path, &stat);
    if (rc == -ENOENT)
        return error_set(err, KELP_E_NOT_FOUND,
                         "data directory %s does not exist: create it, or correct -dir", path);
    if (rc < 0)
        return error_set_errno(err, -rc, "data directory %s cannot be looked at, check its rights",
                               path);
    if (!stat.is_directory)
        return error_set(err, KELP_E_INVALID, "%s is not a directory: correct -dir", path);
    return 0;
}

static int lock_directory(struct disk_location *location, struct error *err)
{
    int fd = os_open(location->os, location->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0)
        return error_set_errno(err, -fd, "data directory %s cannot be opened, check its rights",
                               location->directory);
    int rc = os_lock(location->os, fd);
    if (rc < 0) {
        os_close(location->os, fd);
        if (rc == -EWOULDBLOCK)
            return error_set(err, KELP_E_BUSY,
                             "data directory %s is in use: one directory belongs to one server "
                             "process; stop the other one, or give each its own -dir (and name "
                             "no directory twice)",
                             location->directory);
        return error_set_errno(err, -rc, "flock %s", location->directory);
    }
    location->lock_fd = fd;
    return 0;
}

static int check_writable(struct os *os, const char *directory, struct error *err)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/vol_dir.probe", directory);
    int fd = os_open(os, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        int code = error_set_errno(err, -fd,
                                   "directory %s is not writable: give the user that runs this "
                                   "server the right to write there, or free an inode",
                                   directory);
        return code == KELP_E_READ_ONLY ? error_set(err, KELP_E_DENIED,
                                                    "directory %s is on a read-only file system: "
                                                    "mount it read-write",
                                                    directory)
                                        : code;
    }
    os_close(os, fd);
    os_unlink(os, path);
    return 0;
}

static void make_uuid(struct os *os, char ret[37])
{
    uint8_t b[16];
    store_be64(b, os_random(os));
    store_be64(b + 8, os_random(os));
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    snprintf(ret, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
             b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
             b[14], b[15]);
}

static int load_uuid(struct disk_location *location, struct error *err)
{
    char path[4200];
    snprintf(path, sizeof(path), "%s/vol_dir.uuid", location->directory);
    char *text = NULL;
    size_t size = 0;
    struct error cause = {0};
    int code = os_read_file(location->os, path, 4096, &text, &size, &cause);
    if (code && code != KELP_E_NOT_FOUND) {
        if (err)
            *err = cause;
        return code;
    }
    while (size > 0 && isspace((unsigned char)text[size - 1]))
        size--;
    if (size > 0 && size < sizeof(location->uuid)) {
        memcpy(location->uuid, text, size);
        location->uuid[size] = '\0';
        free(text);
        return 0;
    }
    free(text);
    if (size > 0)
        return error_set(err, KELP_E_CORRUPT, "%s is not a UUID: remove it to get a new one", path);
    make_uuid(location->os, location->uuid);
    return os_replace_file(location->os, path, location->uuid, strlen(location->uuid), err);
}

int disk_location_open(struct disk_location **ret, const struct disk_location_config *config,
                       struct error *err)
{
    struct disk_location *location = must(calloc(1, sizeof(*location)));
    location->os = config->os;
    location->id = config->id;
    location->lock_fd = -1;
    location->directory = must(strdup(config->directory));
    size_t length = strlen(location->directory);
    while (length > 1 && location->directory[length - 1] == '/')
        location->directory[--length] = '\0';
    bool has_index = config->index_directory && *config->index_directory;
    location->index_directory =
        must(strdup(has_index ? config->index_directory : location->directory));
    disk_type_normalize(config->disk_type, location->disk_type);
    split_tags(location, config->tags);
    location->max_volumes = config->max_volumes;
    location->min_free_percent = config->min_free_percent;
    location->min_free_bytes = config->min_free_bytes;

    int code = 0;
    if (length > 3800)
        code = error_set(err, KELP_E_INVALID, "data directory: the path is too long");
    if (!code)
        code = check_directory(location->os, location->directory, err);
    if (!code)
        code = lock_directory(location, err);
    if (!code)
        code = check_writable(location->os, location->directory, err);
    if (!code && has_index) {
        code = check_directory(location->os, location->index_directory, err);
        if (!code)
            code = check_writable(location->os, location->index_directory, err);
        if (code)
            error_prefix(err, "-dir.idx");
    }
    if (!code)
        code = load_uuid(location, err);
    if (code) {
        disk_location_close(location);
        return code;
    }
    disk_location_probe(location);
    *ret = location;
    return 0;
}

void disk_location_close(struct disk_location *location)
{
    if (!location)
        return;
    if (location->lock_fd >= 0)
        os_close(location->os, location->lock_fd);
    free(location->directory);
    free(location->index_directory);
    free(location->tag_text);
    free(location);
}

/* ---- space ---- */

/* What may be written before the disk is low; 0 when it is. */
static uint64_t room_above(const struct disk_location *location, uint64_t free_bytes, uint64_t flag)
{
    uint64_t floor = atomic_load(&location->floor_bytes);
    uint64_t usable = free_bytes + atomic_load(&location->held_bytes);
    uint64_t above_flag = free_bytes > flag ? free_bytes - flag : 0;
    uint64_t above_floor = usable > floor ? usable - floor : 0;
    return above_flag < above_floor ? above_flag : above_floor;
}

bool disk_location_probe(struct disk_location *location)
{
    struct os_space space;
    bool was_low = atomic_load(&location->is_low);
    bool was_unavailable = atomic_load(&location->is_unavailable);
    if (os_space(location->os, location->directory, &space) < 0) {
        /* A glitch must not make volumes vanish from the cluster; the last figures stay. */
        if (++location->probe_failures >= PROBE_FAILURES_MAX)
            atomic_store(&location->is_unavailable, true);
        return atomic_load(&location->is_unavailable) != was_unavailable;
    }
    location->probe_failures = 0;
    uint64_t reserve = location->min_free_bytes;
    if (reserve == 0)
        reserve = (uint64_t)((double)space.total_bytes * location->min_free_percent / 100.0);
    atomic_store(&location->total_bytes, space.total_bytes);
    atomic_store(&location->free_bytes, space.free_bytes);
    atomic_store(&location->flag_bytes, reserve);
    bool is_low = room_above(location, space.free_bytes, reserve) == 0;
    atomic_store(&location->is_low, is_low);
    atomic_store(&location->is_unavailable, false);
    return is_low != was_low || was_unavailable;
}

void disk_location_set_floor(struct disk_location *location, uint64_t floor_bytes, uint64_t held_bytes)
{
    atomic_store(&location->floor_bytes, floor_bytes);
    atomic_store(&location->held_bytes, held_bytes);
}

bool disk_location_has_turned(const struct disk_location *location, uint64_t *ret_room)
{
    struct os_space space;
    if (os_space(location->os, location->directory, &space) < 0)
        return false;
    uint64_t room = room_above(location, space.free_bytes, atomic_load(&location->flag_bytes));
    if (atomic_load(&location->is_low))
        return room > space.total_bytes / ROOM_AGAIN_PART;
    *ret_room = room;
    return room == 0;
}

void disk_location_space(const struct disk_location *location, struct disk_space *ret)
{
    ret->total_bytes = atomic_load(&location->total_bytes);
    ret->free_bytes = atomic_load(&location->free_bytes);
    uint64_t flag = atomic_load(&location->flag_bytes), floor = atomic_load(&location->floor_bytes);
    ret->reserve_bytes = flag > floor ? flag : floor;
    ret->is_low = atomic_load(&location->is_low);
    ret->is_unavailable = atomic_load(&location->is_unavailable);
}

/* ---- getters ---- */

uint32_t disk_location_id(const struct disk_location *location) { return location->id; }

const char *disk_location_directory(const struct disk_location *location)
{
    return location->directory;
}

const char *disk_location_index_directory(const struct disk_location *location)
{
    return location->index_directory;
}

const char *disk_location_disk_type(const struct disk_location *location)
{
    return location->disk_type;
}

const char *disk_location_uuid(const struct disk_location *location) { return location->uuid; }

const char *const *disk_location_tags(const struct disk_location *location, size_t *ret_count)
{
    *ret_count = location->tag_count;
    return location->tags;
}

unsigned disk_location_max_configured(const struct disk_location *location)
{
    return location->max_volumes;
}
