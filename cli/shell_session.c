/* Connecting to the leader, and calls to it and to volume servers. Main thread, and the lock's. */
#include "cli/shell_session.h"

#include "proto/master.pb-c.h"

#include <unistd.h>

#define CONNECT_ATTEMPTS 10
#define CONNECT_PAUSE_MS 1000
#define PROBE_TIMEOUT_MS 3000

void shell_init(struct shell *shell, FILE *out)
{
    *shell = (struct shell){.out = out};
    pthread_mutex_init(&shell->lock_mutex, NULL);
    pthread_cond_init(&shell->lock_changed, NULL);
}

void shell_fini(struct shell *shell)
{
    http_client_destroy(shell->http);
    process_rpc_close(&shell->rpc);
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
    int code = rpc_client_call(shell->rpc.client, target, path, request, response, timeout_ms, ret_response,
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

/* A server that wants a certificate hangs up on those who bring none, without a word. */
static int tell_how_it_spoke(const struct shell *shell, struct error *err)
{
    struct error cause = *err;
    bool has_certificate = shell->rpc.security.rpc_tls_count > 0;
    return error_set(err, cause.code, "%s; gRPC was spoken %s", cause.message,
                     has_certificate ? "with the certificate of grpc.client: the master may want none, or "
                                       "another"
                                     : "without TLS: where the master wants certificates, name one under "
                                       "grpc.client in security.toml");
}

int shell_connect(struct shell *shell, const char *masters, struct error *err)
{
    int code = process_rpc_open(&shell->rpc, err);
    if (code == 0)
        code = http_client_create(&shell->http, NULL, err);
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
    return code == KELP_E_UNAVAILABLE ? tell_how_it_spoke(shell, err) : code;
}
