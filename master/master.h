/* The master server: which volume lives where, who may write where, and when a volume is vacuumed.
 *
 * One `struct master` is a whole server: topology, HTTP and gRPC ports, timers, durable state.
 * Nothing is global, so several can live in one process, next to a volume server (`kelp server`).
 * The wire is that of spec/master-rpc.md and spec/master-http.md.
 *
 * Threads: HTTP on loops of its own, gRPC on the queue threads of rpc_server, timers and pushes to
 * clients on one control loop, whatever waits (growth, vacuum, deletion, upload) on worker threads.
 * The topology has one lock, never held across I/O. */
#pragma once

#include "common/error.h"
#include "common/os.h"

struct master;
struct metrics;
struct rpc_tls;
struct security;
struct tls_server;

/* What the flags say. Strings are copied by master_start; NULL counts as "". */
struct master_config {
    /* Addresses. */
    const char *ip;           /* -ip: the advertised host; needed */
    const char *bind_address; /* -ip.bind: "" = ip */
    uint16_t port;            /* -port; 0: any free one */
    uint16_t grpc_port;       /* -port.grpc; 0: port + 10000, or any free one when port is 0 too */
    const char *metrics_ip;   /* -metricsIp: "" = bind address */
    uint16_t metrics_port;    /* -metricsPort: 0 = /metrics is not served */
    const char *white_list;   /* -whiteList, comma separated IPs and CIDRs; "" = all are welcome */
    struct security *security; /* borrowed, white list included; NULL: white_list is all there is */
    struct tls_server *tls;   /* borrowed; HTTPS, but not for localhost beside another address; NULL: none */
    struct rpc_tls *rpc_tls;  /* borrowed; gRPC, both ways; NULL: plain */
    bool disable_http;        /* -disableHttp: only health, cluster and UI routes stay */

    /* State. The folder of one master is <metadata_dir>/m<port>; it is locked while it runs. */
    const char *metadata_dir; /* -mdir: made when only its last part is missing */
    struct os *os;            /* NULL: the real one */

    /* Volumes. */
    const char *default_replication; /* -defaultReplication: "" = 000 */
    uint32_t volume_size_limit_mb;   /* -volumeSizeLimitMB */
    bool is_preallocating;           /* -volumePreallocate */
    uint32_t file_size_limit_mb;     /* -fileSizeLimitMB, of /submit */
    unsigned http_threads;           /* loops that serve HTTP; 0: one a core, at most 4 */

    /* Growth: master.volume_growth.* and master.replication.* of master.toml. */
    unsigned growth_copy_1, growth_copy_2, growth_copy_3, growth_copy_other;
    double growth_threshold; /* a volume is crowded above this part of the size limit */
    bool growth_is_disabled;
    bool treat_replication_as_minimums;

    /* Vacuum. */
    double garbage_threshold;                    /* -garbageThreshold */
    uint32_t vacuum_interval_seconds;            /* -vacuumIntervalSeconds */
    uint32_t vacuum_jitter_seconds;              /* random addition to it, below this; 120 */
    unsigned max_parallel_vacuum_per_server;     /* -maxParallelVacuumPerServer; 0 counts as 1 */
    uint32_t vacuum_delete_empty_after_seconds;  /* -vacuumDeleteEmptyAfterSeconds; 0: never */

    /* Sequencer: master.sequencer.*. */
    bool is_snowflake;
    unsigned snowflake_id; /* 0: derived from the address */

    /* Handed on to others by GetMasterConfiguration. */
    const char *metrics_address;        /* -metrics.address */
    uint32_t metrics_interval_seconds;  /* -metrics.intervalSeconds */
    const char *maintenance_scripts;    /* master.maintenance.scripts */
    uint32_t maintenance_sleep_minutes; /* 0 counts as 17 */

    const char *version; /* of the `Version` fields: "<size limit> <major>.<minor> <commit>" */
};

/* The defaults of spec/master-flags.md; ip is "127.0.0.1", metadata_dir "/tmp". */
void master_config_init(struct master_config *config);

/* Opens the state and the ports and returns once it serves. On failure nothing is left open.
 * Blocks; not from a loop. Errors name what to change: a folder that is missing, not writable or in
 * use by another process (KELP_E_NOT_FOUND, KELP_E_DENIED, KELP_E_BUSY), a port in use
 * (KELP_E_UNAVAILABLE), a bad replication (KELP_E_INVALID). */
int master_start(struct master **ret, const struct master_config *config, struct error *err);

/* Refuses new requests, lets running ones finish for up to grace_ms, ends vacuum jobs at their next
 * safe point, writes the state, closes everything. Blocks. NULL is fine. */
void master_stop(struct master *master, unsigned grace_ms);

/* What it listens on, once started. */
uint16_t master_port(const struct master *master);
uint16_t master_grpc_port(const struct master *master);
uint16_t master_metrics_port(const struct master *master); /* 0: off */

/* Its registry, so that a process with several servers can print one page. Lives as long as it
 * does. */
struct metrics *master_metrics(struct master *master);
