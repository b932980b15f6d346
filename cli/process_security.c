/* The thin part between the file and the log. */
#include "cli/process_security.h"

#include "cli/command.h"
#include "common/check.h"
#include "common/config.h"
#include "common/log.h"

int process_security_open(struct process_security *ret, const char *white_list, struct error *err)
{
    struct process_security process = {.tls_count = 0};
    int code = settings_open(&process.settings, "security", command_config_folder, err);
    if (code == 0)
        code = security_create(&process.security, process.settings, white_list, NULL, err);
    if (code != 0) {
        settings_close(process.settings);
        return code;
    }
    if (*settings_path(process.settings))
        log_debug("configuration read", "file=%s", settings_path(process.settings));
    *ret = process;
    return 0;
}

/* How often certificates are looked at for changes. */
#define REFRESH_DEFAULT_S 60

static int refresh_interval(unsigned *ret_s, struct error *err)
{
    const char *text = settings_text(NULL, "tls.cert.refresh.interval");
    int64_t ns;
    *ret_s = REFRESH_DEFAULT_S;
    if (!*text)
        return 0;
    if (config_parse_duration(slice_cstr(text), &ns, err) != 0)
        return error_prefix(err, "WEED_TLS_CERT_REFRESH_INTERVAL");
    *ret_s = ns < 1000000000 ? 1 : ns > INT64_C(86400000000000) ? 86400 : (unsigned)(ns / 1000000000);
    return 0;
}

static const char *text_of(const struct process_security *process, const char *section,
                           const char *component, const char *name)
{
    char key[64];
    snprintf(key, sizeof(key), "%s.%s.%s", section, component, name);
    return settings_text(process->settings, key);
}

int process_security_open_https(struct process_security *process, const char *component,
                                struct tls_server **ret, struct error *err)
{
    struct tls_server_config config = {
        .cert = text_of(process, "https", component, "cert"),
        .key = text_of(process, "https", component, "key"),
        .ca = text_of(process, "https", component, "ca"),
        .min_version = settings_text(process->settings, "tls.min_version"),
        .max_version = settings_text(process->settings, "tls.max_version"),
        .cipher_suites = settings_text(process->settings, "tls.cipher_suites"),
    };
    *ret = NULL;
    if (!*config.cert && !*config.key)
        return 0;
    if (!*config.cert || !*config.key)
        return error_set(err, KELP_E_INVALID, "%s: https.%s needs cert and key, or neither",
                         settings_path(process->settings), component);
    CHECK(process->tls_count < sizeof(process->tls) / sizeof(process->tls[0]));
    int code = refresh_interval(&config.refresh_s, err);
    if (code == 0)
        code = tls_server_create(ret, &config, err);
    if (code != 0)
        return error_prefix(err, "https.%s", component);
    process->tls[process->tls_count++] = *ret;
    return 0;
}

/* Where the peer would warn and speak plainly, this ends the start: a server must not run without the
 * protection that its owner wrote down. */
int process_security_open_grpc(struct process_security *process, const char *component,
                               struct rpc_tls **ret, struct error *err)
{
    struct rpc_tls_config config = {
        .ca = settings_text(process->settings, "grpc.ca"),
        .cert = text_of(process, "grpc", component, "cert"),
        .key = text_of(process, "grpc", component, "key"),
        .client_cert = text_of(process, "grpc", component, "client_cert"),
        .client_key = text_of(process, "grpc", component, "client_key"),
        .allowed_names = text_of(process, "grpc", component, "allowed_commonNames"),
        .allowed_domain = settings_text(process->settings, "grpc.allowed_wildcard_domain"),
        .min_version = settings_text(process->settings, "tls.min_version"),
        .max_version = settings_text(process->settings, "tls.max_version"),
        .cipher_suites = settings_text(process->settings, "tls.cipher_suites"),
    };
    *ret = NULL;
    if (!*config.cert && !*config.key && !*config.client_cert && !*config.client_key) {
        if (!*config.allowed_names)
            return 0;
        return error_set(err, KELP_E_INVALID,
                         "%s: grpc.%s.allowed_commonNames says nothing without cert and key",
                         settings_path(process->settings), component);
    }
    CHECK(process->rpc_tls_count < sizeof(process->rpc_tls) / sizeof(process->rpc_tls[0]));
    int code = refresh_interval(&config.refresh_s, err);
    if (code == 0)
        code = rpc_tls_create(ret, &config, err);
    if (code != 0)
        return error_prefix(err, "%s: grpc.%s", settings_path(process->settings), component);
    process->rpc_tls[process->rpc_tls_count++] = *ret;
    return 0;
}

void process_security_reload(struct process_security *process)
{
    struct error err = {0};
    if (security_reload(process->security, &err) != 0)
        log_error("configuration not reloaded", "error=\"%s\" next=\"what was read before stays in force\"",
                  err.message);
    else
        log_info("configuration reloaded", "file=%s", settings_path(process->settings));
    for (size_t i = 0; i < process->tls_count; i++)
        if (tls_server_reload(process->tls[i], &err) != 0)
            log_error("certificate not reloaded",
                      "error=\"%s\" next=\"the one read before stays in use\"", err.message);
    for (size_t i = 0; i < process->rpc_tls_count; i++)
        if (rpc_tls_reload(process->rpc_tls[i], &err) != 0)
            log_error("certificate for gRPC not reloaded",
                      "error=\"%s\" next=\"the one read before stays in use\"", err.message);
}

void process_security_close(struct process_security *process)
{
    for (size_t i = 0; i < process->tls_count; i++)
        tls_server_destroy(process->tls[i]);
    for (size_t i = 0; i < process->rpc_tls_count; i++)
        rpc_tls_destroy(process->rpc_tls[i]);
    security_destroy(process->security);
    settings_close(process->settings);
    *process = (struct process_security){.tls_count = 0};
}
