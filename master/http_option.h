/* The volume option that the parameters of /dir/assign and /vol/grow describe. */
#pragma once

#include "common/http_server.h"
#include "master/services.h"

/* Texts are in the request's arena. Messages are the wire's, for a 406. Loop thread. */
int master_http_read_option(struct http_request *request, const struct services *s,
                            struct volume_option *option, struct error *err);
