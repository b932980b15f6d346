/* What all sub-commands share: parsing their flags and saying what went wrong. */
#include "cli/command.h"

const char *command_config_folder = "";

bool command_parse(const struct config_command *command, int argc, char **argv, int *ret_rest,
                   int *ret_status)
{
    struct error err = {0};
    int code = config_parse(command, argc, argv, ret_rest, &err);
    if (code == KELP_E_CANCELLED) { /* help was asked for */
        config_print_help(command, stdout);
        *ret_status = 0;
        return false;
    }
    if (code != 0) {
        fprintf(stderr, "kelp %s: %s\n", command->name, err.message);
        *ret_status = 2;
        return false;
    }
    return true;
}

int command_fail(const struct config_command *command, const struct error *err)
{
    fprintf(stderr, "kelp %s: %s\n", command->name, err->message);
    return 1;
}
