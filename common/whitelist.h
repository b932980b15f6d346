/* The white list: IPs and CIDRs that may change things. "" admits everyone. Immutable; any thread. */
#pragma once

#include "common/error.h"

struct whitelist;

/* Comma separated, blanks around entries are dropped. KELP_E_INVALID names the entry that is neither an
 * IP address nor a CIDR. */
int whitelist_create(struct whitelist **ret, const char *text, struct error *err);
void whitelist_destroy(struct whitelist *list);
/* `ip` as rpc_call_peer_ip and http_request_peer_ip give it; an IPv4 address in IPv6 clothes counts as
 * IPv4. */
bool whitelist_admits(const struct whitelist *list, const char *ip);
