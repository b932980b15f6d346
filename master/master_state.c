/* The durable values in one small JSON file that is replaced whole. Two locks: `write_lock` is held
 * while the disk works, `lock` only to look at or publish the values, so that readers never wait
 * for a disk. */
#include "master/master_state.h"

#include "common/check.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <pthread.h>
#include <errno.h>
#include <string.h>

#define STATE_FILE_MAX 65536

struct master_state {
    struct os *os;
    char *path;      /* of master.json */
    char *directory;
    int lock_fd;
    pthread_mutex_t write_lock; /* one writer at a time; taken before `lock` */
    pthread_mutex_t lock;       /* values */
    struct master_values values;
};

static char *join(const char *directory, const char *name)
{
    char *path;
    CHECK(asprintf(&path, "%s/%s", directory, name) >= 0);
    return path;
}

/* A random (version 4) UUID. */
static void make_topology_id(struct os *os, char text[TOPOLOGY_ID_SIZE])
{
    uint64_t high = (os_random(os) & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
    uint64_t low = (os_random(os) & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;
    snprintf(text, TOPOLOGY_ID_SIZE, "%08x-%04x-%04x-%04x-%012" PRIx64, (unsigned)(high >> 32),
             (unsigned)(high >> 16 & 0xffff), (unsigned)(high & 0xffff), (unsigned)(low >> 48),
             low & UINT64_C(0xffffffffffff));
}

static int write_values(struct master_state *state, const struct master_values *values,
                        struct error *err)
{
    char text[256];
    int size = snprintf(text, sizeof(text),
                        "{\"maxVolumeId\":%" PRIu32 ",\"fileKeyCeiling\":%" PRIu64
                        ",\"topologyId\":\"%s\"}\n",
                        values->max_volume_id, values->key_ceiling, values->topology_id);
    CHECK(size > 0 && (size_t)size < sizeof(text));
    return os_replace_file(state->os, state->path, text, (size_t)size, err);
}

static int corrupt(const struct master_state *state, const char *what, struct error *err)
{
    return error_set(err, KELP_E_CORRUPT,
                     "%s: %s; put a backup of the file in its place, or remove it to start with a "
                     "new state (volume ids and file keys are then learnt from the volume servers)",
                     state->path, what);
}

static bool read_number(struct json_object *object, const char *key, uint64_t limit, uint64_t *ret)
{
    struct json_object *field;
    if (!json_object_object_get_ex(object, key, &field) ||
        !json_object_is_type(field, json_type_int))
        return false;
    if (json_object_get_int64(field) < 0)
        return false;
    uint64_t value = json_object_get_uint64(field);
    if (value > limit)
        return false;
    *ret = value;
    return true;
}

static int parse_values(struct master_state *state, const char *text, struct error *err)
{
    struct json_object *object = json_tokener_parse(text);
    struct json_object *id = NULL;
    uint64_t max_volume_id = 0, key_ceiling = 0;
    int code = 0;
    if (!object || !json_object_is_type(object, json_type_object))
        code = corrupt(state, "is not JSON", err);
    else if (!read_number(object, "maxVolumeId", UINT32_MAX, &max_volume_id))
        code = corrupt(state, "has no usable maxVolumeId", err);
    else if (!read_number(object, "fileKeyCeiling", UINT64_MAX, &key_ceiling))
        code = corrupt(state, "has no usable fileKeyCeiling", err);
    else if (!json_object_object_get_ex(object, "topologyId", &id) ||
             !json_object_is_type(id, json_type_string) ||
             json_object_get_string_len(id) != TOPOLOGY_ID_SIZE - 1)
        code = corrupt(state, "has no usable topologyId", err);
    if (!code) {
        state->values.max_volume_id = (uint32_t)max_volume_id;
        state->values.key_ceiling = key_ceiling;
        memcpy(state->values.topology_id, json_object_get_string(id), TOPOLOGY_ID_SIZE);
    }
    json_object_put(object);
    return code;
}

static int load(struct master_state *state, struct error *err)
{
    struct os_stat st;
    int rc = os_stat(state->os, state->path, &st);
    if (rc == -ENOENT) {
        state->values.key_ceiling = 1; /* keys start at 1 */
        make_topology_id(state->os, state->values.topology_id);
        return write_values(state, &state->values, err);
    }
    char *text;
    size_t size;
    int code = os_read_file(state->os, state->path, STATE_FILE_MAX, &text, &size, err);
    if (code)
        return code;
    code = parse_values(state, text, err);
    free(text);
    return code;
}

static int make_directory(struct os *os, const char *directory, struct error *err)
{
    struct os_stat st;
    int rc = os_stat(os, directory, &st);
    if (rc == 0 && !st.is_directory)
        return error_set(err, KELP_E_INVALID, "%s is not a folder; choose another one", directory);
    if (rc == 0)
        return 0;
    rc = os_mkdir(os, directory, 0755);
    if (rc == 0 || rc == -EEXIST)
        return 0;
    if (rc == -ENOENT)
        return error_set(err, KELP_E_NOT_FOUND,
                         "the folder %s does not exist and its parent neither; make it, or choose "
                         "another one",
                         directory);
    error_set_errno(err, -rc, "mkdir %s", directory);
    return error_prefix(err, "the master needs a folder it can write to");
}

static int lock_directory(struct master_state *state, struct error *err)
{
    char *path = join(state->directory, "lock");
    int fd = os_open(state->os, path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    int rc = fd < 0 ? fd : os_lock(state->os, fd);
    int code = 0;
    if (rc == -EWOULDBLOCK)
        code = error_set(err, KELP_E_BUSY,
                         "%s is in use by another master; stop that one, or choose another folder",
                         state->directory);
    else if (rc < 0) {
        error_set_errno(err, -rc, "%s %s", fd < 0 ? "open" : "flock", path);
        code = error_prefix(err, "the master needs a folder it can write to");
    }
    if (code && fd >= 0)
        os_close(state->os, fd);
    if (!code)
        state->lock_fd = fd;
    free(path);
    return code;
}

int master_state_open(struct master_state **ret, struct os *os, const char *directory,
                      struct error *err)
{
    struct master_state *state = must(calloc(1, sizeof(*state)));
    state->os = os;
    state->lock_fd = -1;
    state->directory = must(strdup(directory));
    state->path = join(directory, "master.json");
    pthread_mutex_init(&state->write_lock, NULL);
    pthread_mutex_init(&state->lock, NULL);
    int code = make_directory(os, directory, err);
    if (!code)
        code = lock_directory(state, err);
    if (!code)
        code = load(state, err);
    if (code) {
        master_state_close(state);
        return code;
    }
    *ret = state;
    return 0;
}

void master_state_close(struct master_state *state)
{
    if (!state)
        return;
    if (state->lock_fd >= 0)
        os_close(state->os, state->lock_fd); /* the lock goes with it */
    pthread_mutex_destroy(&state->lock);
    pthread_mutex_destroy(&state->write_lock);
    free(state->path);
    free(state->directory);
    free(state);
}

void master_state_read(struct master_state *state, struct master_values *ret)
{
    pthread_mutex_lock(&state->lock);
    *ret = state->values;
    pthread_mutex_unlock(&state->lock);
}

/* write_lock is held. */
static int replace_values(struct master_state *state, const struct master_values *values,
                          struct error *err)
{
    int code = write_values(state, values, err);
    if (code)
        return code;
    pthread_mutex_lock(&state->lock);
    state->values = *values;
    pthread_mutex_unlock(&state->lock);
    return 0;
}

int master_state_raise(struct master_state *state, uint32_t max_volume_id, uint64_t key_ceiling,
                       struct error *err)
{
    int code = 0;
    pthread_mutex_lock(&state->write_lock);
    struct master_values values;
    master_state_read(state, &values);
    if (max_volume_id > values.max_volume_id || key_ceiling > values.key_ceiling) {
        if (max_volume_id > values.max_volume_id)
            values.max_volume_id = max_volume_id;
        if (key_ceiling > values.key_ceiling)
            values.key_ceiling = key_ceiling;
        code = replace_values(state, &values, err);
    }
    pthread_mutex_unlock(&state->write_lock);
    return code;
}

int master_state_settle(struct master_state *state, uint64_t next_key, struct error *err)
{
    int code = 0;
    pthread_mutex_lock(&state->write_lock);
    struct master_values values;
    master_state_read(state, &values);
    if (next_key < values.key_ceiling) {
        values.key_ceiling = next_key;
        code = replace_values(state, &values, err);
    }
    pthread_mutex_unlock(&state->write_lock);
    return code;
}
