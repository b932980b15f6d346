/* kelp volume: runs a volume server until a signal says stop. */
#include "cli/command.h"
#include "cli/process.h"
#include "cli/volume_flags.h"
#include "cli/volume_process.h"

#define STOP_GRACE_MS 30000

static const char *options;

static const struct config_flag flags[] = {
    VOLUME_FLAG_ROWS(""),
    {"ip", CONFIG_STRING, &volume_flags.ip, NULL,
     "advertised host; the first address that is not loopback when empty"},
    {"ip.bind", CONFIG_STRING, &volume_flags.bind, NULL, "address to listen on; -ip when empty"},
    {"master", CONFIG_STRING, &volume_flags.masters, "localhost:9333", "masters, comma separated"},
    {"mserver", CONFIG_STRING, &volume_flags.old_masters, NULL, "older name of -master"},
    {"dataCenter", CONFIG_STRING, &volume_flags.data_center, NULL, "data center of this server"},
    {"rack", CONFIG_STRING, &volume_flags.rack, NULL, "rack of this server"},
    {"dir", CONFIG_STRING, &volume_flags.directories, "/tmp", "folders for the data, comma separated"},
    {"whiteList", CONFIG_STRING, &volume_flags.white_list, NULL,
     "addresses and CIDR blocks that may write and administer; empty: all"},
    {"idleTimeout", CONFIG_INT, &volume_flags.idle_timeout_seconds, "30",
     "seconds after which a quiet connection is closed; 0: never"},
    {"metricsPort", CONFIG_INT, &volume_flags.metrics_port, NULL, "port of the Prometheus page"},
    {"metricsIp", CONFIG_STRING, &volume_flags.metrics_ip, NULL, "address for it"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
    PROCESS_IGNORED_ROWS,
};

static const struct config_command config = {
    .name = "volume",
    .summary = "start a volume server: it keeps the blobs",
    .usage = "-port=8080 -dir=/data -max=100 -master=localhost:9333",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct volume_server_config server_config;
    struct process_security security;
    struct volume_server *server;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (!*volume_flags.ip)
        volume_flags.ip = process_default_ip();
    process_block_signals();
    process_raise_limits();
    if (volume_flags_apply(&server_config, &err) != 0)
        return command_fail(&config, &err) + 1;
    if (process_security_open(&security, volume_flags.white_list, &err) != 0)
        return command_fail(&config, &err);
    server_config.security = security.security;
    int code = process_security_open_https(&security, "volume", &server_config.tls, &err);
    if (code == 0)
        code = process_security_open_grpc(&security, "volume", &server_config.rpc_tls, &err);
    if (code == 0)
        code = volume_process_start(&server, &server_config, &err);
    if (code == 0)
        volume_process_run(server, &security, STOP_GRACE_MS);
    process_security_close(&security);
    return code == 0 ? process_exit_status() : command_fail(&config, &err);
}

const struct command command_volume = {&config, run};
