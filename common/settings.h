/* A configuration file and its environment: security.toml, master.toml. Source:
 * spec/volume-flags.md 3 and 4, spec/master-flags.md 2.
 *
 * The file is looked for in the folder that -config_dir names, ".", $HOME/.seaweedfs,
 * /usr/local/etc/seaweedfs and /etc/seaweedfs; the first that is there is read. Each key can come from
 * the environment instead: WEED_ and the key in capitals with '_' for '.', and what is not empty there
 * wins. Keys are told apart without regard to case. One thread at a time: the main one. */
#pragma once

#include "common/error.h"

#include <stdint.h>

struct settings;

/* `name` is that of the file without ".toml"; `first_folder` may be "". That there is no file is no
 * error; one that cannot be read or does not parse is, because a server must not start without the
 * protection that its owner wrote down: KELP_E_INVALID with path and line. */
int settings_open(struct settings **ret, const char *name, const char *first_folder,
                  struct error *err);
/* Reads the file anew, over the values there are: a key that has gone from the file keeps its value,
 * as with the peer. On failure nothing has changed. */
int settings_reload(struct settings *settings, struct error *err);
void settings_close(struct settings *settings); /* NULL is fine */

const char *settings_path(const struct settings *settings); /* "": there is no file */
/* "" when it is set nowhere. Valid until the next reload. NULL settings know the environment only. */
const char *settings_text(const struct settings *settings, const char *key);
/* KELP_E_INVALID names the key and the file or variable. An unset or empty key gives `fallback`. */
int settings_int(const struct settings *settings, const char *key, int64_t fallback, int64_t *ret,
                 struct error *err);
int settings_number(const struct settings *settings, const char *key, double fallback, double *ret,
                    struct error *err);
int settings_bool(const struct settings *settings, const char *key, bool fallback, bool *ret,
                  struct error *err);
