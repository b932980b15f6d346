/* What a shell command works with: the connection to the leader and to volume servers, the output, and
 * the state of the admin lock. Main thread; only the lock's renewal has a thread of its own. */
#pragma once

#include "cli/process_rpc.h"
#include "common/address.h"
#include "common/config.h"

#include <json-c/json.h>
#include <pthread.h>

struct shell {
    struct process_rpc rpc;
    struct http_client *http; /* once connected; main thread */
    struct address master; /* the leader, once connected */
    bool is_connected;
    bool is_json;
    bool is_interactive;
    FILE *out;

    /* The admin lock; guarded by lock_mutex. */
    pthread_mutex_t lock_mutex;
    pthread_cond_t lock_changed;
    pthread_t renewer;
    bool is_locked, is_lock_lost, is_renewer_running;
    int64_t lock_token, lock_time;
};

void shell_init(struct shell *shell, FILE *out);
/* The lock has been given back before. */
void shell_fini(struct shell *shell);
/* Finds the leader among "host:port,..."; says so once per few seconds while none answers. */
int shell_connect(struct shell *shell, const char *masters, struct error *err);

#define SHELL_TIMEOUT_MS 30000u

/* Calls the leader; *ret_response (may be NULL) is the caller's. */
int shell_call_master(struct shell *shell, const char *method, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                      ProtobufCMessage **ret_response, struct error *err);
/* Calls the volume server at "host:port[.grpcPort]". */
int shell_call_volume_server(struct shell *shell, const char *node, const char *method,
                             const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                             ProtobufCMessage **ret_response, struct error *err);
static inline void shell_free_message(void *message)
{
    if (message)
        protobuf_c_message_free_unpacked(message, NULL);
}
/* Prints and frees one JSON document. */
void shell_print_json(struct shell *shell, struct json_object *document);
/* A volume id from a flag; 0 and less are refused. */
int shell_volume_id(int64_t value, uint32_t *ret, struct error *err);
