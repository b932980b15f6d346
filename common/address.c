/* Parsing and printing of "host:port[.grpcPort]". Pure; any thread. */
#include "common/address.h"

#include <stdio.h>

#define GRPC_OFFSET 10000u

/* The gRPC port that goes without saying; 0 where it would not fit, and must then be given. */
static uint16_t default_grpc_port(unsigned port)
{
    return port + GRPC_OFFSET <= UINT16_MAX ? (uint16_t)(port + GRPC_OFFSET) : 0;
}

static bool parse_port(struct slice text, uint16_t *ret)
{
    uint32_t port = 0;
    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return false;
        port = port * 10 + (uint32_t)(text.ptr[i] - '0');
    }
    *ret = (uint16_t)port;
    return port <= UINT16_MAX;
}

int address_init(struct address *ret, const char *host, unsigned port, unsigned grpc_port)
{
    size_t length = strlen(host);
    bool is_bracketed = length > 1 && host[0] == '[' && host[length - 1] == ']';
    if (is_bracketed) {
        host++;
        length -= 2;
    }
    if (length >= sizeof(ret->host) || strcspn(host, "[]") < length || port > UINT16_MAX || grpc_port > UINT16_MAX)
        return KELP_E_INVALID;
    memcpy(ret->host, host, length);
    ret->host[length] = '\0';
    ret->port = (uint16_t)port;
    ret->grpc_port = grpc_port ? (uint16_t)grpc_port : default_grpc_port(port);
    return 0;
}

int address_parse(struct slice text, struct address *ret, struct error *err)
{
    ptrdiff_t colon = slice_find_last(text, ':');
    struct slice host = slice_until(text, colon < 0 ? text.len : (size_t)colon);
    struct slice ports = colon < 0 ? (struct slice){"", 0} : slice_from(text, (size_t)colon + 1);
    ptrdiff_t dot = slice_find(ports, '.');
    uint16_t port, grpc_port = 0;
    char name[256];
    bool is_valid = colon >= 0 && host.len < sizeof(name) &&
                    parse_port(slice_until(ports, dot < 0 ? ports.len : (size_t)dot), &port) &&
                    (dot < 0 || parse_port(slice_from(ports, (size_t)dot + 1), &grpc_port));
    if (is_valid) {
        memcpy(name, host.ptr, host.len);
        name[host.len] = '\0';
        is_valid = address_init(ret, name, port, grpc_port) == 0;
    }
    if (!is_valid)
        return error_set(err, KELP_E_INVALID,
                         "address \"%.*s\": want host:port or host:port.grpcPort",
                         (int)(text.len < 200 ? text.len : 200), text.ptr);
    return 0;
}

static int format(const struct address *a, unsigned port, char text[ADDRESS_TEXT_SIZE])
{
    bool is_ipv6 = strchr(a->host, ':') != NULL;
    return snprintf(text, ADDRESS_TEXT_SIZE, is_ipv6 ? "[%s]:%u" : "%s:%u", a->host, port);
}

void address_format_http(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
    format(a, a->port, text);
}

void address_format_grpc(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
    format(a, a->grpc_port, text);
}

void address_format(const struct address *a, char text[ADDRESS_TEXT_SIZE])
{
    int n = format(a, a->port, text);
    if (a->grpc_port != default_grpc_port(a->port))
        snprintf(text + n, ADDRESS_TEXT_SIZE - (size_t)n, ".%u", a->grpc_port);
}

bool address_equals(const struct address *a, const struct address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}
