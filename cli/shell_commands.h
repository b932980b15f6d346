/* The commands of the shell: one or a few to a file, shell_<noun>.c.
 *
 * A command gets its parsed flags from its own statics, prints its result to shell->out, as text or, with
 * -json, as one JSON document a line, and returns 0 or fills err. One at a time, on the main thread. */
#pragma once

#include "cli/shell_session.h"

struct shell_command {
    const struct config_command *config;
    bool needs_lock; /* taken for the command where the user does not hold it */
    int (*run)(struct shell *shell, struct error *err);
};

extern const struct shell_command shell_cluster_check, shell_cluster_ps, shell_collection_delete,
    shell_collection_list, shell_lock, shell_unlock, shell_volume_delete, shell_volume_grow,
    shell_volume_list, shell_volume_mark, shell_volume_mount, shell_volume_unmount, shell_volume_vacuum,
    shell_vacuum_cancel, shell_vacuum_disable, shell_vacuum_enable, shell_vacuum_jobs, shell_vacuum_pause,
    shell_vacuum_resume;
