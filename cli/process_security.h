/* security.toml of this process: opened at start, read anew on SIGHUP. Main thread. */
#pragma once

#include "common/security.h"
#include "common/settings.h"

struct process_security {
    struct settings *settings;
    struct security *security;
};

/* `white_list` is the flag's. On failure there is nothing to close. */
int process_security_open(struct process_security *ret, const char *white_list, struct error *err);
/* What is wrong with the file is logged, and all stays as it was. */
void process_security_reload(struct process_security *process);
void process_security_close(struct process_security *process);
