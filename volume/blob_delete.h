/* DELETE of a blob. Source: spec/volume-http.md 15. */
#pragma once

#include "volume/blob_call.h"

/* Loop thread; answers the call, now or later. */
void blob_delete_start(struct blob_call *call);
