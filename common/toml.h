/* TOML to pairs of texts. toml++ does the parsing, behind this shim (toml.cc, the only C++ of the
 * tree: there is no C library for TOML in Debian). Pure; any thread. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

#include "common/error.h"

/* Once for each value that is no table: `key` is the dotted path in lower case ("jwt.signing.key"),
 * `value` its text: a string as it is, a number or a boolean as TOML writes it, an array as its
 * elements' texts with commas between. Both live during the call only. */
typedef void toml_visitor(void *ctx, const char *key, const char *value);

/* `text` need not be terminated. Nothing is visited on failure: KELP_E_INVALID with the line, the
 * column and what is wrong. */
int toml_parse(const char *text, size_t size, toml_visitor *visit, void *ctx, struct error *err);

#ifdef __cplusplus
}
#endif
