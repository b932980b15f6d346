/* The topology as VolumeList's message: built under the lock, owned by an arena, sent without
 * it. */
#pragma once

#include "common/arena.h"
#include "master/topology.h"
#include "proto/master.pb-c.h"

/* Under the topology's lock. With is_header no records are put in, whatever the request asks
 * for. */
MasterPb__TopologyInfo *volume_list_build(const struct topology *t,
                                          const MasterPb__VolumeListRequest *request,
                                          bool is_header, struct arena *arena);
