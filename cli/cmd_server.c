/* kelp server: a master and a volume server in one process, until a signal says stop. */
#include "cli/command.h"
#include "cli/master_flags.h"
#include "cli/process.h"
#include "cli/volume_flags.h"
#include "cli/volume_process.h"
#include "common/address.h"
#include "common/log.h"

#define STOP_GRACE_MS 10000

static const char *options;

static const struct config_flag flags[] = {
    {"ip", CONFIG_STRING, &volume_flags.ip, NULL,
     "advertised host; the first address that is not loopback when empty"},
    {"ip.bind", CONFIG_STRING, &volume_flags.bind, NULL, "address to listen on; -ip when empty"},
    {"dir", CONFIG_STRING, &volume_flags.directories, "/tmp", "folders for the data, comma separated"},
    {"dataCenter", CONFIG_STRING, &volume_flags.data_center, NULL, "data center of this server"},
    {"rack", CONFIG_STRING, &volume_flags.rack, NULL, "rack of this server"},
    {"whiteList", CONFIG_STRING, &volume_flags.white_list, NULL,
     "addresses and CIDR blocks that may write and administer; empty: all"},
    {"disableHttp", CONFIG_BOOL, &master_flags.disable_http, NULL,
     "no data routes over http on the master"},
    {"idleTimeout", CONFIG_INT, &volume_flags.idle_timeout_seconds, "30",
     "seconds after which a quiet connection is closed; 0: never"},
    {"metricsPort", CONFIG_INT, &master_flags.metrics_port, NULL, "port of the Prometheus page"},
    {"metricsIp", CONFIG_STRING, &master_flags.metrics_ip, NULL, "address for it"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
    {"master.dir", CONFIG_STRING, &master_flags.directory, NULL,
     "folder for the master's state; the first of -dir when empty"},
    MASTER_FLAG_ROWS("master."),
    VOLUME_FLAG_ROWS("volume."),
    {"master", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
    {"volume", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},
    PROCESS_IGNORED_ROWS,
};

static const struct config_command config = {
    .name = "server",
    .summary = "start a master and a volume server in one process",
    .usage = "-dir=/data -master.port=9333 -volume.port=8080",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

/* What the two share, and what follows from one for the other. */
static int join_flags(struct master_config *master_config, struct volume_server_config *volume_config,
                      struct error *err)
{
    static char first_directory[4096];
    size_t length = strcspn(volume_flags.directories, ",");
    snprintf(first_directory, sizeof(first_directory), "%.*s", (int)length, volume_flags.directories);
    if (!*volume_flags.ip)
        volume_flags.ip = process_default_ip();
    if (!*master_flags.directory)
        master_flags.directory = first_directory;
    master_flags.ip = volume_flags.ip;
    master_flags.bind = volume_flags.bind;
    master_flags.white_list = volume_flags.white_list;
    master_flags.file_size_limit_mb = volume_flags.file_size_limit_mb;
    volume_flags.masters = volume_flags.old_masters = volume_flags.metrics_ip = "";
    int code = master_flags_apply(master_config, err);
    return code == 0 ? volume_flags_apply(volume_config, err) : code;
}

static int start_volume_server(struct volume_server **ret, struct master *master,
                               struct volume_server_config *volume_config, struct error *err)
{
    static char master_text[ADDRESS_TEXT_SIZE];
    struct address address;
    if (address_init(&address, volume_flags.ip, master_port(master), master_grpc_port(master)) != 0)
        return error_set(err, KELP_E_INVALID, "-ip %s is too long", volume_flags.ip);
    address_format(&address, master_text);
    volume_config->masters = master_text;
    return volume_process_start(ret, volume_config, err);
}

static int serve(struct master_config *master_config, struct volume_server_config *volume_config,
                 struct process_security *security, struct error *err)
{
    struct master *master;
    struct volume_server *server;
    int code = master_start(&master, master_config, err);
    if (code != 0)
        return code;
    log_info("master serves", "http=%s:%u grpc=%s:%u", master_config->ip, master_port(master),
             master_config->ip, master_grpc_port(master));
    code = start_volume_server(&server, master, volume_config, err);
    if (code == 0)
        volume_process_run(server, security, STOP_GRACE_MS);
    master_stop(master, code == 0 ? STOP_GRACE_MS : 0);
    return code;
}

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct master_config master_config;
    struct volume_server_config volume_config;
    struct process_security security;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    process_block_signals();
    process_raise_limits();
    if (join_flags(&master_config, &volume_config, &err) != 0)
        return command_fail(&config, &err) + 1;
    if (process_security_open(&security, volume_flags.white_list, &err) != 0)
        return command_fail(&config, &err);
    master_config.security = volume_config.security = security.security;
    int code = process_security_open_https(&security, "master", &master_config.tls, &err);
    if (code == 0)
        code = process_security_open_https(&security, "volume", &volume_config.tls, &err);
    if (code == 0)
        code = process_security_open_grpc(&security, "master", &master_config.rpc_tls, &err);
    if (code == 0)
        code = process_security_open_grpc(&security, "volume", &volume_config.rpc_tls, &err);
    if (code == 0)
        code = serve(&master_config, &volume_config, &security, &err);
    process_security_close(&security);
    return code == 0 ? process_exit_status() : command_fail(&config, &err);
}

const struct command command_server = {&config, run};
