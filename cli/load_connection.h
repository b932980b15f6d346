/* One connection of the load client: a socket, TLS on it where that is wanted, and the parser of
 * what comes back. Carries one call at a time. Internal to load_*.c. */
#pragma once

#include "cli/load_call.h"

#include <llhttp.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <uv.h>

struct load_connection;

struct load_server { /* by its text, "host:port", and how it is spoken to */
    struct load_server *next;
    bool is_plain;
    char text[300], host[256];
    struct sockaddr_storage address;
    socklen_t address_size;
    struct load_connection *idle; /* utlist, doubly linked */
};

/* Whose connections they are: what all of them use, and who hears of their end. */
struct load_owner {
    uv_loop_t *loop;
    char *buffer; /* for one read at a time */
    size_t buffer_size;
    /* The call's answer is there; the connection can take the next, or is LOAD_CLOSED and to be
     * closed. */
    void (*answered)(struct load_connection *c, struct load_call *call);
    /* The connection is of no use any more; `err` is why. Its call, if any, has not been answered.
     */
    void (*broken)(struct load_connection *c, const struct error *err);
};

enum load_state {
    LOAD_CONNECTING,
    LOAD_HANDSHAKE,
    LOAD_SENDING,
    LOAD_RECEIVING,
    LOAD_IDLE,
    LOAD_CLOSED
};

struct load_connection {
    uv_poll_t poll;
    struct load_connection *prev, *next; /* in the server's idle list, or the client's busy one */
    struct load_owner *owner;
    struct load_server *server;
    struct load_call *call; /* NULL when idle */
    SSL *ssl;               /* NULL: plain */
    llhttp_t parser;
    int fd, events; /* what poll waits for */
    enum load_state state;
    size_t sent;
    uint64_t moved_ms; /* when a byte last moved */
    bool has_answered; /* before this call */
    bool has_received, is_complete, is_kept;
    bool is_in_value; /* of a header; its name is in `field`, as far as it fits */
    char field[16];
    size_t field_length;
};

/* To begin with a call. A failure is the call's: load_connection_create then returns NULL. */
struct load_connection *load_connection_create(struct load_owner *owner, struct load_server *server,
                                               SSL_CTX *tls, struct error *err);
void load_connection_begin(struct load_connection *c, struct load_call *call);
/* Frees it on a later turn of the loop. */
void load_connection_close(struct load_connection *c);
