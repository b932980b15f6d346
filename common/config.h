/* Flags of a sub-command: a table in, values out. Source: spec/volume-flags.md 1, spec/master-flags.md.
 *
 *   -flag=value  --flag=value  -flag value  --flag value      booleans: -flag or -flag=false
 *
 * Parsing stops at "--" or at the first word that is no flag. What the command line does not say is
 * taken from the environment (PORT_GRPC for port.grpc), then from the file that -options names (a line
 * is `name=value`), then from the table. An unknown flag is an error that suggests the nearest one.
 *
 * argp is not used: it accepts abbreviations, so that a mistyped flag would quietly become another.
 * At start, before threads. */
#pragma once

#include "common/bytes.h"
#include "common/error.h"

#include <stdio.h>

enum config_kind {
    CONFIG_BOOL,     /* bool: 1 t T true TRUE True, 0 f F false FALSE False */
    CONFIG_INT,      /* int64_t: decimal, 0x, 0 octal */
    CONFIG_UINT,     /* uint64_t */
    CONFIG_FLOAT,    /* double */
    CONFIG_STRING,   /* const char *, lives as long as the process */
    CONFIG_DURATION, /* int64_t nanoseconds: 300ms, 1m30s */
    CONFIG_IGNORED_SWITCH, /* the peer's flag without effect here, a boolean; no target */
    CONFIG_IGNORED_VALUE,  /* likewise, with a value */
};

struct config_flag {
    const char *name;
    enum config_kind kind;
    void *target;
    const char *fallback; /* default, as text; NULL: zero, false, "" */
    const char *help;
};

struct config_command {
    const char *name;        /* "volume" */
    const char *summary;     /* one line */
    const char *usage;       /* what follows "kelp volume" in an example */
    const char *description; /* may be NULL */
    const struct config_flag *flags;
    size_t flag_count;
    bool ignores_environment; /* for commands whose flags have everyday names */
};

/* Fills all targets. *ret_rest is the index in argv of the first word after the flags (argv[0] is the
 * command's name). KELP_E_INVALID with a text that says what to do; KELP_E_CANCELLED when help was asked
 * for (-h, -help, --help). A flag without effect here that is given is logged as a warning. */
int config_parse(const struct config_command *command, int argc, char **argv, int *ret_rest,
                 struct error *err);
void config_print_help(const struct config_command *command, FILE *out);

/* Go's duration syntax: "300ms", "1m30s", "-1.5h", "0". */
int config_parse_duration(struct slice text, int64_t *ret_ns, struct error *err);
/* "10GiB", "500M", "100": bytes. */
int config_parse_size(struct slice text, uint64_t *ret_bytes, struct error *err);
/* Whichever of `names` is nearest to `word`, when near enough to be meant; else NULL. */
const char *config_nearest(const char *word, const char *const *names, size_t count);
