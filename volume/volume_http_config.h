/* What the HTTP data path of a volume server is told: see volume_http.h. */
#pragma once

#include "common/loop.h"
#include "common/metrics.h"
#include "common/os.h"
#include "common/security.h"
#include "volume/store.h"
#include "volume/volume_lookup.h"
#include "volume/volume_page_facts.h"

/* What a read of a volume does that is not here. */
enum volume_read_mode {
    VOLUME_READ_PROXY,    /* fetches it from a server that has it */
    VOLUME_READ_LOCAL,    /* 404 */
    VOLUME_READ_REDIRECT, /* 301 to a server that has it */
};

/* Strings and objects are borrowed for the life of the volume_http. */
struct volume_http_config {
    struct store *store;
    struct loop **loops;
    unsigned loop_count;
    struct volume_lookup *lookup; /* NULL: no other server is known */
    const char *own_url;          /* "ip:port" of the admin port, as the master knows it */
    const char *server_text;      /* the Server header, e.g. "SeaweedFS Volume 8000GB 4.48" */
    const char *version_text;     /* /status, e.g. "8000GB 4.48 kelp" */
    enum volume_read_mode read_mode;
    uint64_t file_size_limit_bytes; /* of one blob; 0 permits only empty ones */
    uint64_t upload_limit_bytes;    /* in flight, 0: no limit */
    uint64_t download_limit_bytes;
    unsigned upload_wait_ms;       /* how long a request waits for room; 0: 60 s */
    unsigned download_wait_ms;
    unsigned peer_timeout_ms;      /* another server, no byte of which has moved; 0: 30 s */
    bool turns_upright;            /* JPEGs that say that they lie on their side, as they are stored */
    unsigned reader_threads;       /* for what is not in the page cache, and for gzip; 0: 8 */
    unsigned reader_queue;         /* as much waits for them; beyond it 503; 0: 10000 */
    struct security *security;     /* who may read and write; NULL: everybody */
    struct metrics *metrics;       /* NULL: none */
    struct os *os;                 /* for the clock; NULL: the real one */
    /* What /healthz and /readyz tell: false while stopping or after leaving the cluster. Any
     * loop. NULL: always healthy. */
    bool (*is_healthy)(void *ctx);
    /* Whether there is a page for people, and what it says of the server: on a thread of the pool. */
    bool has_page;
    void (*describe)(void *ctx, struct volume_page_facts *ret);
    void *ctx;
};
