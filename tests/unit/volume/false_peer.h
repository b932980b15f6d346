/* A server that says what it is told, and can be as bad as it likes: for tests of those that
 * rely on another server. One connection at a time. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct false_peer {
    char url[32]; /* "127.0.0.1:port" */
    /* Sent once a request is complete. "": nothing. */
    const char *answer;
    size_t repeat; /* the answer is followed by so many bytes */
    bool hangs;    /* instead of closing, it waits for the other side to */
    atomic_uint requests;
    char first_request[4096]; /* as it came; read it after false_peer_stop */
    int listener;
    atomic_bool is_stopping;
    pthread_t thread;
};

/* Fill in answer, repeat and hangs first. */
void false_peer_start(struct false_peer *peer);
void false_peer_stop(struct false_peer *peer);
