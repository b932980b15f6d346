/* kelp: one program with sub-commands, like the tool that its users know. This file knows the list of
 * them, the global options that may stand before the sub-command, and help. */
#include "cli/command.h"

#include "common/log.h"

#include <signal.h>
#include <stdlib.h>

static const struct command *const commands[] = {
    &command_master, &command_volume,   &command_server,    &command_shell,
    &command_upload, &command_download, &command_benchmark, &command_check,
    &command_compact, &command_convert, &command_dump, &command_export, &command_fix,
    &command_version,
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int64_t verbosity;

static const struct config_flag global_flags[] = {
    {"v", CONFIG_INT, &verbosity, NULL, "log more: 1 and above also logs debug events"},
    {"config_dir", CONFIG_STRING, &command_config_folder, NULL,
     "folder that is searched first for configuration files"},
    {"logdir", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"logtostderr", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
    {"alsologtostderr", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
    {"stderrthreshold", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"vmodule", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"log_backtrace_at", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"log_max_size_mb", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"log_max_files", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"log_rotate_hours", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"log_json", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
    {"log_compress", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
};
static const struct config_command global = {
    .name = "",
    .summary = "options that stand before the command",
    .usage = "[options] command [flags]",
    .flags = global_flags,
    .flag_count = sizeof(global_flags) / sizeof(global_flags[0]),
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i]->config->name, name) == 0)
            return commands[i];
    return NULL;
}

static void print_overview(FILE *out)
{
    fprintf(out, "kelp: a distributed blob store: a master and volume servers\n\n"
                 "usage: kelp [options] command [flags]\n\ncommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  %-10s %s\n", commands[i]->config->name, commands[i]->config->summary);
    fprintf(out, "  %-10s %s\n\n\"kelp help COMMAND\" lists the flags of a command.\n", "help",
            "say more about a command");
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT + 1];
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        names[i] = commands[i]->config->name;
    names[COMMAND_COUNT] = "help";
    const char *nearest = config_nearest(name, names, COMMAND_COUNT + 1);
    if (nearest)
        fprintf(stderr, "kelp: unknown command %s; did you mean %s?\n", name, nearest);
    else
        fprintf(stderr, "kelp: unknown command %s; \"kelp help\" lists all\n", name);
    return 2;
}

static int help(int argc, char **argv)
{
    if (argc < 2) {
        print_overview(stdout);
        return 0;
    }
    const struct command *command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    config_print_help(command->config, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    int first, status;
    signal(SIGPIPE, SIG_IGN); /* a peer that hangs up is an error of a write, not the end */
    if (!command_parse(&global, argc, argv, &first, &status))
        return status;
    if (verbosity > 0)
        log_set_level(LOG_DEBUG);
    if (first >= argc) {
        print_overview(stderr);
        return 2;
    }
    if (strcmp(argv[first], "help") == 0)
        return help(argc - first, argv + first);
    const struct command *command = find_command(argv[first]);
    return command ? command->run(argc - first, argv + first) : unknown_command(argv[first]);
}
