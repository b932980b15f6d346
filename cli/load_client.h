/* An HTTP/1.1 client for load: many requests at a time on one thread, and so little of it for each
 * that what is measured is the server. (libcurl, which the other commands use, takes five times as
 * much.)
 *
 * Connections are kept alive and shared by all calls to a server. One that the server has closed
 * meanwhile is replaced, unnoticed, once a call. No redirects, no proxies, nothing is decoded. One
 * thread at a time; nothing blocks but the lookup of a server's name, once. */
#pragma once

#include "cli/load_call.h"
#include "common/http_client.h"

#include <uv.h>

struct load_client;

/* `tls` (NULL: plain HTTP) is borrowed. A file of it that cannot be used is KELP_E_INVALID. */
int load_client_create(struct load_client **ret, const struct http_client_tls *tls,
                       struct error *err);
/* No call may be left. NULL is fine. */
void load_client_destroy(struct load_client *client);

uv_loop_t *load_client_uv(struct load_client *client); /* for timers */
void load_client_send(struct load_client *client, struct load_call *call);
/* Until load_client_stop, which `done` or a timer calls when no call is left. */
void load_client_run(struct load_client *client);
void load_client_stop(struct load_client *client);
