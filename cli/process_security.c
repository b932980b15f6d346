/* The thin part between the file and the log. */
#include "cli/process_security.h"

#include "cli/command.h"
#include "common/log.h"

int process_security_open(struct process_security *ret, const char *white_list, struct error *err)
{
    struct process_security process = {NULL, NULL};
    int code = settings_open(&process.settings, "security", command_config_folder, err);
    if (code == 0)
        code = security_create(&process.security, process.settings, white_list, NULL, err);
    if (code != 0) {
        settings_close(process.settings);
        return code;
    }
    if (*settings_path(process.settings))
        log_info("configuration read", "file=%s", settings_path(process.settings));
    *ret = process;
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
}

void process_security_close(struct process_security *process)
{
    security_destroy(process->security);
    settings_close(process->settings);
    *process = (struct process_security){NULL, NULL};
}
