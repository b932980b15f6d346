/* Server addresses: "host:httpPort" or "host:httpPort.grpcPort"; gRPC defaults to http port + 10000.
 * IPv6 hosts are bracketed. Source: spec/heartbeat.md 1. Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

#define ADDRESS_TEXT_SIZE 280

struct address {
    char host[256]; /* without brackets */
    uint16_t port;
    uint16_t grpc_port;
};

int address_parse(struct slice text, struct address *ret, struct error *err);
int address_init(struct address *ret, const char *host, unsigned port, unsigned grpc_port);
void address_format(const struct address *a, char text[ADDRESS_TEXT_SIZE]);      /* with .grpc when odd */
void address_format_http(const struct address *a, char text[ADDRESS_TEXT_SIZE]); /* host:port */
void address_format_grpc(const struct address *a, char text[ADDRESS_TEXT_SIZE]); /* host:grpcPort */
bool address_equals(const struct address *a, const struct address *b); /* by HTTP form */
