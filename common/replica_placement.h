/* Replica placement "xyz": copies in other data centers, on other racks, on other servers of the rack.
 * Source: spec/storage-format.md 3. Pure; any thread. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

struct replica_placement {
    uint8_t other_data_centers;
    uint8_t other_racks;
    uint8_t same_rack;
};

/* "", "1", "01", "001"; messages are the wire's ("unknown replication type: <padded>"). */
int replica_placement_parse(struct slice text, struct replica_placement *ret, struct error *err);
struct replica_placement replica_placement_from_byte(uint8_t byte);
uint8_t replica_placement_to_byte(struct replica_placement p);
unsigned replica_placement_copies(struct replica_placement p); /* x + y + z + 1 */
void replica_placement_format(struct replica_placement p, char text[10]);
