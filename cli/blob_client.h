/* What upload, download and benchmark do with a cluster: assign file ids, look volumes up, send and
 * fetch blobs. One per thread; all calls block.
 *
 * Where the cluster wants tokens, they come from the assignment, and, when that one has run out or
 * there is none, from the master: a server that answers 401 is asked again, once, with a fresh one.
 */
#pragma once

#include "cli/process_security.h"
#include "common/address.h"
#include "common/file_token.h"
#include "common/http_client.h"
#include "common/rpc_client.h"

#define BLOB_REPLICAS_MAX 8
#define BLOB_MASTERS_MAX  8

struct blob_master {
    char grpc[ADDRESS_TEXT_SIZE], http[ADDRESS_TEXT_SIZE];
};

struct blob_client {
    struct rpc_client *rpc;   /* borrowed; threads may share it */
    struct http_client *http; /* its own */
    struct blob_master masters[BLOB_MASTERS_MAX];
    size_t master_count, current;
    const char *master, *master_http; /* the addresses of the current one */
    struct process_security security;
    bool wants_read_tokens; /* a server has said so */
};

struct blob_place { /* where the master wants new blobs; NULL counts as "" */
    const char *collection, *replication, *ttl, *data_center, *disk_type;
};

struct blob_target {
    char fid[64];
    char url[ADDRESS_TEXT_SIZE]; /* host:port of the first replica */
    char public_url[ADDRESS_TEXT_SIZE];
    char token[512]; /* for writing; "": none */
};

struct blob_replicas {
    size_t count;
    char urls[BLOB_REPLICAS_MAX][ADDRESS_TEXT_SIZE]; /* host:port */
};

/* `master` is "host:port[.grpcPort]", or several, comma separated: whichever answers. */
int blob_client_init(struct blob_client *client, struct rpc_client *rpc, const char *master,
                     struct error *err);
void blob_client_fini(struct blob_client *client);

/* One assignment for `count` blobs: fid, fid_1, fid_2, ... Waits while the cluster grows. */
int blob_client_assign(struct blob_client *client, const struct blob_place *place, unsigned count,
                       uint64_t expected_bytes, struct blob_target *ret, struct error *err);
/* What the flags of a command line say, before anybody is asked. KELP_E_INVALID. */
int blob_place_check(const struct blob_place *place, struct error *err);

/* The servers that have the blob's volume, at least one. */
int blob_client_locate(struct blob_client *client, const char *fid, struct blob_replicas *ret,
                       struct error *err);

/* In what follows `token` is the target's, or "".
 * Sends one blob as a multipart form. `query` is "" or "?cm=true...". */
int blob_client_send(struct blob_client *client, const char *url, const char *fid,
                     const char *token, const char *query, const char *file_name, const char *mime,
                     struct slice data, struct error *err);
/* Sends one blob as it is: the cheap way. */
int blob_client_put(struct blob_client *client, const char *url, const char *fid, const char *token,
                    const char *query, struct slice data, struct error *err);
/* Fetches the blob, or what a chunk manifest stands for. `range` is NULL for the whole, or a
 * header's value; then the answer may be 206, or all the same the whole with 200. KELP_E_NOT_FOUND
 * when there is no such blob, KELP_E_INVALID when it has nothing in that range. */
int blob_client_fetch(struct blob_client *client, const char *url, const char *fid,
                      const char *range, struct http_client_response *ret, struct error *err);
int blob_client_delete(struct blob_client *client, const char *url, const char *fid,
                       const char *token, struct error *err);
