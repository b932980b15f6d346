/* The sub-commands of `kelp`. Each lives in a file of its own, cmd_<name>.c, and runs on the main thread.
 * `run` gets the words from the command's name on and returns the exit status: 0, 1 for a failure, 2 for
 * wrong usage. */
#pragma once

#include "common/config.h"

struct command {
    const struct config_command *config;
    int (*run)(int argc, char **argv);
};

extern const struct command command_master, command_volume, command_server, command_shell,
    command_upload, command_download, command_benchmark, command_check, command_compact,
    command_convert, command_dump, command_export, command_fix, command_version;

/* -config_dir: the folder that is searched first for configuration files; "": none. */
extern const char *command_config_folder;

/* Parses the flags of `command`; on wrong usage prints why and what to do. Returns true to go on, else
 * *ret_status is the exit status. */
bool command_parse(const struct config_command *command, int argc, char **argv, int *ret_rest,
                   int *ret_status);

/* "kelp <command>: <message>" on standard error; returns 1. */
int command_fail(const struct config_command *command, const struct error *err);

/* What the version fields on the wire say: the size limit that 5-byte offsets give, the peer's version
 * that we follow, and ours. */
#define KELP_WIRE_VERSION "8000GB 4.48 kelp-" KELP_VERSION
