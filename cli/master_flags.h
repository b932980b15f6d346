/* The flags of a master, used by `kelp master` and, with a prefix, by `kelp server`.
 * Source: spec/master-flags.md. Main thread, at start. */
#pragma once

#include "common/config.h"
#include "master/master.h"

struct master_flags {
    int64_t port, grpc_port, metrics_port;
    const char *ip, *bind, *metrics_ip, *directory, *peers, *default_replication, *white_list;
    const char *metrics_address;
    int64_t metrics_interval_seconds;
    uint64_t volume_size_limit_mb;
    int64_t file_size_limit_mb, vacuum_interval_seconds, vacuum_delete_empty_seconds;
    int64_t parallel_vacuum, vacuum_jitter_seconds;
    double garbage_threshold;
    bool is_preallocating, disable_http, resume_state;
};

extern struct master_flags master_flags;

/* Rows that both commands have; `p` goes before each name. */
#define MASTER_FLAG_ROWS(p)                                                                        \
    {p "port", CONFIG_INT, &master_flags.port, "9333", "http listen port"},                        \
        {p "port.grpc", CONFIG_INT, &master_flags.grpc_port, NULL,                                 \
         "grpc listen port; 0 is the http port + 10000"},                                          \
        {p "peers", CONFIG_STRING, &master_flags.peers, NULL,                                      \
         "all masters, comma separated; \"none\" for a single one"},                               \
        {p "volumeSizeLimitMB", CONFIG_UINT, &master_flags.volume_size_limit_mb, "30720",          \
         "no more writes go to a volume of this size"},                                            \
        {p "volumePreallocate", CONFIG_BOOL, &master_flags.is_preallocating, NULL,                 \
         "reserve the whole size of a volume when it is made"},                                    \
        {p "maxParallelVacuumPerServer", CONFIG_INT, &master_flags.parallel_vacuum, "1",           \
         "volumes that one volume server vacuums at a time"},                                      \
        {p "defaultReplication", CONFIG_STRING, &master_flags.default_replication, NULL,           \
         "replication where a request names none: 000, 001, 010, ..."},                            \
        {p "garbageThreshold", CONFIG_FLOAT, &master_flags.garbage_threshold, "0.3",               \
         "vacuum a volume whose garbage is at least this part of it"},                             \
        {p "vacuumIntervalSeconds", CONFIG_INT, &master_flags.vacuum_interval_seconds, "840",      \
         "pause between two automatic vacuum sweeps"},                                             \
        {p "vacuumJitterSeconds", CONFIG_INT, &master_flags.vacuum_jitter_seconds, "120",          \
         "random addition to that pause, below this (kelp only)"},                                 \
        {p "vacuumDeleteEmptyAfterSeconds", CONFIG_INT, &master_flags.vacuum_delete_empty_seconds, \
         NULL, "sweeps delete volumes that are empty for this long; 0: never"},                    \
        {p "metrics.address", CONFIG_STRING, &master_flags.metrics_address, NULL,                  \
         "Prometheus push gateway, handed on to volume servers and filers"},                       \
        {p "metrics.intervalSeconds", CONFIG_INT, &master_flags.metrics_interval_seconds, "15",    \
         "push interval"},                                                                         \
        {p "resumeState", CONFIG_BOOL, &master_flags.resume_state, "true",                         \
         "keep ids and keys across restarts; kelp always does"},                                   \
        {p "heartbeatInterval", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},                           \
        {p "electionTimeout", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},                             \
        {p "raftHashicorp", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},                              \
        {p "raftBootstrap", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},                              \
        {p "telemetry", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},                                  \
        {p "telemetry.url", CONFIG_IGNORED_VALUE, NULL, NULL, NULL}

/* Checks the values and fills `config`; the strings stay the flags'. */
int master_flags_apply(struct master_config *config, struct error *err);
