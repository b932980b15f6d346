/* What the data port serves beside blobs: /status, /healthz, /readyz. Source:
 * spec/volume-http.md 16. Loop thread. */
#pragma once

#include "volume/blob_call.h"

void blob_pages_status(struct blob_call *call);
void blob_pages_health(struct blob_call *call);
