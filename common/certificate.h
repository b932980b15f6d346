/* Certificates and keys as PEM texts, read from files and looked through before anybody relies on them:
 * a half of a renewal, or a file of something else, is told here and not by a failing handshake. */
#pragma once

#include "common/error.h"

struct certificate_pair {
    char *cert; /* the chain, leaf first */
    char *key;
};

/* KELP_E_INVALID names the file, what is wrong, and what to do. Blocks. */
int certificate_pair_read(struct certificate_pair *ret, const char *cert_path, const char *key_path,
                          struct error *err);
void certificate_pair_fini(struct certificate_pair *pair); /* a zeroed one is fine */
/* One or more certificates that others are judged by; free() it. */
int certificate_read_authorities(char **ret, const char *path, struct error *err);
