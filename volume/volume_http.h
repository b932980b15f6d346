/* The HTTP data path of a volume server: reads, writes and deletes of blobs, and the small pages beside
 * them (/status, /healthz, /readyz).
 *
 * Runs on the loops that it is given, which are those of the http_server that calls its handlers. Wiring:
 *
 *     volume_http_create(&http, &config, err);
 *     http_config.handler = volume_http_handler(http);         // the admin port
 *     public_config.handler = volume_http_public_handler(http); // the public port, if there is one
 *     ...
 *     http_server_destroy(server, grace_ms);   // every request has been answered
 *     volume_http_destroy(http);               // not on a loop; before loop_destroy and store_close
 *
 * A loop never waits here: cached small records are read on the loop, the rest on a pool of this module;
 * writes are collected per turn and handed to the disks' append queues. Source: spec/volume-http.md. */
#pragma once

#include "common/http_server.h"
#include "common/metrics.h"
#include "common/os.h"
#include "volume/guard.h"
#include "volume/store.h"
#include "volume/volume_lookup.h"

struct volume_http;

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
    unsigned reader_threads;       /* for what is not in the page cache, and for (de)compression; 0: 8 */
    const struct guard *guard;     /* who may write; NULL: everybody */
    struct metrics *metrics;       /* NULL: none */
    struct os *os;                 /* for the clock; NULL: the real one */
    /* What /healthz and /readyz tell: false while stopping or after leaving the cluster. Any loop. NULL:
     * always healthy. */
    bool (*is_healthy)(void *ctx);
    void *ctx;
};

int volume_http_create(struct volume_http **ret, const struct volume_http_config *config,
                       struct error *err);
/* After the http_servers that use its handlers; waits for its loops to let go. NULL is fine. */
void volume_http_destroy(struct volume_http *http);

/* Borrowed; valid until destroy. */
const struct http_handler *volume_http_handler(struct volume_http *http);
/* Reads only; anything else is 200 without effect, as with the peer. */
const struct http_handler *volume_http_public_handler(struct volume_http *http);

/* What this module would want as the server's body limit: the blob limit and room for the multipart
 * wrapping. Give it to http_server_config. */
uint64_t volume_http_body_limit(const struct volume_http *http);
