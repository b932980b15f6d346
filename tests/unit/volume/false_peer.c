#include "false_peer.h"

#include "common/check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of a header with its body, which is as long as announced. */
static bool is_complete(const char *text, size_t size)
{
    const char *end = strstr(text, "\r\n\r\n");
    if (!end)
        return false;
    const char *length = strcasestr(text, "\r\nContent-Length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    return size >= (size_t)(end + 4 - text) + body;
}

static void answer(struct false_peer *peer, int fd)
{
    char text[sizeof(peer->first_request)];
    size_t size = 0;
    ssize_t n = 1;
    text[0] = '\0';
    while (!is_complete(text, size) && size < sizeof(text) - 1 && n > 0) {
        n = read(fd, text + size, sizeof(text) - 1 - size);
        size += n > 0 ? (size_t)n : 0;
        text[size] = '\0';
    }
    if (!is_complete(text, size))
        return;
    if (atomic_fetch_add(&peer->requests, 1) == 0)
        memcpy(peer->first_request, text, size + 1);
    send(fd, peer->answer, strlen(peer->answer), MSG_NOSIGNAL);
    static const char bytes[1 << 16];
    for (size_t sent = 0; sent < peer->repeat && n > 0; sent += n > 0 ? (size_t)n : 0) {
        size_t left = peer->repeat - sent;
        n = send(fd, bytes, left < sizeof(bytes) ? left : sizeof(bytes), MSG_NOSIGNAL);
    }
    while (peer->hangs && read(fd, text, sizeof(text)) > 0)
        continue;
}

static void *serve(void *arg)
{
    struct false_peer *peer = arg;
    while (!atomic_load(&peer->is_stopping)) {
        int fd = accept(peer->listener, NULL, NULL);
        if (fd < 0)
            break;
        answer(peer, fd);
        close(fd);
    }
    return NULL;
}

void false_peer_start(struct false_peer *peer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(address);
    atomic_store(&peer->is_stopping, false);
    atomic_store(&peer->requests, 0);
    peer->listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(peer->listener, (struct sockaddr *)&address, size) == 0);
    CHECK(listen(peer->listener, 64) == 0);
    CHECK(getsockname(peer->listener, (struct sockaddr *)&address, &size) == 0);
    snprintf(peer->url, sizeof(peer->url), "127.0.0.1:%u", ntohs(address.sin_port));
    CHECK(pthread_create(&peer->thread, NULL, serve, peer) == 0);
}

void false_peer_stop(struct false_peer *peer)
{
    atomic_store(&peer->is_stopping, true);
    shutdown(peer->listener, SHUT_RDWR); /* ends its accept */
    pthread_join(peer->thread, NULL);
    close(peer->listener);
}
