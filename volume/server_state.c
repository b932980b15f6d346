/* state.pb is a VolumeServerState message: { 1 maintenance bool, 2 version u32 }. */
#include "volume/server_state.h"

#include "common/check.h"
#include "proto/volume_server.pb-c.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define STATE_FILE_MAX 65536u

struct server_state {
    struct os *os;
    char *path;
    pthread_mutex_t lock;       /* maintenance, version */
    pthread_mutex_t write_lock; /* one change at a time; held over the write of the file */
    bool maintenance;
    uint32_t version;
};

static int load(struct server_state *state, struct error *err)
{
    char *data = NULL;
    size_t size = 0;
    struct error cause = {0};
    int code = os_read_file(state->os, state->path, STATE_FILE_MAX, &data, &size, &cause);
    if (code == KELP_E_NOT_FOUND)
        return 0;
    if (code) {
        if (err)
            *err = cause;
        return code;
    }
    VolumeServerPb__VolumeServerState *message =
        volume_server_pb__volume_server_state__unpack(NULL, size, (const uint8_t *)data);
    free(data);
    if (!message)
        return error_set(err, KELP_E_CORRUPT,
                         "%s is not a server state: remove it to start without maintenance mode",
                         state->path);
    state->maintenance = message->maintenance;
    state->version = message->version;
    volume_server_pb__volume_server_state__free_unpacked(message, NULL);
    return 0;
}

int server_state_open(struct server_state **ret, struct os *os, const char *directory,
                      struct error *err)
{
    struct server_state *state = must(calloc(1, sizeof(*state)));
    state->os = os;
    size_t room = strlen(directory) + sizeof("/state.pb");
    state->path = must(malloc(room));
    snprintf(state->path, room, "%s/state.pb", directory);
    pthread_mutex_init(&state->lock, NULL);
    pthread_mutex_init(&state->write_lock, NULL);
    int code = load(state, err);
    if (code) {
        server_state_close(state);
        return code;
    }
    *ret = state;
    return 0;
}

void server_state_close(struct server_state *state)
{
    if (!state)
        return;
    pthread_mutex_destroy(&state->lock);
    pthread_mutex_destroy(&state->write_lock);
    free(state->path);
    free(state);
}

void server_state_get(struct server_state *state, bool *ret_maintenance, uint32_t *ret_version)
{
    pthread_mutex_lock(&state->lock);
    *ret_maintenance = state->maintenance;
    *ret_version = state->version;
    pthread_mutex_unlock(&state->lock);
}

static int save(struct server_state *state, bool maintenance, uint32_t version, struct error *err)
{
    VolumeServerPb__VolumeServerState message = VOLUME_SERVER_PB__VOLUME_SERVER_STATE__INIT;
    message.maintenance = maintenance;
    message.version = version;
    uint8_t bytes[32];
    CHECK(volume_server_pb__volume_server_state__get_packed_size(&message) <= sizeof(bytes));
    size_t size = volume_server_pb__volume_server_state__pack(&message, bytes);
    struct error cause = {0};
    int code = os_replace_file(state->os, state->path, bytes, size, &cause);
    return code ? error_set(err, code, "failed to write store state to %s : %.300s", state->path,
                            cause.message)
                : 0;
}

int server_state_set(struct server_state *state, bool maintenance, uint32_t version,
                     struct error *err)
{
    pthread_mutex_lock(&state->write_lock);
    int code = 0;
    uint32_t stored = state->version; /* only changed under write_lock */
    if (version != stored)
        code = error_set(err, KELP_E_PRECONDITION,
                         "version mismatch for VolumeServerState (got %u, want %u)", stored,
                         version);
    else
        code = save(state, maintenance, stored + 1, err);
    if (!code) {
        pthread_mutex_lock(&state->lock);
        state->maintenance = maintenance;
        state->version = stored + 1;
        pthread_mutex_unlock(&state->lock);
    }
    pthread_mutex_unlock(&state->write_lock);
    return code;
}
