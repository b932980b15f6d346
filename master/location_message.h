/* A location update as the VolumeLocation message of the wire. Pure; any thread. */
#pragma once

#include "master/location_update.h"
#include "proto/master.pb-c.h"

/* A message that points into the update; valid as long as that is. */
void location_message_view(const struct location_update *update, MasterPb__VolumeLocation *ret);

/* One with memory of its own. */
struct location_message {
    MasterPb__VolumeLocation location;
};
void location_message_copy(struct location_message *ret, const struct location_update *update);
void location_message_fini(struct location_message *message);
