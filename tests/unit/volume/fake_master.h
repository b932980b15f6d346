/* A master that only listens: it answers GetMasterConfiguration, keeps every heartbeat, and says
 * on its stream what a test tells it to. */
#pragma once

#include "common/rpc_server.h"
#include "proto/master.pb-c.h"

#include <pthread.h>

#define FAKE_MASTER_BEATS_MAX 4096

struct fake_master {
    struct rpc_server *server;
    char address[64];      /* "127.0.0.1:1.<grpc port>", for a list of masters */
    char grpc_address[32]; /* "127.0.0.1:<grpc port>" */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    MasterPb__Heartbeat *beats[FAKE_MASTER_BEATS_MAX]; /* in the order in which they came */
    size_t beat_count;
    unsigned streams_opened, streams_closed;
    unsigned configurations_asked;
    struct rpc_call *stream; /* the open one */
    MasterPb__VolumeMarkReadonlyRequest *marks[64];
    size_t mark_count;
    /* What it does; set under the lock. */
    bool is_silent;          /* GetMasterConfiguration fails */
    const char *leader;      /* "": itself; else named in its answers */
    bool supports_digest;
    uint64_t volume_size_limit;
    bool refuses_marks;      /* "Not current leader" */
};

void fake_master_start(struct fake_master *master);
void fake_master_stop(struct fake_master *master);
/* Waits until the claim about it holds (asked under its lock), ten seconds at most; fails the
 * test with `what` then. */
void fake_master_wait(struct fake_master *master, bool (*holds)(struct fake_master *m, void *ctx),
                      void *ctx, const char *what);
/* Sends this on the open stream. */
void fake_master_say(struct fake_master *master, const MasterPb__HeartbeatResponse *response);
/* Ends the open stream with UNAVAILABLE. */
void fake_master_hang_up(struct fake_master *master);
size_t fake_master_beat_count(struct fake_master *master);
