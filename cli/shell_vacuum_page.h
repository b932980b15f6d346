/* The leader's routes under /kelp/vacuum/. A master of the peer has none of them. Main thread. */
#pragma once

#include "cli/shell_session.h"

/* `path` is what follows "/kelp/vacuum/". On success *ret_document (may be NULL) is the answer, an
 * object, the caller's to put. No such route is KELP_E_NOT_FOUND. `err` may be NULL. */
int vacuum_page_ask(struct shell *shell, const char *method, const char *path,
                    struct json_object **ret_document, struct error *err);
