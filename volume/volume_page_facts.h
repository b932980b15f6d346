/* What a volume server knows about itself, for those who show it. */
#pragma once

#include "common/address.h"
#include "volume/store.h"

struct volume_page_facts {
    /* Borrowed from the server, "" when there is nothing. */
    const char *address, *public_url, *version, *data_center, *rack, *masters;
    char leader[ADDRESS_TEXT_SIZE]; /* the master of the heartbeat; "" before there was one */
    int64_t started_second;
    enum store_index index;
    enum store_durability durability;
    uint32_t sync_interval_ms;
    bool is_connected, is_stopping, has_left, is_in_maintenance;
};
