/* A volume server as a process runs it: told of its fate in the log, hurried by a second signal. Main
 * thread. */
#pragma once

#include "cli/process_security.h"
#include "volume/volume_server.h"

/* Starts it. What happens later is logged; when it cannot go on, the process is told to end. */
int volume_process_start(struct volume_server **ret, struct volume_server_config *config,
                         struct error *err);
/* Serves until a signal says stop; on SIGHUP rescans the folders and reads security.toml anew. Then stops
 * it. */
void volume_process_run(struct volume_server *server, struct process_security *security,
                        unsigned grace_ms);
