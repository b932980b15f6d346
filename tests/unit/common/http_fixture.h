/* A running HTTP server with a handler that does what the path says, and a raw client that can
 * misbehave.
 *
 *   /hello          "hello"
 *   /echo           the body
 *   /show           what the request looked like, one `key=value` a line
 *   /big            64 MiB, one buffer
 *   /stream         16 MiB in pieces of 64 KiB; /stream/chunked: the same, chunked
 *   /hold           nothing until fixture_answer_held
 *   /pause          waits for fixture_resume before it takes the body; then as /echo
 *   /early          401 before the body is read
 *   /limit          bodies up to 10 bytes, 400 and a text of its own beyond
 *   /abort, /short  a body that breaks off, or ends too early */
#pragma once

#include "tests/unit/cmocka_all.h"

#include "common/check.h"
#include "common/http_server.h"

#include <openssl/ssl.h>
#include <pthread.h>

#define FIXTURE_BIG_BYTES (64u << 20)
#define FIXTURE_STREAM_BYTES (16u << 20)
#define FIXTURE_DEADLINE_MS 5000

struct fixture {
    struct loop *loops[2];
    unsigned loop_count;
    struct http_handler handler;
    struct http_server_config config;
    struct http_server *server;
    char *big;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    unsigned paused, requests, aborted, released, held, pieces;
    unsigned body_bytes; /* of the body that came last, while it comes */
    struct http_request *paused_request;
    struct http_request *held_request;
    struct loop_task answer, resume;
};

/* Defaults may be changed between init and start. */
void fixture_init(struct fixture *f, unsigned loop_count);
void fixture_start(struct fixture *f);
void fixture_stop(struct fixture *f);
/* Waits until the counter, one of the fixture's, is at least `value`. */
void fixture_wait(struct fixture *f, const unsigned *counter, unsigned value);
unsigned fixture_read(struct fixture *f, const unsigned *counter);
/* Lets the body of a paused request come. */
void fixture_resume(struct fixture *f);
/* Answers the held request with "held". */
void fixture_answer_held(struct fixture *f);

struct client {
    int fd;
    SSL *ssl;    /* NULL: plain; set up by the test after client_open, freed by client_close */
    char *bytes; /* received and not yet taken */
    size_t size, capacity;
    bool is_ended;
};

struct answer {
    int status;
    char head[4096];
    char *body; /* owned */
    size_t size;
};

void client_open(struct client *c, struct fixture *f);
void client_close(struct client *c);
void client_send(struct client *c, const char *bytes, size_t size);
void client_say(struct client *c, const char *text);
/* The next response, by Content-Length, chunks or the end of the connection. status 0: none came. A
 * response to HEAD has no body. */
void client_read(struct client *c, struct answer *ret, bool is_head);
/* Reads, compares status and (unless NULL) body. */
void client_expect(struct client *c, int status, const char *body);
/* Nothing but the end of the connection follows. */
void client_expect_end(struct client *c);
