/* Stricter than the peer: only digits, at most three. Pure; any thread. */
#include "common/replica_placement.h"

#include <stdio.h>

int replica_placement_parse(struct slice text, struct replica_placement *ret, struct error *err)
{
    char padded[65] = "000";
    size_t pad = text.len < 3 ? 3 - text.len : 0;
    size_t shown = text.len < 60 ? text.len : 60;
    if (shown)
        memcpy(padded + pad, text.ptr, shown);
    padded[pad + shown] = '\0';

    bool is_digits = text.len <= 3;
    for (size_t i = 0; i < pad + shown; i++)
        is_digits = is_digits && padded[i] >= '0' && padded[i] <= '9';
    if (!is_digits)
        return error_set(err, KELP_E_INVALID, "unknown replication type: %s", padded);

    struct replica_placement p = {(uint8_t)(padded[0] - '0'), (uint8_t)(padded[1] - '0'),
                                  (uint8_t)(padded[2] - '0')};
    if (p.other_data_centers * 100 + p.other_racks * 10 + p.same_rack > 255)
        return error_set(err, KELP_E_INVALID, "unexpected replication type: %s", padded);
    *ret = p;
    return 0;
}

struct replica_placement replica_placement_from_byte(uint8_t byte)
{
    return (struct replica_placement){byte / 100, byte / 10 % 10, byte % 10};
}

uint8_t replica_placement_to_byte(struct replica_placement p)
{
    return (uint8_t)(p.other_data_centers * 100 + p.other_racks * 10 + p.same_rack);
}

unsigned replica_placement_copies(struct replica_placement p)
{
    return (unsigned)p.other_data_centers + p.other_racks + p.same_rack + 1u;
}

void replica_placement_format(struct replica_placement p, char text[10])
{
    snprintf(text, 10, "%u%u%u", p.other_data_centers, p.other_racks, p.same_rack);
}
