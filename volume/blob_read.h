/* GET and HEAD of a blob. Source: spec/volume-http.md 8. */
#pragma once

#include "volume/blob_call.h"

/* Loop thread; answers the call, now or later. */
void blob_read_start(struct blob_call *call);
