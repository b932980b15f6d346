/* The shell's ground: the connection to the leader, calls, and running one line. Main thread. */
#include "cli/shell.h"

#include "cli/shell_words.h"
#include "common/check.h"
#include "proto/master.pb-c.h"
#include "proto/volume_server.pb-c.h"

#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CONNECT_ATTEMPTS 10
#define CONNECT_PAUSE_MS 1000
#define PROBE_TIMEOUT_MS 3000

const struct shell_command *const shell_commands[] = {
    &shell_cluster_check, &shell_cluster_ps,     &shell_collection_delete, &shell_collection_list,
    &shell_lock,          &shell_unlock,         &shell_volume_delete,     &shell_volume_grow,
    &shell_volume_list,   &shell_volume_mark,    &shell_volume_mount,      &shell_volume_unmount,
    &shell_volume_vacuum, &shell_vacuum_disable, &shell_vacuum_enable,     NULL,
};

const struct shell_command *shell_find(const char *name)
{
    for (size_t i = 0; shell_commands[i]; i++)
        if (strcmp(shell_commands[i]->config->name, name) == 0)
            return shell_commands[i];
    return NULL;
}

void shell_init(struct shell *shell, FILE *out)
{
    *shell = (struct shell){.out = out};
    pthread_mutex_init(&shell->lock_mutex, NULL);
    pthread_cond_init(&shell->lock_changed, NULL);
}

void shell_fini(struct shell *shell)
{
    shell_lock_release(shell);
    rpc_client_destroy(shell->rpc);
    pthread_cond_destroy(&shell->lock_changed);
    pthread_mutex_destroy(&shell->lock_mutex);
}

void shell_print_json(struct shell *shell, struct json_object *document)
{
    fprintf(shell->out, "%s\n", json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN));
    json_object_put(document);
}

int shell_volume_id(int64_t value, uint32_t *ret, struct error *err)
{
    if (value <= 0 || value > UINT32_MAX)
        return error_set(err, KELP_E_INVALID, "-volumeId is needed: the number of a volume");
    *ret = (uint32_t)value;
    return 0;
}

static int call(struct shell *shell, const struct address *address, const char *path,
                const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response,
                unsigned timeout_ms, ProtobufCMessage **ret_response, struct error *err)
{
    char target[ADDRESS_TEXT_SIZE];
    address_format_grpc(address, target);
    int code = rpc_client_call(shell->rpc, target, path, request, response, timeout_ms, ret_response,
                               NULL, err);
    if (code == KELP_E_UNAVAILABLE)
        error_prefix(err, "%s does not answer", target);
    return code;
}

int shell_call_master(struct shell *shell, const char *method, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                      ProtobufCMessage **ret_response, struct error *err)
{
    char path[128];
    snprintf(path, sizeof(path), "/master_pb.Seaweed/%s", method);
    return call(shell, &shell->master, path, request, response, timeout_ms, ret_response, err);
}

int shell_call_volume_server(struct shell *shell, const char *node, const char *method,
                             const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
                             ProtobufCMessage **ret_response, struct error *err)
{
    char path[128];
    struct address address;
    if (!*node)
        return error_set(err, KELP_E_INVALID, "-node is needed: the host:port of a volume server");
    int code = address_parse(slice_cstr(node), &address, err);
    if (code != 0)
        return code;
    snprintf(path, sizeof(path), "/volume_server_pb.VolumeServer/%s", method);
    return call(shell, &address, path, request, response, timeout_ms, ret_response, err);
}

/* Asks one master who leads. */
static int ask_for_leader(struct shell *shell, const struct address *seed, struct address *ret_leader,
                          struct error *err)
{
    MasterPb__GetMasterConfigurationRequest request = MASTER_PB__GET_MASTER_CONFIGURATION_REQUEST__INIT;
    ProtobufCMessage *answer;
    int code = call(shell, seed, "/master_pb.Seaweed/GetMasterConfiguration", &request.base,
                    &master_pb__get_master_configuration_response__descriptor, PROBE_TIMEOUT_MS, &answer,
                    err);
    if (code != 0)
        return code;
    const MasterPb__GetMasterConfigurationResponse *response = (const void *)answer;
    if (!*response->leader)
        code = error_set(err, KELP_E_UNAVAILABLE, "the masters have no leader at the moment");
    else
        code = address_parse(slice_cstr(response->leader), ret_leader, err);
    shell_free_message(answer);
    return code;
}

