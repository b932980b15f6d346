/* The table of commands, and running one line. Main thread. */
#include "cli/shell.h"

#include "cli/shell_lock.h"
#include "cli/shell_words.h"

const struct shell_command *const shell_commands[] = {
    &shell_cluster_check, &shell_cluster_ps,     &shell_collection_delete, &shell_collection_list,
    &shell_lock,          &shell_unlock,         &shell_volume_delete,     &shell_volume_grow,
    &shell_volume_list,   &shell_volume_mark,    &shell_volume_mount,      &shell_volume_unmount,
    &shell_volume_vacuum, &shell_vacuum_cancel,  &shell_vacuum_disable,    &shell_vacuum_enable,
    &shell_vacuum_jobs,   &shell_vacuum_pause,   &shell_vacuum_resume,     NULL,
};

const struct shell_command *shell_find(const char *name)
{
    for (size_t i = 0; shell_commands[i]; i++)
        if (strcmp(shell_commands[i]->config->name, name) == 0)
            return shell_commands[i];
    return NULL;
}

static void print_overview(struct shell *shell)
{
    fprintf(shell->out, "Commands (\"help COMMAND\" says more):\n");
    for (size_t i = 0; shell_commands[i]; i++)
        fprintf(shell->out, "  %-24s # %s\n", shell_commands[i]->config->name,
                shell_commands[i]->config->summary);
    fprintf(shell->out, "  %-24s # leave the shell\n", "exit");
}

static int unknown_command(const char *name, struct error *err)
{
    const char *names[64];
    size_t count = 0;
    for (; shell_commands[count]; count++)
        names[count] = shell_commands[count]->config->name;
    const char *nearest = config_nearest(name, names, count);
    if (nearest)
        return error_set(err, KELP_E_INVALID, "unknown command %s; did you mean %s?", name, nearest);
    return error_set(err, KELP_E_INVALID, "unknown command %s; \"help\" lists all", name);
}

static int run_help(struct shell *shell, int count, char **words, struct error *err)
{
    if (count < 2) {
        print_overview(shell);
        return 0;
    }
    const struct shell_command *command = shell_find(words[1]);
    if (!command)
        return unknown_command(words[1], err);
    config_print_help(command->config, shell->out);
    return 0;
}

static int run_words(struct shell *shell, int count, char **words, struct error *err)
{
    if (strcmp(words[0], "help") == 0)
        return run_help(shell, count, words, err);
    if (strcmp(words[0], "exit") == 0 || strcmp(words[0], "quit") == 0)
        return KELP_E_CANCELLED;
    const struct shell_command *command = shell_find(words[0]);
    if (!command)
        return unknown_command(words[0], err);

    int rest;
    int code = config_parse(command->config, count, words, &rest, err);
    if (code == KELP_E_CANCELLED) {
        config_print_help(command->config, shell->out);
        return 0;
    }
    if (code == 0 && rest < count)
        code = error_set(err, KELP_E_INVALID, "unexpected word \"%s\"; flags begin with -", words[rest]);
    bool borrows_lock = code == 0 && command->needs_lock && !shell_lock_is_held(shell);
    if (borrows_lock)
        code = shell_lock_acquire(shell, err);
    if (code == 0)
        code = command->run(shell, err);
    if (borrows_lock)
        shell_lock_release(shell);
    fflush(shell->out);
    return code == 0 ? 0 : error_prefix(err, "%s", words[0]);
}

int shell_run_line(struct shell *shell, const char *line, struct error *err)
{
    struct shell_words words;
    int code = shell_words_split(&words, line, err);
    for (size_t i = 0; code == 0 && i < words.count;) {
        size_t first = i;
        while (i < words.count && words.items[i])
            i++;
        /* A NULL ends each command. */
        if (i > first)
            code = run_words(shell, (int)(i - first), words.items + first, err);
        i++;
    }
    shell_words_fini(&words);
    return code;
}
