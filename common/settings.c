/* Files and the environment, merged when asked. Main thread. See settings.h. */
#include "common/settings.h"

#include "common/check.h"
#include "common/os.h"
#include "common/toml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define FILE_MAX_BYTES (1u << 20)

struct setting {
    UT_hash_handle hh;
    char *value;
    char key[];
};

struct settings {
    struct setting *table;
    char *path; /* NULL: no file */
    char *folders[5]; /* NULL: left out */
    char *name;
};

/* ---- the table ---- */

static void put(struct setting **table, const char *key, const char *value)
{
    struct setting *setting;
    HASH_FIND_STR(*table, key, setting);
    if (!setting) {
        size_t size = strlen(key) + 1;
        setting = must(calloc(1, sizeof(*setting) + size));
        memcpy(setting->key, key, size);
        HASH_ADD_STR(*table, key, setting);
    }
    free(setting->value);
    setting->value = must(strdup(value));
}

static void visit(void *ctx, const char *key, const char *value) { put(ctx, key, value); }

/* ---- the file ---- */

/* A path that is there, or NULL. */
static char *find_file(const struct settings *settings)
{
    struct os_stat st;
    for (size_t i = 0; i < sizeof(settings->folders) / sizeof(settings->folders[0]); i++) {
        char *path;
        if (!settings->folders[i])
            continue;
        CHECK(asprintf(&path, "%s/%s.toml", settings->folders[i], settings->name) >= 0);
        int rc = os_stat(os_real(), path, &st);
        if (rc != -ENOENT && rc != -ENOTDIR)
            return path; /* also when it cannot be looked at: reading will say why */
        free(path);
    }
    return NULL;
}

int settings_reload(struct settings *settings, struct error *err)
{
    char *path = find_file(settings);
    if (!path)
        return 0;
    char *data = NULL;
    size_t size;
    int code = os_read_file(os_real(), path, FILE_MAX_BYTES, &data, &size, err);
    if (code == 0) {
        code = toml_parse(data, size, visit, &settings->table, err);
        if (code != 0)
            error_prefix(err, "%s", path);
        free(data);
    }
    if (code != 0) {
        free(path);
        return code;
    }
    free(settings->path);
    settings->path = path;
    return 0;
}

int settings_open(struct settings **ret, const char *name, const char *first_folder,
                  struct error *err)
{
    struct settings *settings = must(calloc(1, sizeof(*settings)));
    const char *home = getenv("HOME");
    settings->name = must(strdup(name));
    if (first_folder && *first_folder)
        settings->folders[0] = must(strdup(first_folder));
    settings->folders[1] = must(strdup("."));
    if (home && *home)
        CHECK(asprintf(&settings->folders[2], "%s/.seaweedfs", home) >= 0);
    settings->folders[3] = must(strdup("/usr/local/etc/seaweedfs"));
    settings->folders[4] = must(strdup("/etc/seaweedfs"));
    int code = settings_reload(settings, err);
    if (code != 0) {
        settings_close(settings);
        return code;
    }
    *ret = settings;
    return 0;
}

void settings_close(struct settings *settings)
{
    struct setting *setting, *next;
    if (!settings)
        return;
    HASH_ITER(hh, settings->table, setting, next)
    {
        HASH_DEL(settings->table, setting);
        free(setting->value);
        free(setting);
    }
    for (size_t i = 0; i < sizeof(settings->folders) / sizeof(settings->folders[0]); i++)
        free(settings->folders[i]);
    free(settings->name);
    free(settings->path);
    free(settings);
}

const char *settings_path(const struct settings *settings)
{
    return settings && settings->path ? settings->path : "";
}

/* ---- values ---- */

static void variable_of(const char *key, char *name, size_t size)
{
    int length = snprintf(name, size, "WEED_%s", key);
    CHECK(length > 0 && (size_t)length < size);
    for (char *p = name; *p; p++)
        *p = *p == '.' ? '_' : (char)toupper((unsigned char)*p);
}

static const char *from_environment(const char *key)
{
    char name[160];
    variable_of(key, name, sizeof(name));
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

const char *settings_text(const struct settings *settings, const char *key)
{
    const char *value = from_environment(key);
    if (value || !settings)
        return value ? value : "";
    char lower[160];
    size_t i = 0;
    for (; key[i]; i++) {
        CHECK(i + 1 < sizeof(lower));
        lower[i] = (char)tolower((unsigned char)key[i]);
    }
    lower[i] = '\0';
    struct setting *setting;
    HASH_FIND_STR(settings->table, lower, setting);
    return setting ? setting->value : "";
}

static int bad_value(const struct settings *settings, const char *key, const char *wanted,
                     struct error *err)
{
    char name[160];
    const char *text = settings_text(settings, key);
    variable_of(key, name, sizeof(name));
    if (from_environment(key))
        return error_set(err, KELP_E_INVALID, "environment variable %s: \"%s\" is not %s", name, text,
                         wanted);
    return error_set(err, KELP_E_INVALID, "%s: %s = \"%s\" is not %s", settings_path(settings), key,
                     text, wanted);
}

int settings_int(const struct settings *settings, const char *key, int64_t fallback, int64_t *ret,
                 struct error *err)
{
    const char *text = settings_text(settings, key);
    char *end;
    if (!*text) {
        *ret = fallback;
        return 0;
    }
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || *end || isspace((unsigned char)*text))
        return bad_value(settings, key, "an integer", err);
    *ret = value;
    return 0;
}

int settings_number(const struct settings *settings, const char *key, double fallback, double *ret,
                    struct error *err)
{
    const char *text = settings_text(settings, key);
    char *end;
    if (!*text) {
        *ret = fallback;
        return 0;
    }
    double value = strtod(text, &end);
    if (*end || isspace((unsigned char)*text) || !(value > -1e300 && value < 1e300))
        return bad_value(settings, key, "a number", err);
    *ret = value;
    return 0;
}

int settings_bool(const struct settings *settings, const char *key, bool fallback, bool *ret,
                  struct error *err)
{
    static const char *const words[2][6] = {{"0", "f", "F", "false", "FALSE", "False"},
                                            {"1", "t", "T", "true", "TRUE", "True"}};
    const char *text = settings_text(settings, key);
    if (!*text) {
        *ret = fallback;
        return 0;
    }
    for (int value = 0; value < 2; value++)
        for (int i = 0; i < 6; i++)
            if (strcmp(text, words[value][i]) == 0) {
                *ret = value;
                return 0;
            }
    return bad_value(settings, key, "true or false", err);
}
