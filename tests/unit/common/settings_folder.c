/* One of each a program. */
#include "settings_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/cmocka_all.h"

char folder[64], toml_path[128];

int folder_set_up(void **state)
{
    strcpy(folder, "/tmp/kelp-settings-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(toml_path, sizeof(toml_path), "%s/security.toml", folder);
    return setenv("HOME", folder, 1);
}

int folder_tear_down(void **state)
{
    unlink(toml_path);
    unsetenv("WEED_JWT_SIGNING_KEY");
    unsetenv("WEED_ACCESS_UI");
    return rmdir(folder);
}

void write_toml(const char *text)
{
    FILE *file = fopen(toml_path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

struct settings *open_settings(void)
{
    struct settings *settings;
    struct error err = {0};
    if (settings_open(&settings, "security", folder, &err) != 0)
        fail_msg("%s", err.message);
    return settings;
}
