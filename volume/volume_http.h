/* The HTTP data path of a volume server: reads, writes and deletes of blobs, and the small pages
 * beside them (/status, /healthz, /readyz).
 *
 * Runs on the loops that it is given, which are those of the http_server that calls its
 * handlers. Wiring:
 *
 *     volume_http_create(&http, &config, err);
 *     http_config.handler = volume_http_handler(http);         // the admin port
 *     public_config.handler = volume_http_public_handler(http); // the public port, if there is one
 *     ...
 *     http_server_destroy(server, grace_ms);   // every request has been answered
 *     volume_http_destroy(http);               // not on a loop; loops and store are still there
 *
 * A loop never waits here: cached small records are read on the loop, the rest on a pool of this
 * module; writes are collected per turn and handed to the disks' append queues. Source:
 * spec/volume-http.md. */
#pragma once

#include "common/http_server.h"
#include "volume/volume_http_config.h"

struct volume_http;

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
