/* A folder with a security.toml that the test writes, and that is the home of this process. */
#pragma once

#include "common/settings.h"

extern char folder[64];
extern char toml_path[128]; /* of the file, there or not */

/* Set-up and teardown of a test: an empty folder; away with it. */
int folder_set_up(void **state);
int folder_tear_down(void **state);

void write_toml(const char *text);
/* What the file says; a failure fails the test. */
struct settings *open_settings(void);
