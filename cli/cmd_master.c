/* kelp master: runs a master until a signal says stop. */
#include "cli/command.h"
#include "cli/master_flags.h"
#include "cli/process.h"
#include "cli/process_security.h"
#include "common/log.h"

#define STOP_GRACE_MS 10000

static const char *options;

static const struct config_flag flags[] = {
    MASTER_FLAG_ROWS(""),
    {"ip", CONFIG_STRING, &master_flags.ip, NULL,
     "advertised host; the first address that is not loopback when empty"},
    {"ip.bind", CONFIG_STRING, &master_flags.bind, NULL, "address to listen on; -ip when empty"},
    {"mdir", CONFIG_STRING, &master_flags.directory, "/tmp", "folder for ids, keys and other state"},
    {"whiteList", CONFIG_STRING, &master_flags.white_list, NULL,
     "addresses and CIDR blocks that may change things; empty: all"},
    {"disableHttp", CONFIG_BOOL, &master_flags.disable_http, NULL, "no data routes over http"},
    {"fileSizeLimitMB", CONFIG_INT, &master_flags.file_size_limit_mb, "256", "largest /submit"},
    {"metricsPort", CONFIG_INT, &master_flags.metrics_port, NULL, "port of the Prometheus page"},
    {"metricsIp", CONFIG_STRING, &master_flags.metrics_ip, NULL, "address for it"},
    {"options", CONFIG_STRING, &options, NULL, "file with a flag per line, name=value"},
    PROCESS_IGNORED_ROWS,
};

static const struct config_command config = {
    .name = "master",
    .summary = "start a master: it knows which volume lives where and drives vacuum",
    .usage = "-port=9333 -mdir=/var/lib/kelp",
    .flags = flags,
    .flag_count = sizeof(flags) / sizeof(flags[0]),
};

static int run(int argc, char **argv)
{
    int rest, status;
    struct error err = {0};
    struct master_config master_config;
    struct process_security security;
    struct master *master;
    if (!command_parse(&config, argc, argv, &rest, &status))
        return status;
    if (!*master_flags.ip)
        master_flags.ip = process_default_ip();
    process_block_signals();
    process_raise_limits();
    if (master_flags_apply(&master_config, &err) != 0)
        return command_fail(&config, &err) + 1;
    if (process_security_open(&security, master_flags.white_list, &err) != 0)
        return command_fail(&config, &err);
    master_config.security = security.security;
    if (process_security_open_https(&security, "master", &master_config.tls, &err) != 0 ||
        process_security_open_grpc(&security, "master", &master_config.rpc_tls, &err) != 0 ||
        master_start(&master, &master_config, &err) != 0) {
        process_security_close(&security);
        return command_fail(&config, &err);
    }
    log_info("master serves", "http=%s:%u grpc=%s:%u", master_config.ip, master_port(master),
             master_config.ip, master_grpc_port(master));
    while (process_wait() != PROCESS_STOP)
        process_security_reload(&security);
    log_info("master stops", "reason=signal");
    master_stop(master, STOP_GRACE_MS);
    process_security_close(&security);
    return process_exit_status();
}

const struct command command_master = {&config, run};
