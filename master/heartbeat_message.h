/* A Heartbeat message in the topology's plain form. Pure; any thread. */
#pragma once

#include "common/arena.h"
#include "master/topology.h"
#include "proto/master.pb-c.h"

/* Strings are those of the message; arrays are in the arena. */
void heartbeat_message_read(const MasterPb__Heartbeat *beat, struct arena *arena,
                            struct heartbeat *ret);

/* The other way round, for listing: strings are those of the record. */
void heartbeat_message_volume(const struct volume_record *record,
                              MasterPb__VolumeInformationMessage *ret);
void heartbeat_message_ec(const struct ec_record *record,
                          MasterPb__VolumeEcShardInformationMessage *ret);
