/* Telling a volume server to hold a compaction still. The call belongs to nobody: the job that it is about may
 * have ended when it is answered. */
#pragma once

#include "master/vacuum_task.h"

/* Of the job's current replica. Under the host's lock. */
void vacuum_pause_call(const struct vacuum_task *job, bool is_paused);
