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
    const struct settings *settings = process->settings;
    struct tls_server_config config = {
        .cert = text_of(process, "https", component, "cert"),
        .key = text_of(process, "https", component, "key"),
        .ca = text_of(process, "https", component, "ca"),
        .min_version = settings_text(settings, "tls.min_version"),
        .max_version = settings_text(settings, "tls.max_version"),
        .cipher_suites = settings_text(settings, "tls.cipher_suites"),
    };
    *ret = NULL;
    /* A server must not start without the protection that its owner wrote down. */
    if (*text_of(process, "grpc", component, "cert"))
        return error_set(err, KELP_E_UNIMPLEMENTED,
                         "%s: grpc.%s.cert: gRPC is spoken without TLS here; leave it empty, and keep the "
                         "gRPC ports on a network that is trusted",
                         settings_path(settings), component);
    if (!*config.cert && !*config.key)
        return 0;
    if (!*config.cert || !*config.key)
        return error_set(err, KELP_E_INVALID, "%s: https.%s needs cert and key, or neither",
                         settings_path(settings), component);
    CHECK(process->tls_count < sizeof(process->tls) / sizeof(process->tls[0]));
    int code = refresh_interval(&config.refresh_s, err);
    if (code == 0)
        code = tls_server_create(ret, &config, err);
    if (code != 0)
        return error_prefix(err, "https.%s", component);
    process->tls[process->tls_count++] = *ret;
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
}

void process_security_close(struct process_security *process)
{
    for (size_t i = 0; i < process->tls_count; i++)
        tls_server_destroy(process->tls[i]);
    security_destroy(process->security);
    settings_close(process->settings);
    *process = (struct process_security){.tls_count = 0};
}
