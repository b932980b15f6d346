/* kelp version */
#include "cli/command.h"

static const struct config_command config = {
    .name = "version", .summary = "print the version", .usage = ""};

static int run(int argc, char **argv)
{
    int rest, status;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    printf("kelp %s (speaks and stores as SeaweedFS 4.48, 8000GB)\n", KELP_VERSION);
    return 0;
}

const struct command command_version = {&config, run};
