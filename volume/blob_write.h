/* POST and PUT of a blob. Source: spec/volume-http.md 14. */
#pragma once

#include "volume/blob_call.h"

/* Loop thread; answers the call, now or later. */
void blob_write_start(struct blob_call *call);
