/* The body of /dir/status, which /vol/vacuum answers with as well. */
#pragma once

#include "common/json_writer.h"
#include "master/services.h"

/* Any thread that may take its time; takes the lock. */
void master_http_write_dir_status(struct services *s, struct json_writer *w);
