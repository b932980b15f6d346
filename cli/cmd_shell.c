/* kelp shell: administers a cluster. Interactive with history and completion on a terminal; otherwise it
 * takes commands from a pipe, or from -c. The exit status is 1 when a command fails. */
#include "cli/command.h"
#include "cli/shell.h"
#include "cli/shell_lock.h"
#include "common/check.h"

#include <histedit.h>
#include <stdlib.h>
#include <unistd.h>

#define HISTORY_SIZE 1000

static const char *masters, *line_to_run, *options, *filer;
static bool is_json;

static const struct config_flag flags[] = {
    {"master", CONFIG_STRING, &masters, "localhost:9333", "masters, comma separated"},
    {"c", CONFIG_STRING, &line_to_run, NULL, "run these commands, separated by ';', and leave"},
    {"json", CONFIG_BOOL, &is_json, NULL, "print one JSON document a line"},
    {"filer", CONFIG_STRING, &filer, NULL, "taken for compatibility, without effect"},
    {"filerGroup", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"cluster", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},
    {"debug", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
};

static const struct config_command config = {
    .name = "shell",
    .summary = "administer a cluster: list, vacuum, mark, move volumes",
    .usage = "-master=localhost:9333 -c \"volume.list; volume.vacuum\"",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

static char *prompt(EditLine *editor)
{
    static char text[] = "kelp> ";
    return text;
}

/* Completes the word at the start of the line to the longest text that all fitting commands share. */
static unsigned char complete(EditLine *editor, int key)
{
    const LineInfo *line = el_line(editor);
    size_t length = (size_t)(line->cursor - line->buffer);
    const char *found = NULL;
    size_t shared = 0;
    int matches = 0;
    for (size_t i = 0; shell_commands[i]; i++) {
        const char *name = shell_commands[i]->config->name;
        if (strncmp(name, line->buffer, length) != 0)
            continue;
        size_t same = strlen(name);
        if (found)
            for (same = 0; same < shared && name[same] == found[same]; same++)
                ;
        found = name;
        shared = same;
        matches++;
    }
    if (!found)
        return CC_ERROR;
    if (shared == length && matches > 1) {
        printf("\n");
        for (size_t i = 0; shell_commands[i]; i++)
            if (strncmp(shell_commands[i]->config->name, line->buffer, length) == 0)
                printf("%s\n", shell_commands[i]->config->name);
        return CC_REDISPLAY;
    }
    char rest[128];
    snprintf(rest, sizeof(rest), "%.*s%s", (int)(shared - length), found + length,
             matches == 1 ? " " : "");
    return el_insertstr(editor, rest) == 0 ? CC_REFRESH : CC_ERROR;
}

static const char *history_path(void)
{
    static char path[4096];
    const char *home = getenv("HOME");
    if (!home)
        return NULL;
    snprintf(path, sizeof(path), "%s/.kelp_history", home);
    return path;
}

/* Failures are told and the session goes on; the exit status is that of the last command. */
static int run_interactive(struct shell *shell)
{
    HistEvent event;
    int count, status = 0;
    History *past = history_init();
    EditLine *editor = el_init("kelp", stdin, stdout, stderr);
    CHECK(past && editor);
    history(past, &event, H_SETSIZE, HISTORY_SIZE);
    const char *path = history_path();
    if (path)
        history(past, &event, H_LOAD, path);
    el_set(editor, EL_PROMPT, prompt);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, past);
    el_set(editor, EL_ADDFN, "complete", "complete a command", complete);
    el_set(editor, EL_BIND, "^I", "complete", NULL);
    el_set(editor, EL_SIGNAL, 1);

    printf("kelp %s, master %s:%u; \"help\" lists the commands\n", KELP_VERSION, shell->master.host,
           shell->master.port);
    const char *line;
    while ((line = el_gets(editor, &count)) && count > 0) {
        struct error err = {0};
        history(past, &event, H_ENTER, line);
        int code = shell_run_line(shell, line, &err);
        if (code == KELP_E_CANCELLED && !*err.message)
            break;
        status = code != 0;
        if (code != 0)
            fprintf(stderr, "%s\n", err.message);
    }
    if (path)
        history(past, &event, H_SAVE, path);
    el_end(editor);
    history_end(past);
    return status;
}

/* The first failure ends it: what follows may have relied on it. */
static int run_pipe(struct shell *shell)
{
    char *line = NULL;
    size_t size = 0;
    int status = 0;
    while (status == 0 && getline(&line, &size, stdin) >= 0) {
        struct error err = {0};
        int code = shell_run_line(shell, line, &err);
        if (code == KELP_E_CANCELLED && !*err.message)
            break;
        if (code != 0)
            status = command_fail(&config, &err);
    }
    free(line);
    return status;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct shell shell;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (rest < argc) {
        fprintf(stderr, "kelp shell: unexpected word \"%s\"; give commands with -c \"...\"\n", argv[rest]);
        return 2;
    }
    shell_init(&shell, stdout);
    shell.is_json = is_json;
    shell.is_interactive = !*line_to_run && isatty(STDIN_FILENO);
    if (shell_connect(&shell, masters, &err) != 0) {
        status = command_fail(&config, &err);
    } else if (shell.is_interactive) {
        status = run_interactive(&shell);
    } else if (*line_to_run) {
        int code = shell_run_line(&shell, line_to_run, &err);
        status = code == 0 || !*err.message ? 0 : command_fail(&config, &err);
    } else {
        status = run_pipe(&shell);
    }
    shell_lock_release(&shell);
    shell_fini(&shell);
    return status;
}

const struct command command_shell = {&config, run};
