/* What the master's HTTP handlers share: parameters, JSON replies, and work that must leave the
 * loop. Loop thread of the request unless said otherwise. Source: spec/master-http.md 1. */
#pragma once

#include "common/http_server.h"
#include "common/json_writer.h"
#include "master/services.h"

/* Query string or urlencoded body; a body value wins. Empty (never NULL) when absent. */
struct slice master_http_param(struct http_request *request, const char *name);
/* The same as terminated text in the arena. */
const char *master_http_text(struct http_request *request, const char *name);
bool master_http_is_pretty(struct http_request *request);

/* {"error":"..."} */
void master_http_fail(struct http_request *request, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Takes over the bytes of `body`. */
void master_http_send_json(struct http_request *request, int status, struct buffer *body);
void master_http_send_text(struct http_request *request, int status, const char *content_type,
                           struct buffer *body);
/* Whole seconds, at least one. */
void master_http_retry_after(struct http_request *request, int64_t ns);

/* Numbers as the peer reads them; messages are its parser's: `strconv.ParseInt: parsing "x":
 * invalid syntax`. `function` is the name in them. Pure. */
int master_http_parse_int(struct slice text, const char *function, int64_t least, int64_t most,
                          int64_t *ret, struct error *err);
int master_http_parse_uint(struct slice text, const char *function, uint64_t most, uint64_t *ret,
                           struct error *err);

/* A request whose answer is made elsewhere: embed it first in what the work needs. */
struct master_http_work {
    struct worker_task task; /* set task.run for work that does not end when it returns */
    struct loop_task back;
    struct http_request *request;
    struct services *services;
    /* Worker thread; must not touch the request. Fill status, body and the rest. */
    void (*run)(struct master_http_work *work);
    /* Loop thread, afterwards, to answer by itself; NULL: status and body are sent as JSON. */
    void (*answer)(struct master_http_work *work);
    bool is_patient; /* run waits for other servers */
    int status;
    struct buffer body;
    struct json_writer json; /* on body, set up by master_http_work_create */
};

/* `size` is that of the whole; freed after the answer. */
void *master_http_work_create(struct http_request *request, struct services *services, size_t size);
/* To a worker pool; too much waiting is answered 503. */
void master_http_work_submit(struct master_http_work *work);
/* Any thread, for work that other callbacks complete: goes back to the loop and answers. */
void master_http_work_done(struct master_http_work *work);
/* Any thread: replaces the body by {"error":"..."}. */
void master_http_work_fail(struct master_http_work *work, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