static int try_masters(struct shell *shell, const char *masters, struct error *err)
{
    struct slice rest = slice_cstr(masters);
    int code = error_set(err, KELP_E_INVALID, "-master is empty: name one as host:port");
    while (rest.len > 0) {
        ptrdiff_t comma = slice_find(rest, ',');
        struct slice one = slice_until(rest, comma < 0 ? rest.len : (size_t)comma);
        rest = comma < 0 ? (struct slice){rest.ptr, 0} : slice_from(rest, (size_t)comma + 1);
        struct address seed;
        code = address_parse(one, &seed, err);
        if (code == 0)
            code = ask_for_leader(shell, &seed, &shell->master, err);
        if (code == 0 || code == KELP_E_INVALID)
            return code;
    }
    return code;
}

int shell_connect(struct shell *shell, const char *masters, struct error *err)
{
    int code = rpc_client_create(&shell->rpc, err);
    if (code != 0)
        return code;
    for (int attempt = 1; attempt <= CONNECT_ATTEMPTS; attempt++) {
        code = try_masters(shell, masters, err);
        if (code == 0 || code == KELP_E_INVALID)
            break;
        if (attempt == 1 || attempt == CONNECT_ATTEMPTS / 2)
            fprintf(stderr, "waiting for a master at %s: %s\n", masters, err->message);
        if (attempt < CONNECT_ATTEMPTS)
            usleep(CONNECT_PAUSE_MS * 1000);
    }
    shell->is_connected = code == 0;
    return code;
}

static void print_overview(struct shell *shell)
{
    fprintf(shell->out, "Commands (\"help COMMAND\" says more):\n");
    for (size_t i = 0; shell_commands[i]; i++)
        fprintf(shell->out, "  %-24s # %s\n", shell_commands[i]->config->name,
                shell_commands[i]->config->summary);
    fprintf(shell->out, "  %-24s # leave the shell\n", "exit");
}

static int unknown_command(const char *name, struct error *err)
{
    const char *names[64];
    size_t count = 0;
    for (; shell_commands[count]; count++)
        names[count] = shell_commands[count]->config->name;
    const char *nearest = config_nearest(name, names, count);
    if (nearest)
        return error_set(err, KELP_E_INVALID, "unknown command %s; did you mean %s?", name, nearest);
    return error_set(err, KELP_E_INVALID, "unknown command %s; \"help\" lists all", name);
}

static int run_help(struct shell *shell, int count, char **words, struct error *err)
{
    if (count < 2) {
        print_overview(shell);
        return 0;
    }
    const struct shell_command *command = shell_find(words[1]);
    if (!command)
        return unknown_command(words[1], err);
    config_print_help(command->config, shell->out);
    return 0;
}

static int run_words(struct shell *shell, int count, char **words, struct error *err)
{
    if (strcmp(words[0], "help") == 0)
        return run_help(shell, count, words, err);
    if (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0)
        return KELP_E_CANCELLED;
    const struct shell_command *command = shell_find(words[0]);
    if (!command)
        return unknown_command(words[0], err);

    int rest;
    int code = config_parse(command->config, count, words, &rest, err);
    if (code == KELP_E_CANCELLED) {
        config_print_help(command->config, shell->out);
        return 0;
    }
    if (code == 0 && rest < count)
        code = error_set(err, KELP_E_INVALID, "unexpected word \"%s\"; flags begin with -", words[rest]);
    bool borrows_lock = code == 0 && command->needs_lock && !shell->is_locked;
    if (borrows_lock)
        code = shell_lock_acquire(shell, err);
    if (code == 0)
        code = command->run(shell, err);
    if (borrows_lock)
        shell_lock_release(shell);
    fflush(shell->out);
    return code == 0 ? 0 : error_prefix(err, "%s", words[0]);
}

int shell_run_line(struct shell *shell, const char *line, struct error *err)
{
    struct shell_words words;
    int code = shell_words_split(&words, line, err);
    for (size_t i = 0; code == 0 && i < words.count;) {
        size_t first = i;
        while (i < words.count && words.items[i])
            i++;
        /* A NULL ends each command. */
        if (i > first)
            code = run_words(shell, (int)(i - first), words.items + first, err);
        i++;
    }
    shell_words_fini(&words);
    return code;
}
