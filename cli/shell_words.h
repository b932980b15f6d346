/* A shell line cut into words: blanks separate, '...' and "..." hold together, ';' ends a command, '#'
 * begins a comment. Pure. */
#pragma once

#include "common/error.h"

struct shell_words {
    char **items; /* NULL where a command ends; the last one is NULL, too */
    size_t count; /* with the NULLs */
    char *text;
};

/* KELP_E_INVALID for a quote that is not closed. */
int shell_words_split(struct shell_words *ret, const char *line, struct error *err);
void shell_words_fini(struct shell_words *words);
