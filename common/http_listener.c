/* Listening sockets.
 *
 * SO_REUSEPORT alone would let a second server of the same user join in silently and take half of
 * the connections. So the first socket binds and listens without it, which fails when anybody has
 * the port, and is opened to sharing only afterwards; the others then join it. */
#include "common/http_listener.h"

#include "common/check.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096

union any_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage storage;
};

static int fail(struct error *err, int fd, int errnum, const char *bind_address, uint16_t port)
{
    if (fd >= 0)
        close(fd);
    error_set_errno(err, errnum, "listen on %s:%u",
                    bind_address && *bind_address ? bind_address : "*", port);
    /* All that can go wrong here is for the operator to change: the port, the address, the rights.
     */
    if (err)
        err->code = KELP_E_UNAVAILABLE;
    return KELP_E_UNAVAILABLE;
}

static int open_socket(const struct addrinfo *info, const union any_address *address, bool shares)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int on = 1, off = 0;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (info->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if ((shares && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) ||
        bind(fd, &address->any, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0 ||
        (!shares && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)) {
        int errnum = errno;
        close(fd);
        return -errnum;
    }
    return fd;
}

static int resolve(const char *bind_address, uint16_t port, struct addrinfo **ret,
                   struct error *err)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    bool is_any = !bind_address || !*bind_address;
    int code = getaddrinfo(is_any ? "::" : bind_address, service, &hints, ret);
    if (code != 0)
        return error_set(err, KELP_E_UNAVAILABLE, "listen on %s:%u: %s", bind_address, port,
                         gai_strerror(code));
    return 0;
}

static int open_all(const struct addrinfo *info, unsigned count, int *ret_fds, uint16_t *ret_port)
{
    union any_address address = {0};
    memcpy(&address.storage, info->ai_addr, info->ai_addrlen);
    for (unsigned i = 0; i < count; i++) {
        ret_fds[i] = open_socket(info, &address, i > 0);
        if (ret_fds[i] < 0) {
            int code = ret_fds[i];
            while (i-- > 0)
                close(ret_fds[i]);
            return code;
        }
        if (i == 0) { /* the others take the port that the first one got */
            socklen_t size = sizeof(address);
            getsockname(ret_fds[0], &address.any, &size);
        }
    }
    *ret_port =
        ntohs(address.any.sa_family == AF_INET6 ? address.in6.sin6_port : address.in.sin_port);
    return 0;
}

int http_listener_open(const char *bind_address, uint16_t port, unsigned count, int *ret_fds,
                       uint16_t *ret_port, struct error *err)
{
    CHECK(count > 0);
    struct addrinfo *list;
    int code = resolve(bind_address, port, &list, err);
    if (code < 0)
        return code;
    code = open_all(list, count, ret_fds, ret_port);
    freeaddrinfo(list);
    if (code == -EAFNOSUPPORT && (!bind_address || !*bind_address)) /* a host without IPv6 */
        return http_listener_open("0.0.0.0", port, count, ret_fds, ret_port, err);
    return code < 0 ? fail(err, -1, -code, bind_address, port) : 0;
}
