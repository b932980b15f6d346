/* The flags of a volume server, used by `kelp volume` and, with a prefix, by `kelp server`.
 * Source: spec/volume-flags.md. Main thread, at start. */
#pragma once

#include "common/config.h"
#include "volume/volume_server.h"

struct volume_flags {
    int64_t port, grpc_port, public_port, metrics_port;
    const char *ip, *bind, *metrics_ip, *public_url, *id, *masters, *old_masters;
    const char *data_center, *rack, *directories, *index_directory, *disks, *tags, *max;
    const char *min_free_percent, *min_free_space, *read_mode, *white_list, *index;
    const char *durability;
    int64_t index_timeout_hours;
    int64_t sync_interval_ns;
    int64_t file_size_limit_mb, upload_limit_mb, download_limit_mb, read_buffer_mb;
    int64_t upload_timeout_ns, download_timeout_ns;
    bool turns_upright;
    int64_t idle_timeout_seconds, pre_stop_seconds, compaction_mbps, offset_bytes, pulse_ms;
};

extern struct volume_flags volume_flags;

/* Rows that both commands have; `p` goes before each name. */
#define VOLUME_FLAG_ROWS(p)                                                                        \
    {p "port", CONFIG_INT, &volume_flags.port, "8080", "http listen port"},                        \
        {p "port.grpc", CONFIG_INT, &volume_flags.grpc_port, NULL,                                 \
         "grpc listen port; 0 is the http port + 10000"},                                          \
        {p "port.public", CONFIG_INT, &volume_flags.public_port, NULL,                             \
         "a second, read-only http port"},                                                         \
        {p "publicUrl", CONFIG_STRING, &volume_flags.public_url, NULL,                             \
         "host:port under which clients outside reach this server"},                               \
        {p "id", CONFIG_STRING, &volume_flags.id, NULL, "stable server id; ip:port when empty"},   \
        {p "max", CONFIG_STRING, &volume_flags.max, "8",                                           \
         "volumes per folder, comma separated; 0 derives it from the free space"},                 \
        {p "minFreeSpacePercent", CONFIG_STRING, &volume_flags.min_free_percent, "1",              \
         "older form of minFreeSpace, in percent"},                                                \
        {p "minFreeSpace", CONFIG_STRING, &volume_flags.min_free_space, NULL,                      \
         "below this a folder takes no more writes: a percentage up to 100, or 10GiB"},            \
        {p "disk", CONFIG_STRING, &volume_flags.disks, NULL,                                       \
         "disk type per folder: hdd, ssd or any word"},                                            \
        {p "tags", CONFIG_STRING, &volume_flags.tags, NULL, "tags per folder: fast:nvme,archive"}, \
        {p "dir.idx", CONFIG_STRING, &volume_flags.index_directory, NULL,                          \
         "one folder for all index files; beside the data when empty"},                            \
        {p "index", CONFIG_STRING, &volume_flags.index, "memory",                                  \
         "where the needle index is: memory (about 6 bytes a needle), or leveldb, leveldbMedium, "  \
         "leveldbLarge: one database on each disk, with caches of that size"},                      \
        {p "index.leveldbTimeout", CONFIG_INT, &volume_flags.index_timeout_hours, "0",             \
         "hours after which the peer unloads an idle volume's database; one for all volumes of a "  \
         "disk has bounded memory in any case and stays open"},                                    \
        {p "readMode", CONFIG_STRING, &volume_flags.read_mode, "proxy",                            \
         "a volume that is elsewhere: local (not found), proxy or redirect"},                      \
        {p "fileSizeLimitMB", CONFIG_INT, &volume_flags.file_size_limit_mb, "256",                 \
         "largest upload"},                                                                        \
        {p "concurrentUploadLimitMB", CONFIG_INT, &volume_flags.upload_limit_mb, NULL,             \
         "uploads in flight at a time; 0: no limit"},                                              \
        {p "concurrentDownloadLimitMB", CONFIG_INT, &volume_flags.download_limit_mb, NULL,         \
         "downloads in flight at a time; 0: no limit"},                                            \
        {p "inflightUploadDataTimeout", CONFIG_DURATION, &volume_flags.upload_timeout_ns, "60s",   \
         "longest wait for the upload limit"},                                                     \
        {p "inflightDownloadDataTimeout", CONFIG_DURATION, &volume_flags.download_timeout_ns,      \
         "60s", "longest wait for the download limit"},                                            \
        {p "readBufferSizeMB", CONFIG_INT, &volume_flags.read_buffer_mb, "4",                      \
         "piece in which large blobs are read"},                                                   \
        {p "compactionMBps", CONFIG_INT, &volume_flags.compaction_mbps, NULL,                      \
         "rate limit of vacuum per folder; 0: none"},                                              \
        {p "preStopSeconds", CONFIG_INT, &volume_flags.pre_stop_seconds, "10",                     \
         "time between leaving the master and closing the ports"},                                 \
        {p "offsetBytes", CONFIG_INT, &volume_flags.offset_bytes, "5",                             \
         "offset width of new volumes: 4 (up to 32 GiB) or 5 (kelp only)"},                        \
        {p "durability", CONFIG_STRING, &volume_flags.durability, "none",                          \
         "when a write or delete is acknowledged that did not ask for fsync: none (at once), "     \
         "interval (at once, and synced every durability.interval), always (when it is synced) "   \
         "(kelp only)"},                                                                           \
        {p "durability.interval", CONFIG_DURATION, &volume_flags.sync_interval_ns, "1s",           \
         "pause between two syncs of -durability=interval (kelp only)"},                           \
        {p "pulseMilliseconds", CONFIG_INT, &volume_flags.pulse_ms, "5000",                        \
         "pause between two heartbeats (kelp only)"},                                              \
        {p "hasSlowRead", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},                                \
        {p "images.fix.orientation", CONFIG_BOOL, &volume_flags.turns_upright, NULL,               \
         "turn JPEGs upright as their Exif says when they are stored"},                            \
        {p "maintenanceMBps", CONFIG_IGNORED_VALUE, NULL, NULL, NULL},                             \
        {p "pprof", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL},                                      \
        {"volume.allowUntrustedRemoteEndpoints", CONFIG_IGNORED_SWITCH, NULL, NULL, NULL}

/* Checks the values and fills `config`; its locations and strings live as long as the process. */
int volume_flags_apply(struct volume_server_config *config, struct error *err);
