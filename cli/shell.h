/* The admin shell: commands on a cluster, over the master's and the volume servers' gRPC.
 *
 * A command gets its parsed flags from its own statics, prints its result to shell->out, as text or, with
 * -json, as one JSON document a line, and returns 0 or fills err. Commands run on the main thread, one at
 * a time; only the lock's renewal has a thread of its own. */
#pragma once

#include "common/address.h"
#include "common/config.h"
#include "common/rpc_client.h"

#include <json-c/json.h>
#include <pthread.h>

struct shell {
    struct rpc_client *rpc;
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

struct shell_command {
    const struct config_command *config;
    bool needs_lock; /* taken for the command where the user does not hold it */
    int (*run)(struct shell *shell, struct error *err);
};

/* ---- for the commands ---- */

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

/* ---- the table ---- */

extern const struct shell_command shell_cluster_check, shell_cluster_ps, shell_collection_delete,
    shell_collection_list, shell_lock, shell_unlock, shell_volume_delete, shell_volume_grow,
    shell_volume_list, shell_volume_mark, shell_volume_mount, shell_volume_unmount, shell_volume_vacuum,
    shell_vacuum_disable, shell_vacuum_enable;

/* Names in order; NULL at the end. */
extern const struct shell_command *const shell_commands[];
const struct shell_command *shell_find(const char *name);

/* ---- for cmd_shell.c ---- */

void shell_init(struct shell *shell, FILE *out);
void shell_fini(struct shell *shell); /* gives the lock back */
/* Finds the leader among "host:port,..."; says so once per few seconds while none answers. */
int shell_connect(struct shell *shell, const char *masters, struct error *err);
/* One line, several commands separated by ';'. Returns 0, an error, or KELP_E_CANCELLED for exit. */
int shell_run_line(struct shell *shell, const char *line, struct error *err);
/* Leases the admin lock, waiting for another holder; renews it until released. */
int shell_lock_acquire(struct shell *shell, struct error *err);
void shell_lock_release(struct shell *shell);
