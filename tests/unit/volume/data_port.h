/* A volume server's data port for tests: a real store in a folder of its own, the HTTP handlers
 * on one loop, and a table that stands for the master. And a client that says what it is told,
 * byte for byte. */
#pragma once

#include "volume/volume_http.h"

#include <stdatomic.h>

#define DATA_PORT_PEERS_MAX 4

struct data_port_options {
    const char *replication; /* of volume 3; NULL: "000" */
    const char *ttl;         /* of volume 3; NULL: none */
    enum volume_read_mode read_mode;
    const char *white_list;
    struct settings *settings; /* borrowed; keys for tokens */
    uint64_t file_size_limit_bytes; /* 0: 64 MiB */
    uint64_t upload_limit_bytes, download_limit_bytes;
    unsigned wait_ms; /* 0: 1 ms */
    unsigned peer_timeout_ms; /* 0: 30 s */
    bool has_no_volume;
    bool turns_upright;
    bool is_unhealthy;
    bool has_public_port;
    bool is_cold;  /* nothing is ever in the page cache */
    bool is_failing; /* no read succeeds */
    bool is_stuck; /* and reads wait for data_port_release */
    bool has_second_disk; /* with volume 4; then only its reads are stuck */
    unsigned reader_queue;
};

struct data_port {
    char directory[64];
    char url[32]; /* "127.0.0.1:port" */
    struct os os;
    struct os_ops os_ops;
    atomic_bool is_stuck;
    bool has_second_disk;
    uv_sem_t read_begun, read_released;
    struct loop *loop;
    struct store *store;
    struct metrics *metrics;
    struct security *security;
    struct volume_lookup *lookup;
    struct volume_http *http;
    struct http_server *server, *public_server;
    bool is_unhealthy;

    /* What the "master" knows of every volume but 99, which is nowhere. Change it only while no
     * question is under way. */
    pthread_mutex_t lock;
    const char *peers[DATA_PORT_PEERS_MAX];
    bool is_read_only[DATA_PORT_PEERS_MAX];
    size_t peer_count;
    const char *lookup_failure;
    size_t question_count;
};

/* A stuck read has begun; let it (and all others) go. */
void data_port_wait_for_read(struct data_port *port);
void data_port_release(struct data_port *port);

void data_port_start(struct data_port *port, const struct data_port_options *options);
void data_port_stop(struct data_port *port);

struct reply {
    int status;    /* 0: the connection was closed without an answer */
    char *text;    /* header and body */
    char *body;    /* in text */
    size_t body_size;
    bool is_short; /* fewer bytes than announced */
};

/* Sends these bytes on a new connection and reads until the server closes it or the answer is
 * complete. */
void data_port_exchange(uint16_t port, const void *bytes, size_t size, struct reply *ret);
/* One request; `headers` are whole lines with their line ends, "" for none; body NULL: none. */
void data_port_ask(struct data_port *port, const char *method, const char *target,
                   const char *headers, const void *body, size_t size, struct reply *ret);
/* The value of a header, in the reply's text copied to a static buffer; NULL when absent. */
const char *reply_header(const struct reply *reply, const char *name);
void reply_fini(struct reply *reply);
