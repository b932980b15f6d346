/* The volume server: keeps volumes in its disk locations, serves blobs over HTTP, is driven by
 * masters over gRPC.
 *
 * One `struct volume_server` is a whole server: store, HTTP and gRPC ports, heartbeat, metrics.
 * Nothing is global, so several can live in one process, next to a master (`kelp server`). The
 * wire is that of spec/volume-http.md, spec/volume-rpc.md and spec/heartbeat.md.
 *
 * Life: starting (disks are open, no master has answered yet, ports are closed) -> serving ->
 * leaving (told to by rpc or by stop: the master forgets us, all else goes on) -> stopped.
 *
 * Threads: HTTP on loops of its own, gRPC on the queue and worker threads of rpc_server, the
 * heartbeat and the start on one thread each, one probe thread and one writer thread per disk in
 * the store. */
#pragma once

#include "common/error.h"
#include "common/os.h"
#include "volume/store.h"

struct volume_server;
struct metrics;
struct rpc_tls;
struct security;
struct tls_server;

/* What the flags say. Strings and lists are copied by volume_server_start; NULL counts as "". */
struct volume_server_config {
    /* Addresses. */
    const char *ip;           /* -ip: the advertised host; needed */
    const char *bind_address; /* -ip.bind: "" = ip */
    uint16_t port;            /* -port; 0: any free one */
    uint16_t grpc_port;       /* -port.grpc; 0: port + 10000, or any free one when port is 0 too */
    uint16_t public_port;     /* -port.public: read only; 0 or equal to port: no second listener */
    const char *public_url;   /* -publicUrl: "" = ip:public port */
    const char *id;           /* -id: "" = ip:port */
    const char *metrics_ip;   /* -metricsIp: "" = bind address */
    uint16_t metrics_port;    /* -metricsPort: 0 = /metrics is not served */

    /* Its place in the cluster. */
    const char *masters;     /* -master: "host:port[.grpcPort],..." */
    const char *data_center; /* -dataCenter */
    const char *rack;        /* -rack */
    uint32_t pulse_ms;       /* between two volume beats; 0: 5 s. For tests; the peer has no flag */

    /* Disks: one entry per -dir, with its -max, -disk, -tags and -minFreeSpace. */
    const struct store_location_config *locations;
    size_t location_count;
    const char *index_directory; /* -dir.idx: "" = beside the data */
    uint8_t offset_bytes;        /* -offsetBytes of new volumes: 4 or 5; 0: 5 */
    enum store_index index;      /* -index */
    uint32_t compaction_mbps;    /* -compactionMBps: 0 = no limit */
    enum store_durability durability; /* -durability */
    uint32_t sync_interval_ms;        /* -durability.interval; 0: a second */
    struct os *os;               /* NULL: the real one */

    /* HTTP. */
    unsigned http_threads;           /* loops that serve HTTP; 0: one a core */
    const char *read_mode;           /* -readMode: local, proxy, else redirect; "": proxy */
    const char *white_list;          /* -whiteList, comma separated IPs and CIDRs; "" = all */
    struct security *security;       /* borrowed, white list included; NULL: white_list is all there is */
    struct tls_server *tls;          /* borrowed; the admin port speaks HTTPS; NULL: plain HTTP */
    struct rpc_tls *rpc_tls;         /* borrowed; gRPC, both ways; NULL: plain */
    uint32_t file_size_limit_mb;     /* -fileSizeLimitMB */
    uint32_t upload_limit_mb;        /* -concurrentUploadLimitMB: 0 = no limit */
    uint32_t download_limit_mb;      /* -concurrentDownloadLimitMB: 0 = no limit */
    int64_t upload_timeout_ns;       /* -inflightUploadDataTimeout; 0: 60 s */
    int64_t download_timeout_ns;     /* -inflightDownloadDataTimeout; 0: 60 s */
    bool turns_upright;              /* -images.fix.orientation */
    uint32_t read_buffer_mb;         /* -readBufferSizeMB; 0: 4 */
    uint32_t idle_timeout_seconds;   /* -idleTimeout; 0: never */

    uint32_t pre_stop_seconds; /* -preStopSeconds: from leaving the master to closing ports */
    const char *version;       /* "8000GB 4.48 <commit>", of Version fields and Server */

    /* What happens after volume_server_start has returned; on the server's own threads, must not
     * call back into the server. Both may be NULL. */
    void (*on_serving)(void *ctx); /* the ports are open */
    /* It cannot go on (a port is in use, a master says that a directory is already served by
     * another server). The process should call volume_server_stop and exit with status 1. */
    void (*on_failed)(void *ctx, const struct error *err);
    void *ctx;
};

/* The defaults of spec/volume-flags.md 2; ip "127.0.0.1", masters "localhost:9333", no location. */
void volume_server_config_init(struct volume_server_config *config);

/* Locks the disks and lists their volumes, then returns: whatever is wrong with a directory or with the
 * config fails here, with a text that says what to change (KELP_E_NOT_FOUND, KELP_E_DENIED,
 * KELP_E_BUSY, KELP_E_INVALID). The volumes are then loaded in the background, and a master is waited for,
 * which the log says every ten seconds; once one answers the ports open and the heartbeat begins. Each
 * volume is served and told to the master when it is ready. Blocks; not from a loop. */
int volume_server_start(struct volume_server **ret, const struct volume_server_config *config,
                        struct error *err);

/* Leaves the master, waits pre_stop_seconds while it goes on serving (unless it had left before,
 * or never served), then closes the ports, lets requests finish for up to grace_ms, syncs and
 * closes the volumes. Blocks. NULL is fine. */
void volume_server_stop(struct volume_server *server, unsigned grace_ms);
/* The wait for pre_stop_seconds ends at once: for a second signal. Any thread. */
void volume_server_hurry(struct volume_server *server);

/* Looks for volumes that have appeared on the disks and mounts them (SIGHUP). Blocks. */
void volume_server_rescan(struct volume_server *server);

/* What it listens on; 0 before it serves (see on_serving). */
uint16_t volume_server_port(const struct volume_server *server);
uint16_t volume_server_grpc_port(const struct volume_server *server);
uint16_t volume_server_metrics_port(const struct volume_server *server);

/* Its registry, so that a process with several servers can print one page. Lives as long as it
 * does. */
struct metrics *volume_server_metrics(struct volume_server *server);
