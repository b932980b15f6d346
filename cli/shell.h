/* The admin shell: finds the command that a line names, parses its flags, takes the lock where it needs
 * one, runs it. Main thread. */
#pragma once

#include "cli/shell_commands.h"

/* Names in order; NULL at the end. */
extern const struct shell_command *const shell_commands[];
const struct shell_command *shell_find(const char *name);

/* One line, several commands separated by ';'. Returns 0, an error, or KELP_E_CANCELLED for exit. */
int shell_run_line(struct shell *shell, const char *line, struct error *err);
